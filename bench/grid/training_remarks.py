"""What is said of training before it begins: parts that are frozen or slow, and cheaper arithmetic.

Which parameters fall where, by part; and that a processor knows bf16, where runs do not use it.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.data.facts import DatasetFacts
from bench.grid.gpus import find_gpus
from bench.grid.preflight import build_somehow, first_seeds
from bench.plan import Plan
from bench.run.groups import describe_groups


def group_remarks(plan: Plan, facts: Mapping[str, DatasetFacts]) -> Iterator[str]:
    """Yield, for each part that is frozen or has a rate of its own, a line with what is in it.

    Args:
        plan: What is to be run; its models can be built.
        facts: Of the datasets, by fingerprint.
    """
    found: dict[str, list[str]] = {}
    for planned in first_seeds(plan):
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


def bf16_remarks(plan: Plan, cpuinfo: Path = Path("/proc/cpuinfo")) -> Iterator[str]:
    """Yield a line where this machine's processor multiplies bf16 and its runs are in fp32.

    Nothing is measured, and nothing is said where there is a GPU: runs are there.

    Args:
        plan: What is to be run.
        cpuinfo: What the system says of the processor.
    """
    own = [planned.variant for planned in first_seeds(plan)
           if planned.run.spec.train.precision == "fp32"]  # fmt: skip
    if not own or find_gpus() or not knows_bf16(cpuinfo):
        return
    yield (
        "this processor multiplies bf16 by itself: --set train.precision=bf16 trains with half the "
        "bytes of activations; those are other runs: `fcn-bench run camvid/precision-cpu` asks "
        "whether they score alike, `fcn-bench speed train --precision bf16` measures what a step "
        f"saves (variants {', '.join(own)})"
    )


def knows_bf16(cpuinfo: Path) -> bool:
    """Say whether the system names instructions for products of bf16 numbers."""
    if not cpuinfo.exists():
        return False
    lines = (line.partition(":") for line in cpuinfo.read_text().splitlines())
    flags = next((rest for name, _, rest in lines if name.strip() in ("flags", "Features")), "")
    return not BF16_FLAGS.isdisjoint(flags.split())
