"""Every family of timm as an FCN: `python -m bench.speed.families > docs/results/timm-families.md`.

In: one network of each family. Out: a Markdown table of what it gives, or why it is refused.
Each is built, run forward and back on the meta device, at a size that no stride divides: shapes
and gradients' paths are real, no number is computed, so every family takes seconds and no memory.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import timm
import torch

from fcn.backbones.nets import Abilities, find_abilities
from fcn.errors import InputError
from fcn.model import create_model
from fcn.skips import SKIPS

SIZE = (225, 309)
NUM_CLASSES = 21
PAPERS_SKIPS = ("fcn32s", "fcn16s", "fcn8s")

SMALL = """
beit_base_patch16_224 halonet26t mobileone_s1 cait_xxs24_224 coat_tiny convit_tiny convmixer_768_32
convnext_atto cpubone_nano crossvit_9_240 csatv2 darknet17 cspnext_tiny davit_tiny
deepseek_vit_412m deit_tiny_patch16_224 densenet121 dla46_c dpn48b edgenext_xx_small
efficientformer_l1 efficientformerv2_s0 efficientnet_b0 efficientvim_m1 efficientvit_b0
efficientvit_m0 eva02_tiny_patch14_224 fasternet_t0 fastvit_t8 focalnet_tiny_srf gcvit_xxtiny
gemma4_vit_167m ghostnet_050 hardcorenas_a hgnetv2_b0 hiera_tiny_224 sam2_hiera_tiny
hrnet_w18_small iformer_t inception_next_atto inception_resnet_v2 inception_v3 inception_v4
lcnetv2_small levit_128s lowformer_b0 mambaout_femto maxvit_nano_rw_256 caformer_s18 gmlp_ti16_224
mobilenetv3_small_050 mobilenetv5_base mobilevit_xxs mvitv2_tiny naflexvit_base_patch16_gap
nasnetalarge nest_tiny nextvit_small nf_resnet26 pit_ti_224 pnasnet5large pvt_v2_b0 qwen3_vit_88m
rdnet_tiny regnetx_002 repghostnet_050 repvit_m0_9 res2net50_14w_8s resnest14d resnet10t
resnetv2_18 rexnet_100 selecsls42 legacy_seresnet18 sequencer2d_s shvit_s1 skresnet18 starnet_s050
swiftformer_xs swin_tiny_patch4_window7_224 swinv2_tiny_window8_256 swinv2_cr_tiny_224
tiny_vit_5m_224 tnt_s_patch16_224 tresnet_m twins_svt_small vgg11 visformer_tiny
vit_base_patch32_224 vit_tiny_r_s16_p8_224 vit_relpos_small_patch16_224 samvit_base_patch16
vitamin_small_224 volo_d1_224 ese_vovnet19b_dw legacy_xception xception41 xcit_nano_12_p16_224
"""
"""A small network of each family; a family that is not here is represented by its first one."""

HEADER = f"""# timm's families as FCNs

Made by `python -m bench.speed.families` with timm {timm.__version__}, torch {torch.__version__}.
One small network of each family (a module of timm) as FCN-32s (or its deepest stride),
{NUM_CLASSES} classes, forward and back at {SIZE[0]}x{SIZE[1]} pixels on the meta device: shapes and
gradient paths, no numbers. "Skips" are those of the paper's that the strides allow.

*Sees*: **whole**: the image as it is. **padded N**: zeros to the right and below, to multiples of
N pixels, because the network fails on other sizes or its cells would move with the size. **windows
N**: the network is built for one size; it sees the image in windows of that size, padded, which
know nothing of each other. Nothing is resampled in any of the three.
"""


@dataclass(frozen=True)
class FamilyRow:
    """What one family gives."""

    family: str
    backbone: str
    sees: str = ""
    strides: tuple[int, ...] = ()
    skips: tuple[str, ...] = ()
    num_parameters: int = 0
    refusal: str = ""
    """Why it cannot be a backbone, in a sentence; empty if it can."""


def list_families() -> dict[str, str]:
    """Return a small network of each of timm's families, by family; our own nets are not timm's."""
    families: dict[str, str] = {}
    small = set(SMALL.split())
    for name in timm.list_models():
        entry = timm.model_entrypoint(name)
        if not entry.__module__.startswith("timm.models.") or name.startswith("test_"):
            continue
        family = entry.__module__.rpartition(".")[2]
        if name in small or family not in families:
            families[family] = name
    return families


def try_family(family: str, backbone: str) -> FamilyRow:
    """Build a backbone's FCN and run it forward and back, on the meta device.

    Raises:
        AssertionError: The FCN runs, and its logits or gradients are not what was promised.
    """
    try:
        abilities = find_abilities(backbone)
        with torch.device("meta"):
            model = create_model(backbone, num_classes=NUM_CLASSES, skip="fcn32s")
            images = torch.empty(2, 3, *SIZE)
    except InputError as error:
        return FamilyRow(family, backbone, refusal=str(error))
    logits = model(images)
    assert logits.shape == (2, NUM_CLASSES, *SIZE), f"{backbone}: logits {tuple(logits.shape)}"
    logits.sum().backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    reached = sum(p.grad is not None for p in model.parameters())
    assert reached > len(without), f"{backbone}: no gradient for {', '.join(without)}"
    return FamilyRow(
        family,
        backbone,
        sees=_describe(abilities),
        strides=abilities.strides,
        skips=tuple(s for s in PAPERS_SKIPS if SKIPS[s].find_coarsest(abilities.strides)),
        num_parameters=sum(p.numel() for p in model.parameters()),
    )


def to_markdown(rows: Iterable[FamilyRow]) -> Iterator[str]:
    """Yield the lines of the page."""
    rows = list(rows)
    refused = [row for row in rows if row.refusal]
    yield HEADER
    good = f"{len(rows) - len(refused)} of {len(rows)}"
    yield f"{good} families go forward and back, and so train; {len(refused)} refused.\n"
    yield "| family | network | sees | strides | skips | parameters, M |"
    yield "| --- | --- | --- | --- | --- | ---: |"
    for row in rows:
        if not row.refusal:
            strides, skips = ", ".join(map(str, row.strides)), ", ".join(row.skips)
            millions = f"{row.num_parameters / 1e6:.1f}"
            cells = (row.family, row.backbone, row.sees, strides, skips, millions)
            yield f"| {' | '.join(cells)} |"
    if refused:
        yield "\n## Refused\n"
        yield from (f"- **{row.family}**: {row.refusal}" for row in refused)


def _describe(abilities: Abilities) -> str:
    if abilities.window:
        return f"windows {abilities.window}"
    return "whole" if abilities.granularity == 1 else f"padded {abilities.granularity}"


def main() -> None:
    """Write the page to standard output and progress to standard error."""
    rows = []
    for family, backbone in sorted(list_families().items()):
        rows.append(try_family(family, backbone))
        sys.stderr.write(f"{family} {backbone} {rows[-1].refusal or rows[-1].sees}\n")
    sys.stdout.write("\n".join(to_markdown(rows)) + "\n")


if __name__ == "__main__":
    main()
