"""What is said of training before it begins: parts that are frozen or slow, and cheaper arithmetic.

Which parameters fall where, by part; and that a processor knows bf16 where runs do not use it, or
does not where they do.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.data.facts import DatasetFacts
from bench.grid.building import build_somehow
from bench.grid.gpus import find_gpus
from bench.plan import Plan
from bench.run.groups import describe_groups


def group_remarks(plan: Plan, facts: Mapping[str, DatasetFacts]) -> Iterator[str]:
    """Yield, for each part that is frozen or has a rate of its own, a line with what is in it.

    Args:
        plan: What is to be run; its models can be built.
        facts: Of the datasets, by fingerprint.
    """
    found: dict[str, list[str]] = {}
    for planned in plan.first_seeds():
        spec = planned.run.spec
        if not (spec.train.freeze or spec.train.groups or spec.train.layer_decay < 1):
            continue
        options = facts[planned.run.fingerprint].network_options(spec.data)
        model = build_somehow(spec.model, options)
        for line in describe_groups(model, spec.train, spec.model):
            found.setdefault(line, []).append(planned.variant)
    for line, variants in found.items():
        yield f"{line} (variants {', '.join(variants)})"


BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""What Linux calls products of bf16 numbers, on x86 and on ARM."""


CPUINFO = Path("/proc/cpuinfo")
"""What Linux says of the processor."""


def bf16_remarks(plan: Plan, cpuinfo: Path = CPUINFO) -> Iterator[str]:
    """Yield a line where this machine's processor multiplies bf16 and its runs are in fp32.

    Nothing is measured, and nothing is said where there is a GPU: runs are there.

    Args:
        plan: What is to be run.
        cpuinfo: What the system says of the processor.
    """
    own = _variants_in("fp32", plan)
    if own and knows_bf16(cpuinfo) and not find_gpus():
        yield (
            "this processor multiplies bf16 by itself: --set train.precision=bf16 trains with half "
            "the bytes of activations; those are other runs: `fcn-bench run camvid/precision-cpu` "
            "asks whether they score alike, `fcn-bench speed train --precision bf16` measures what "
            f"a step saves (variants {own})"
        )


def imitation_remarks(plan: Plan, cpuinfo: Path = CPUINFO) -> Iterator[str]:
    """Yield a line where runs are in bf16, and this machine's processor does not multiply it.

    Nothing is said where there is a GPU, or where the system does not tell. Arguments are those of
    `bf16_remarks`.
    """
    own = _variants_in("bf16", plan)
    if own and knows_bf16(cpuinfo) is False and not find_gpus():
        yield (
            "this processor does not multiply bf16, and torch imitates it: without AVX-512 a step "
            "of VGG-11 took fifteen times as long as in fp32, one of EfficientNet-Lite0 ten times; "
            f"--set train.precision=fp32 asks the same of other runs (variants {own})"
        )


def knows_bf16(cpuinfo: Path) -> bool | None:
    """Say whether the system names instructions for products of bf16 numbers; None if untold."""
    if not cpuinfo.exists():
        return None
    lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
    flags = [rest for name, _, rest in lines if name.strip() in ("flags", "Features")]
    return not BF16_FLAGS.isdisjoint(flags[0].split()) if flags else None


def _variants_in(precision: str, plan: Plan) -> str:
    found = (one for one in plan.first_seeds() if one.run.spec.train.precision == precision)
    return ", ".join(planned.variant for planned in found)
