"""What a loss takes that sees a whole batch at once, told before anything is trained.

Such a loss has the full-size logits of all images in memory, where others have those of a few.
"""

import math
from collections.abc import Iterator, Mapping

from bench.data.augment import scaled_size
from bench.data.packs.pack import Pack
from bench.plan import Plan
from bench.run.losses import create_terms
from bench.spec import RunSpec

GIB = 2**30

COPIES = 4
"""Full-size logits held at once: they, what the loss keeps of them, and two gradients."""


def loss_remarks(plan: Plan, packs: Mapping[str, Pack]) -> Iterator[str]:
    """Yield, for each loss that cannot be sliced, the memory that a batch's logits take.

    Args:
        plan: What is to be run.
        packs: Packed data by fingerprint.
    """
    found: dict[tuple[str, float], list[str]] = {}
    for planned in {planned.variant: planned for planned in plan.runs}.values():
        spec, train = planned.run.spec, planned.run.spec.train
        names = [term.name for term in create_terms(train.loss) if term.is_whole]
        if not names:
            continue
        pack = packs[planned.run.fingerprint].choose(spec.data.inputs, spec.data.targets)
        pixels = math.prod(train.crop) if train.crop else _largest(pack, train.split, spec)
        classes = max(len(target.class_names) for target in pack.targets)
        gib = COPIES * 4 * train.batch_size * classes * pixels / GIB
        found.setdefault((" and ".join(names), round(gib, 2)), []).append(planned.variant)
    for (losses, gib), variants in found.items():
        yield (
            f"loss {losses} sees a whole batch at once: its full-size logits take about {gib:.2f} "
            f"GiB beside the network, variants {', '.join(variants)}"
        )


def _largest(pack: Pack, split: str, spec: RunSpec) -> int:
    """Return the pixels of the largest image of a split as training may see it."""
    factor = spec.data.input_scale * spec.train.scale[1]
    return max(math.prod(scaled_size(pack.size(i), factor)) for i in pack.indices(split))
