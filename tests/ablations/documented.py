"""The commands that pages hold, and a small world in which they can be run as they are printed."""

import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from everyday import make_work
from PIL import Image

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "docs" / "site"))

from console import read_blocks, simple_commands  # noqa: E402  # of the site, and not installed

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")]
PAGES += sorted((ROOT / "docs").glob("*.md"))
STORIES = [ROOT / "docs" / name for name in ("first-report.md", "own-images.md")]
"""Pages that are followed from their first command to their last, in one folder."""


@dataclass(frozen=True)
class Told:
    """A command of a page."""

    page: str
    block: int
    line: int
    text: str

    @property
    def parts(self):
        """What a shell runs one after the other, without comments."""
        lines = [re.sub(r"\s+#.*", "", line).rstrip("\\") for line in self.text.splitlines()]
        return simple_commands(" ".join(lines))

    @property
    def unrun(self):
        """Why it is not run here; None if it is."""
        return next((why for start, why in UNRUN.items() if re.match(start, self.text)), None)

    def __str__(self):
        return f"{self.page}: {self.text.splitlines()[0]}"


def told(page):
    """Return the commands of a page."""
    return [
        Told(page.name, number, command.line, command.text)
        for number, block in enumerate(read_blocks(page.read_text()))
        for command in block
    ]


ALL = [command for page in PAGES for command in told(page)]

UNRUN = {
    r"python3 -m venv|pip |pre-commit ": "installs; what CI does before these tests",
    r"fcn-bench data (fetch|check) camvid": "needs the network; tests/data/test_fetching.py",
    r"fcn-bench (run paper/skips|bound voc2012|check paper/skips)": "needs a published data set",
    r"fcn-bench report nets.yaml --across": "needs two published data sets",
    r"fcn-bench (run quickstart --log|runs log --to wandb)": "needs trackers; test_tracking.py",
    r"fcn-bench results save \S+parquet": "needs an extra; tests/reports/test_everything.py",
    r"fcn-bench run question.yaml .*--engine slurm|\(?.*\bray\b|export R": "needs a cluster",
    r"fcn-bench run question.yaml --runs /shared/runs --engine": "needs a cluster",
    r"for wheel|fcn-bench weights convert|fcn-bench run quickstart-pretrained": "needs a download",
}
"""Commands that are not run here, by how they start, and why. They are parsed all the same."""

SMALL = {
    "mine/question.yaml": ["model.backbone=test_resnet", "train.epochs=1", "seeds=[0]"],
    "nuclei/question.yaml": ["model.backbone=test_resnet", "train.epochs=1", "seeds=[0]"],
    "quickstart": [
        *(
            "grid.model.backbone=[test_resnet, test_byobnet]",
            "baseline=test_resnet-fcn32s",
            "train.steps=1",
        ),
        "data.options={size: 64, num_train: 8, num_val: 2, num_test: 4}",
    ],
}
"""Settings, by a command's spec, that make it small; specs of the world are so themselves."""

STANDS_FOR = {
    "FOLDER": "out/question",
    "ANOTHER": "out/again",
    "/shared/runs": "shared-runs",
}
"""What stands in the world for a reader's own folders."""

QUESTION = """
question: Does a skip help on these images?
common:
  model: {backbone: test_resnet, score_init: random}
  data: {dataset: folder}
  train: {steps: 1, batch_size: 2, crop: [64, 64], optimizer: adamw, lr: 1e-3}
variants:
  fcn32s: {model.skip: fcn32s}
  fcn8s: {model.skip: fcn8s}
  jitter: {model.skip: fcn8s, train.augment: [ColorJitter(brightness=0.4)]}
baseline: fcn32s
claims: [num_parameters of fcn32s <= 2 * fcn8s]
"""


def make_world(folder):
    """Write what the pages' commands take for given: images, and a question over them."""
    make_work(folder).joinpath("q.yaml").unlink()
    (folder / "question.yaml").write_text(QUESTION)
    shutil.copytree(folder / "mine", folder / "other")
    for name in ("photos", "labels", "their-masks"):
        (folder / name).mkdir()
    for image in sorted((folder / "mine" / "images").iterdir()):
        mask = Image.open(folder / "mine" / "masks" / image.name)
        shutil.copy(image, folder / "photos")
        mask.save(folder / "labels" / f"{image.stem}_mask.png")
        mask.point(lambda value: min(value, 1)).save(folder / "their-masks" / image.name)
    large = np.random.default_rng(0).integers(0, 255, (600, 70, 3), dtype=np.uint8)
    Image.fromarray(large).save(folder / "large.tif")


def words_of(text):
    """Return a command's words as they are run: without the program's name."""
    words = [STANDS_FOR.get(word, word) for word in shlex.split(text)[1:]]
    trained = words[0] in ("run", "check")
    settings = next((SMALL[word] for word in words if trained and word in SMALL), [])
    return words + [part for setting in settings for part in ("--set", setting)]
