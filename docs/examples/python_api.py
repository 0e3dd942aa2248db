"""The suite from Python: train, load a run and predict an array, plot results in one's own way.

    python docs/examples/python_api.py [FOLDER]

It trains four tiny runs on drawn images, in a folder that is deleted at the end unless one is
named, and writes `mine.png`. No download; about a minute on two cores.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

import ablations
import bench
import reports

SETTINGS = {
    "grid.model.backbone": ["resnet10t"],
    "grid.model.skip": ["fcn32s", "fcn8s"],
    "baseline": "resnet10t-fcn32s",
    "seeds": [0, 1],
    "train.steps": 20,
    "data.options": {"size": 64, "num_train": 32, "num_val": 2, "num_test": 8},
}
"""On top of the spec `quickstart`, as `--set` gives them."""


def predict_array(run: Path) -> NDArray[np.uint8]:
    """Predict the classes of an image, from the folder of a finished run."""
    model = bench.load_model(run)
    image = np.zeros((120, 160, 3), dtype=np.uint8)
    mask = model.predict(image)
    print(f"{model.class_names[mask[0, 0]]!r} at the upper left of a {mask.shape} mask")
    return mask


def plot(store: Path, out: Path) -> None:
    """Draw mIoU by variant: mean, standard deviation, and a point for each run."""
    runs = reports.read_results(store)
    variants = reports.summarize(runs)
    figure = Figure(figsize=(4, 3), layout="constrained")
    axes = figure.add_subplot(ylabel="mIoU")
    axes.errorbar(variants["skip"], variants["miou_mean"], variants["miou_std"], fmt="s")
    axes.plot(runs["skip"], runs["miou"], "k.")
    figure.savefig(out, metadata={"Software": None})


def main(folder: Path) -> None:
    """Train what is missing in a folder, and use it."""
    question = ablations.load("quickstart", SETTINGS)
    outcome = ablations.run(question, store=folder / "runs", devices=["cpu"])
    for planned in outcome.undone:
        print("not done:", planned.variant, outcome.store.failure(planned.run.id))
    predict_array(outcome.store.run_dir(outcome.plan.runs[0].run.id))
    right = np.array([[0, 1], [1, 255]], dtype=np.uint8)  # 255 is unlabelled
    print("mIoU:", bench.score(right, np.array([[0, 1], [0, 0]]), num_classes=2).miou)
    plot(folder / "runs", folder / "mine.png")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as scratch:
            main(Path(scratch))
