"""A folder of images and a question over it, for tests of the command line."""

import sys
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from ablations.cli import main

SPEC = """
question: Does a skip help on these images?
common:
  model: {backbone: test_resnet, score_init: random}
  data: {dataset: folder}
  train: {steps: 3, batch_size: 2, crop: [64, 64], optimizer: adamw, lr: 1e-3}
variants:
  coarse: {model.skip: fcn32s}
  fine: {model.skip: fcn16s, train.init_from: coarse}
  other: {model.skip: fcn8s}
baseline: coarse
"""


@dataclass
class Ended:
    returncode: int
    stdout: str
    stderr: str


def command_line(monkeypatch, capsys):
    """Return a function that runs a command line in this process: run("list", cwd=folder)."""

    def run(*words, cwd):
        monkeypatch.chdir(cwd)
        monkeypatch.setattr(sys, "argv", ["fcn-bench", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Ended(ended.value.code or 0, said.out, said.err)

    return run


def make_work(folder, num_images=6):
    """Write images of different sizes with their masks, and `q.yaml` over them."""
    rng = np.random.default_rng(0)
    data = folder / "mine"
    for kind in ("images", "masks"):
        (data / kind).mkdir(parents=True)
    names = [f"p{i}" for i in range(num_images)]
    for i, name in enumerate(names):
        H, W = 70 + 3 * i, 90 - 5 * i
        mask = np.zeros((H, W), dtype=np.uint8)
        mask[H // 3 :, W // 4 :] = 1
        image = rng.integers(0, 120, (H, W, 3), dtype=np.uint8) + 100 * mask[..., None]
        mask[:5] = 255
        Image.fromarray(image.astype(np.uint8)).save(data / "images" / f"{name}.png")
        Image.fromarray(mask).save(data / "masks" / f"{name}.png")
    (data / "classes.txt").write_text("sky\nground\n")
    third = num_images // 3
    splits = {"train": names[:-2 * third], "val": names[-2 * third : -third],
              "test": names[-third:]}  # fmt: skip
    for split, part in splits.items():
        (data / f"{split}.txt").write_text("\n".join(part) + "\n")
    (folder / "q.yaml").write_text(SPEC)
    return folder
