"""`fcn-bench speed reach`: a variant of a question and the usual loop, until a score is reached.

In: the name of a variant, where its images are. Out: a section of the page on performance.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ablations.api import load, plan
from bench.data.catalog import Catalog
from bench.run.environment import choose_device
from bench.speed.reach import Goal, reach_section
from bench.speed.section import Section
from bench.speed.workload import Workload
from bench.store.runs import Store
from fcn.errors import InputError
from fcn.registry import unknown_name


def reach_variant(
    run: str,
    settings: Mapping[str, Any],
    data: Path | None,
    scratch: Path,
    goal: Goal,
    *,
    workers: int,
    device: str,
) -> Iterator[Section]:
    """Train a variant's network until it reaches a score, on both sides.

    Args:
        run: ABLATION/VARIANT; the ablation by name or path.
        settings: New values by dotted key, as `--set` gives them.
        data: Folder of the images.
        scratch: Folder for what is written on the way.
        goal: What is to be reached.
        workers: Processes that load images for the usual loop.
        device: As torch spells it, or "auto".

    Raises:
        InputError: There is no such variant, or it cannot be trained by both.
    """
    name, slash, variant = run.rpartition("/")
    if not slash:
        raise InputError(
            f"--run {run} names no variant; give ABLATION/VARIANT, as in "
            "camvid/pretrained/scratch-or-pretrained/lite0"
        )
    store = Store(scratch / "store")
    planned = plan(load(name, settings), store=store, data=data).runs
    own = next((one.run.spec for one in planned if one.variant == variant), None)
    if own is None:
        known = dict.fromkeys(one.variant for one in planned)
        raise InputError(unknown_name(f"variant of {name}", variant, known))
    pack = Catalog(store, data).pack(own.data)
    workload = Workload(own, pack, pack.num_classes, choose_device(device))
    return reach_section(workload, scratch, goal, workers)
