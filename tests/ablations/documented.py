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
    r"fcn-bench (run paper/|bound voc2012|check paper/\w+ --set)": "needs a published data set",
    r"fcn-bench report .*--across": "needs several data sets; tests/reports/test_across.py",
    r"fcn-bench (export .* --to (onnx|torch-export)|evaluate net.onnx)": "test_export.py has it",
    r"fcn-bench predict \S+ drive.mp4": "needs a video; tests/bench/test_video.py",
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
        "grid.model.backbone=[test_resnet, test_byobnet]",
        "baseline=test_resnet-fcn32s",
        "train={steps: 1, warmup_steps: 0}",
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


def prepare(page, here):
    """Write what a page alone takes for given, into a copy of the world."""
    if page == "data.md":
        shutil.rmtree(here / "mine")  # which `init mine` makes
    elif page == "comparing.md":
        for name in ("runs-of-main", "runs-of-branch"):
            shutil.copytree(here / "runs", here / name)
        for name, skip in {"plain": "fcn32s", "longer": "fcn8s"}.items():  # whose runs are there
            text = re.sub(r"^variants:.*", "", QUESTION, flags=re.M | re.S)
            (here / f"{name}.yaml").write_text(f"{text}variants: {{one: {{model.skip: {skip}}}}}\n")
    elif page == "extending.md":
        text = (ROOT / "docs" / page).read_text()
        for language, name in {"python": "my_parts.py", "yaml": "question.yaml"}.items():
            block = re.search(rf"```{language}\n(.*?)```", text, flags=re.S)[1]
            block = block.replace("steps: 300", "steps: 1").replace("[0, 1, 2]", "[0]")
            (here / name).write_text(block)


def make_world(folder):
    """Write what the pages' commands take for given: images, and a question over them."""
    make_work(folder).joinpath("q.yaml").unlink()
    (folder / "question.yaml").write_text(QUESTION)
    (folder / "docs").symlink_to(ROOT / "docs")
    shutil.copytree(folder / "mine", folder / "other")
    for name in ("photos", "labels", "their-masks", "more"):
        (folder / name).mkdir()
    for image in sorted((folder / "mine" / "images").iterdir()):
        mask = Image.open(folder / "mine" / "masks" / image.name)
        shutil.copy(image, folder / "photos")
        mask.save(folder / "labels" / f"{image.stem}_mask.png")
        mask.point(lambda value: min(value, 1)).save(folder / "their-masks" / image.name)
    Image.new("RGB", (80, 60)).save(folder / "more" / "a_left.jpg")
    large = np.random.default_rng(0).integers(0, 255, (600, 70, 3), dtype=np.uint8)
    Image.fromarray(large).save(folder / "large.tif")


def words_of(text):
    """Return a command's words as they are run: without the program's name."""
    words = [STANDS_FOR.get(word, word) for word in shlex.split(text)[1:]]
    trained = words[0] in ("run", "check")
    settings = next((SMALL[word] for word in words if trained and word in SMALL), [])
    words += ["--seconds", "0"] if words[0] == "check" else []
    return words + [part for setting in settings for part in ("--set", setting)]
