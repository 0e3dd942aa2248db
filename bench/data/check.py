"""Reading everything before an hour is spent: each unusable image by name, and the numbers.

In: a dataset. Out: a `DataReport`. Packing goes through the same pass, so that what is trained on
has been checked, and nothing is decoded twice.
"""

from collections.abc import Callable
from dataclasses import replace

from bench.data.cores import Progress, try_each
from bench.data.dataset import Dataset
from bench.data.examine import Layers, examine
from bench.data.findings import DataReport, ImageFacts


def check(
    dataset: Dataset,
    keep: Callable[[Layers], None] | None = None,
    progress: Progress | None = None,
) -> DataReport:
    """Read every image of a dataset, over all cores, and collect all problems.

    Args:
        dataset: What to read.
        keep: Called with the layers of each usable image, in the order of the report's
            `images`: image (H, W, 3), target (H, W), then what more the dataset has.
        progress: Called with the number of images read, and of all.
    """
    problems, images = _listing_problems(dataset), list[ImageFacts]()
    keys = [(split, name) for split, own in dataset.splits.items() for name in dict.fromkeys(own)]

    def read(key: tuple[str, str]) -> tuple[ImageFacts, Layers]:
        facts, layers = examine(dataset, *key)
        return facts, layers if keep is not None else ()  # nothing large between processes

    for found in try_each(read, keys, progress):
        if isinstance(found, str):
            problems.append(found)
            continue
        facts, layers = found
        images.append(facts)
        if keep is not None:
            keep(layers)
    report = DataReport(
        dataset.class_names,
        tuple(dataset.splits),
        tuple(images),
        tuple(problems),
        tuple(one.name for one in dataset.more_inputs),
        dataset.more_targets,
        dataset.ignore_index,
    )
    if problems or not images:
        return report
    faults = [text for labels in report.labels() for text in labels.faults()]
    if dataset.refuses_duplicates:
        faults += report.duplicates()
    return replace(report, problems=tuple(faults))


def _listing_problems(dataset: Dataset) -> list[str]:
    problems = []
    for split, names in dataset.splits.items():
        if not names:
            problems.append(
                f"split {split!r} of dataset {dataset.name!r} is empty; list images for it, "
                "or remove it"
            )
        counts = dict.fromkeys(names, 0)
        for name in names:
            counts[name] += 1
        problems += [
            f"{dataset.describe(split, name)} is listed {count} times; list it once"
            for name, count in counts.items()
            if count > 1
        ]
    return problems
