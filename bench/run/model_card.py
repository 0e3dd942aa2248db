"""A model card made from a run's record: data, recipe, scores with intervals, limits.

In: a finished run. Out: `README.md` beside its weights, as model hubs show it. Nothing in it is
typed by hand: what the record does not say is not said. Its last line has the digest of the others:
a card that was changed since is somebody's.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.metrics import summarize
from bench.store.atomic import replacing
from bench.store.evaluation_file import UnusableCountsError
from bench.store.runs import Result, Store
from bench.text import clean, number_of
from fcn.errors import InputError

CARD = "README.md"
FIRST_LINES = "---\nlibrary_name: fcn-bench\npipeline_tag: image-segmentation\n"
NUM_RESAMPLES = 1000
FEWEST = 4
"""Units that are resampled at least; of fewer an interval says nothing."""
FEWEST_GROUPS = 8
"""Groups that are drawn whole, as reports have it."""
MOST_BLOCKS = 16
"""Blocks of neighbours where there are no more groups than say nothing."""
SCORES = {"miou": "mIoU", "pixel_acc": "pixel accuracy", "mean_acc": "mean accuracy"}


def require_card(folder: Path) -> None:
    """See, before anything is written, that a card can be: over nothing but one that is as it was.

    Raises:
        InputError: Another README.md is there.
    """
    path = folder / CARD
    if not os.path.lexists(path):
        return
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if text != _sealed(text[: text.rfind(_SEAL)]):
        raise InputError(
            f"{path} is not one of ours, or was changed since it was written; move it away, or "
            "give another --out"
        )


def write_card(store: Store, run_id: str, folder: Path) -> Path:
    """Write the card of a run into a folder.

    Raises:
        InputError: As `require_card`.
    """
    require_card(folder)
    path = folder / CARD
    with replacing(path) as temporary:
        temporary.write_text(_sealed(make_card(store, run_id)), encoding="utf-8")
    return path


_SEAL = "<!-- fcn-bench "


def _sealed(card: str) -> str:
    return f"{card}{_SEAL}{hashlib.sha256(card.encode()).hexdigest()} -->\n"


def make_card(store: Store, run_id: str) -> str:
    """Return the card of a finished run, in Markdown.

    Raises:
        InputError: The run is not finished.
    """
    result, run = store.result(run_id), store.run(run_id)
    if result is None:
        raise InputError(f"run {run_id} is not finished")
    spec, train = run.spec, run.spec.train
    network = spec.model.external or f"{spec.model.backbone}, skip {spec.model.skip}"
    starts = spec.model.pretrained if spec.model.pretrained is not False else "random"
    crop = "whole images" if train.crop is None else f"crops of {train.crop[0]}x{train.crop[1]}"
    names = store.names.by_id.get(run_id, ())
    settings = json.dumps(spec.model_dump(mode="json", exclude_defaults=True), indent=1)
    title = str(names[0]) if names else run_id
    lines = [
        f"{FIRST_LINES}tags: [semantic-segmentation, fcn]\n---\n",
        f"# {_plain(title)}\n",
        f"Semantic segmentation: {_plain(network)}, {result.num_parameters / 1e6:.1f} M "
        "parameters.\n",
        "## Use\n",
        "```python\nimport fcn\n\nmodel = fcn.from_pretrained(FOLDER)\n"
        "logits = model(images)  # (N, 3, H, W), normalised by model.mean and model.std\n```\n",
        *_resize(spec.data.input_scale),
        "## Classes\n",
        _numbered(result),
        "## Data and recipe\n",
        f"Data set `{_plain(spec.data.dataset)}` (fingerprint `{run.fingerprint[:16]}`), split "
        f"`{_plain(train.split)}`; start: {_plain(starts)} weights"
        f"{f', then run `{run.parent}`' if run.parent else ''}; {train.steps} steps of "
        f"{number_of(train.batch_size, 'image')} ({crop}), {train.optimizer}, learning rate "
        f"{train.lr:g}, schedule {train.schedule}, {train.precision}, seed {spec.seed}.\n",
        "## Scores\n",
        *_scores(store, result),
        "## Limits\n",
        *_limits(result, spec.data.limit_images),
        "## Provenance\n",
        f"Run `{run_id}` of fcn-bench {_plain(result.environment.get('fcn-bench', ''))}, finished "
        f"{result.finished}, on {_plain(result.environment.get('device_name', 'some device'))} "
        f"with torch {_plain(result.environment.get('torch', ''))}. All settings:\n",
        f"```json\n{settings}\n```",
    ]
    return "\n".join(lines) + "\n"


def _resize(scale: float) -> list[str]:
    """Say how images are resized for the network, where they are."""
    return [f"Images are resized by {scale:g} for the network.\n"] if scale != 1 else []


def _numbered(result: Result) -> str:
    return "\n".join(f"{i}. {_plain(name)}" for i, name in enumerate(result.class_names)) + "\n"


def _scores(store: Store, result: Result) -> list[str]:
    """Return a table of scores, with 95 % intervals over the choice of images."""
    scores, (intervals, drawn) = summarize(result.confusion), _intervals(store, result)
    rows = ["| score | % | 95 % |", "| --- | ---: | ---: |"]
    for name, shown in SCORES.items():
        ends = intervals.get(name)
        between = "–" if ends is None else f"[{100 * ends[0]:.1f}, {100 * ends[1]:.1f}]"
        rows.append(f"| {shown} | {100 * getattr(scores, name):.1f} | {between} |")
    of_classes = [
        f"| IoU {_plain(name)} | {'–' if np.isnan(iou) else f'{100 * iou:.1f}'} | |"
        for name, iou in zip(result.class_names, scores.iou, strict=True)
    ]
    note = (
        f"\nOn {number_of(result.num_images, 'image')} of split `{_plain(result.split)}`, at "
        f"the label's own size, seen once and whole. {drawn}\n"
    )
    return ["\n".join([*rows, *of_classes]), note]


def _intervals(store: Store, result: Result) -> tuple[dict[str, tuple[float, float]], str]:
    """Return 95 % intervals by resampling images, and what was drawn, in a sentence."""
    try:
        file = store.evaluation(result)
        confusions = file.confusions().astype(np.int64)
        groups = file.groups() or file.names
    except UnusableCountsError:
        return {}, "No intervals: the counts of single images are not there."
    places, what = choose_units(groups)
    if places.max() + 1 < FEWEST:
        return {}, f"No intervals: {what} are too few to draw from."
    units = np.zeros((places.max() + 1, *confusions.shape[1:]), np.int64)
    np.add.at(units, places, confusions)
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {name: [] for name in SCORES}
    for _ in range(NUM_RESAMPLES):
        drawn = units[rng.integers(0, len(units), len(units))].sum(0)
        scores = summarize(drawn)
        for name, values in found.items():
            values.append(getattr(scores, name))
    ends = {name: np.nanpercentile(values, [2.5, 97.5]) for name, values in found.items()}
    said = (
        f"Intervals: the choice of images ({what}), resampled; what another training run would "
        "give is not in them."
    )
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}, said


def choose_units(groups: Sequence[str]) -> tuple[NDArray[np.intp], str]:
    """Choose what is drawn together: groups, or where these are few, blocks of neighbours in them.

    Frames of one clip are alike: drawn one by one they would make intervals too short. A handful of
    clips, drawn whole, says next to nothing of another one, and of one alone nothing varies.

    Args:
        groups: Group of each image, in the order of the images; its own where it is in none.

    Returns:
        Number of the unit of each image, (N,), from 0 on; and in words what units are.
    """
    _, places = np.unique(groups, return_inverse=True)
    number, images = int(places.max()) + 1, len(groups)
    if number == images:
        return places, number_of(images, "image")
    if number >= FEWEST_GROUPS:
        return places, f"{number_of(images, 'image')} in {number_of(number, 'group')}"
    length = -(-images // MOST_BLOCKS)
    rank = np.zeros(images, np.intp)  # of each image in its group
    for group in range(number):
        members = np.flatnonzero(places == group)
        rank[members] = np.arange(len(members))
    pairs = np.stack([places, rank // length], axis=1)
    _, blocks = np.unique(pairs, axis=0, return_inverse=True)
    of = f"{number_of(images, 'image')} in {number_of(number, 'group')}"
    blocks = blocks.ravel()
    return blocks, f"{of}, {number_of(int(blocks.max()) + 1, 'block')} of neighbours"


def _limits(result: Result, limit: int | None) -> list[str]:
    confusion = np.asarray(result.confusion)
    absent = [n for n, row in zip(result.class_names, confusion, strict=True) if not row.sum()]
    never = [
        name
        for c, name in enumerate(result.class_names)
        if confusion[c].sum() and not confusion[:, c].sum()
    ]
    lines = ["- One run with one seed: another would differ."]
    if limit is not None:
        lines.append(f"- A trial on at most {number_of(limit, 'image')} of each split.")
    if absent:
        lines.append(f"- Not judged, for want of labels: {', '.join(map(_plain, absent))}.")
    if never:
        lines.append(f"- Never predicted: {', '.join(map(_plain, never))}.")
    lines += [f"- {_plain(note)}." for note in result.notes]
    lines.append("- Nothing is known of images unlike those of its data set.\n")
    return lines


def _plain(text: object) -> str:
    """Return text in which nothing is markup."""
    escaped = clean(text).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
    return " ".join(escaped.split())
