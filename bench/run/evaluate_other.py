"""Scores after training: runs, model folders, ONNX files or masks, on any split, looked at anyhow.

In: what is scored, and packed images with the same classes. Out: a `Scored` in the store, with
counts image by image. A run on its own split, seen once and whole, gets the counts of its record.
"""

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bench.data.layers import COLOUR
from bench.data.packs.pack import Pack
from bench.data.scoring_batches import groups_of_one_size
from bench.mask_scores import count_mask
from bench.run.environment import describe_environment
from bench.run.evaluate import Evaluation, choose_kept, save_evaluation
from bench.run.evaluate_split import BATCH_PIXELS, BATCH_SIZE
from bench.run.masks_of_others import find_masks, read_prediction
from bench.run.onnx_network import OnnxNetwork
from bench.run.trained import Segmenter, Trained
from bench.run.views import Views
from bench.spec import DataSpec
from bench.store.atomic import file_digest
from bench.store.runs import Store
from bench.store.scored import (
    COUNTS,
    MASKS,
    MODEL,
    ONNX,
    RUN,
    Scored,
    folder_of,
    name_evaluation,
    read_scored,
    write_scored,
)
from bench.text import clean
from fcn.errors import InputError
from fcn.hub import WEIGHTS, from_pretrained, read_config

Predict = Callable[[list[int]], list[NDArray[np.uint8]]]
"""Images of a pack of one size, by number -> the class of each pixel, (H, W) each."""


@dataclass(frozen=True)
class Subject:
    """What is scored."""

    kind: str
    source: str
    label: str
    content: str
    """sha256, in hex, of weights or masks."""
    predict: Predict
    input_scale: float | None = None
    seed: int = 0
    class_names: tuple[str, ...] | None = None
    """Where it knows them."""


def subject_of_run(
    store: Store,
    run_id: str,
    pack: Pack,
    device: torch.device,
    views: Views,
    input_scale: float | None = None,
) -> Subject:
    """Take a finished run; `input_scale` takes the place of its own `data.input_scale`.

    Raises:
        InputError: It cannot be used, or sees or gives what the pack does not have.
    """
    trained = Trained(store, run_id, device)
    trained.input_scale = input_scale or trained.input_scale
    run, result = store.run(run_id), store.result(run_id)
    assert result is not None
    names = store.names.by_id.get(run_id, ())
    label = f"{names[0].ablation}/{names[0].variant}" if names else run_id
    inputs, targets = (one.name for one in trained.inputs), (one.name for one in pack.targets)
    chosen = pack.choose(tuple(inputs), tuple(targets))
    return Subject(
        kind=RUN,
        source=run_id,
        label=label,
        content=result.digests[WEIGHTS],
        predict=_predicting(trained, chosen, views),
        input_scale=trained.input_scale,
        seed=run.spec.seed,
        class_names=result.class_names,
    )


def subject_of_model(
    folder: Path,
    pack: Pack,
    device: torch.device,
    views: Views,
    input_scale: float | None,
    label: str,
) -> Subject:
    """Take a model folder that `fcn.save_pretrained` or `fcn-bench export` wrote.

    Raises:
        InputError: It holds none, or one with another number of classes or inputs.
    """
    model = from_pretrained(folder)
    settings = getattr(model, "settings", {})
    C = int(settings.get("num_classes", 0))
    if pack.num_classes != C or len(model.mean) != 3:
        raise InputError(
            f"{folder} tells {C} classes apart in {len(model.mean)} channels; the data set "
            f"has {pack.num_classes} classes, and images have 3: they do not fit"
        )
    config = read_config(folder)
    scale = input_scale or config["input_scale"]
    classes = [C, *settings.get("more_classes", ())]
    targets = ["", *map(str, range(1, len(classes)))]  # the folder knows no names of the further
    network = Segmenter(model.to(device), (COLOUR,), classes, targets, scale, "fp32", device)
    return Subject(
        kind=MODEL,
        source=str(folder),
        label=label,
        content=file_digest(folder / WEIGHTS),
        predict=_predicting(network, pack, views),
        input_scale=scale,
        class_names=tuple(config["class_names"]) or None,
    )


def subject_of_onnx(
    file: Path,
    pack: Pack,
    device: torch.device,
    views: Views,
    input_scale: float | None,
    label: str,
    statistics: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Subject:
    """Take an ONNX file, of `fcn-bench export` or of another tool; see `OnnxNetwork`.

    Raises:
        InputError: It is no network of so many classes for colour images, or takes one size and is
            to see others.
    """
    if pack.num_channels != 3:
        raise InputError(f"{file} sees 3 channels, and the images have {pack.num_channels}")
    network = OnnxNetwork(file, pack.num_classes, input_scale, statistics, device)
    network.require_sizes(views, input_scale)
    content = hashlib.sha256(file_digest(file).encode())
    beside = file.with_name(f"{file.name}.data")  # weights of large files
    content.update(file_digest(beside).encode() if beside.is_file() else b"")
    content.update(repr(network.statistics).encode())

    def predict(indices: list[int]) -> list[NDArray[np.uint8]]:
        return [network.predict_views(pack.image(i), views)[""] for i in indices]

    return Subject(
        kind=ONNX,
        source=str(file),
        label=label,
        content=content.hexdigest(),
        predict=predict,
        input_scale=network.input_scale,
        class_names=network.class_names,
    )


def subject_of_masks(folder: Path, pack: Pack, split: str, label: str) -> Subject:
    """Take a folder of masks that another tool predicted, one for each image of a split.

    A mask has the image's name and size, and holds class indices or the data set's colours.

    Raises:
        InputError: Masks are missing, or there are several for an image.
    """
    indices = list(pack.indices(split))
    masks = dict(zip(indices, find_masks(folder, [pack.name(i) for i in indices]), strict=True))
    content = hashlib.sha256()
    for i, path in masks.items():
        content.update(f"{pack.name(i)} {file_digest(path)}\n".encode())

    def predict(indices: list[int]) -> list[NDArray[np.uint8]]:
        return [read_prediction(masks[i], pack, i) for i in indices]

    return Subject(MASKS, str(folder), label, content.hexdigest(), predict)


def evaluate_subject(
    store: Store,
    subject: Subject,
    pack: Pack,
    data: DataSpec,
    split: str,
    views: Views,
    device: torch.device,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Scored, bool]:
    """Score a subject on a split, unless it was, and keep the record.

    Args:
        store: Where the record goes.
        subject: What is scored.
        pack: Decoded images of the data set.
        data: Which data set that is.
        split: Name of the split.
        views: How images were looked at.
        device: Where it is computed.
        progress: Called with the number of images that are done, and of all.

    Returns:
        The record, and whether it is new.

    Raises:
        InputError: Classes differ, a mask cannot be used, or a network cannot see an image.
    """
    _require_classes(subject, pack)
    indices = pack.indices(split)
    way = {"views": str(views), "scale": subject.input_scale}
    content: list[Any] = [subject.kind, subject.content, pack.fingerprint, split]
    content += [data.limit_images, way]
    if data.folds is not None:
        content.append([data.folds, data.fold, data.draw_by, data.draw_seed])
    target = "" if pack.targets[0] == pack.available_targets[0] else pack.targets[0].name
    content += [target] if target else []
    evaluation_id = name_evaluation({"content": content, "format": 1})
    known = read_scored(store.root, evaluation_id)
    if known is not None:
        return known, False
    start = time.perf_counter()
    evaluation = _count(subject, pack, indices, progress)
    seconds = time.perf_counter() - start
    store.begin()
    counts = folder_of(store.root, evaluation_id) / COUNTS
    save_evaluation(counts, evaluation, pack.groups(split))
    scored = Scored(
        id=evaluation_id,
        kind=subject.kind,  # type: ignore[arg-type]  # one of our own words
        label=clean(subject.label),
        source=clean(subject.source),
        content=subject.content,
        seed=subject.seed,
        dataset=data.dataset,
        options=data.options,
        fingerprint=pack.fingerprint,
        split=split,
        views=str(views),
        input_scale=subject.input_scale,
        num_images=len(indices),
        class_names=pack.class_names,
        palette=pack.palette,
        confusion=evaluation.confusion.tolist(),
        seconds=seconds,
        environment=describe_environment(device),
        digests={COUNTS: file_digest(counts)},
        finished=datetime.now(UTC).isoformat(timespec="milliseconds"),
        target=target,
    )
    write_scored(store.root, scored)
    return scored, True


def _count(
    subject: Subject, pack: Pack, indices: list[int], progress: Callable[[int, int], None]
) -> Evaluation:
    names = [pack.name(i) for i in indices]
    kept = set(choose_kept(names))
    confusions, predictions = [], {}
    scale = subject.input_scale or 1.0
    sized = ((i, pack.size(i)) for i in indices)
    for group in groups_of_one_size(sized, scale, BATCH_SIZE, BATCH_PIXELS):
        for i, pred in zip(group, subject.predict(group), strict=True):
            target = pack.target(i)
            confusions.append(count_mask(target, pred, pack.num_classes, pack.ignore_index))
            if pack.name(i) in kept:
                predictions[pack.name(i)] = pred
        progress(len(confusions), len(indices))
    return Evaluation(names, np.stack(confusions).astype(np.int32), predictions)


def _predicting(network: Segmenter, pack: Pack, views: Views) -> Predict:
    """Return what predicts images of a pack: as runs are scored, or by views."""

    def predict(indices: list[int]) -> list[NDArray[np.uint8]]:
        if views.is_plain:
            found = network.predict_batch(np.stack([pack.image(i) for i in indices]))
            return [preds[""] for preds in found]
        return [network.predict_views(pack.image(i), views)[""] for i in indices]

    return predict


def _require_classes(subject: Subject, pack: Pack) -> None:
    if subject.class_names is not None and subject.class_names != pack.class_names:
        raise InputError(
            f"{subject.label} tells {', '.join(subject.class_names)} apart, and the data set has "
            f"{', '.join(pack.class_names)}: scores need the same classes in the same order; "
            "rename or reorder those of the data set (classes.txt)"
        )
