"""FCN: a backbone turned into a dense predictor with skips.

In: images (N, 3, H, W) of any size. Out: logits (N, C, H, W), at that size or another.
FCN-32s, 16s, 8s and 4s are one class with different skips. Nothing is cropped: every map is
read where its cells sit in the image, so an impulse comes back where it went in.

Reference: Long, Shelhamer and Darrell, 2015, section 4.2, arXiv:1411.4038.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from fcn.backbones.taps import Backbone, create_backbone, list_strides
from fcn.errors import InputError
from fcn.heads import HEADS, ScoreInit, create_score
from fcn.skips import FUSIONS, SKIPS, Skip
from fcn.upsampling import IMAGE_GRID, UPSAMPLINGS, Grid


class FCN(nn.Module):
    """A fully convolutional network.

    Args:
        backbone: Gives the features; its coarsest feature goes to the head.
        head: Coarsest features -> logits on their grid.
        skips: Stride -> skip, in the order of fusing, from coarse to fine.
        upsampling: Logits of the finest grid -> pixels.
    """

    def __init__(
        self, backbone: Backbone, head: nn.Module, skips: Mapping[int, Skip], upsampling: nn.Module
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.skips = nn.ModuleDict({str(stride): skip for stride, skip in skips.items()})
        self.upsampling = upsampling
        self.output_stride = max(backbone.taps)

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, of pictures scaled to 0..1: subtracted from the images beforehand."""
        return self.backbone.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel, of pictures scaled to 0..1: the images are divided by it beforehand."""
        return self.backbone.std

    def forward(self, images: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Return logits, (N, C, *size).

        Args:
            images: (N, in_chans, H, W), normalised by `mean` and `std`.
            size: (height, width) of the logits, for targets that differ from the images in size;
                None for that of the images. They are interpolated once, straight to these pixels.

        Raises:
            InputError: The images are too small for the backbone.
        """
        features = self.backbone(images)
        logits = self.head(features[self.output_stride])
        for stride, skip in self.skips.items():
            logits = skip(logits, features[int(stride)])
        cells = (images.shape[-2], images.shape[-1])
        result: Tensor = self.upsampling(logits, size or cells, cells)
        return result


def create_model(
    backbone: str,
    *,
    num_classes: int,
    skip: str = "fcn8s",
    head: str = "linear",
    upsampling: str = "bilinear",
    fusion: str = "sum",
    score_init: ScoreInit = "zero",
    dropout: float = 0.0,
    pretrained: bool | str = False,
    in_chans: int = 3,
) -> FCN:
    """Build an FCN from names; reads weights from the disk or the network if asked for them.

    Args:
        backbone: Any timm name; alexnet and googlenet are among them.
        num_classes: Number of classes C, background included.
        skip: Which finer features are fused: fcn32s (none), fcn16s, fcn8s, fcn4s, ...
        head: What scores the coarsest features.
        upsampling: How logits reach finer grids and the pixels.
        fusion: How two logits become one.
        score_init: Of all score layers: "zero" as in the paper, or "random".
        dropout: Of the coarsest features, a fraction in [0, 1).
        pretrained: Of the backbone: False, True, a timm tag, or the path of a local file.
        in_chans: Channels of the images.

    Raises:
        InputError: A name is unknown, or the parts do not fit together. Nothing was trained yet.
    """
    # Names first: they cost nothing, and a backbone may cost a download.
    strategy, create_head, create_fusion = SKIPS[skip], HEADS[head], FUSIONS[fusion]
    create_upsampling = UPSAMPLINGS[upsampling]
    if num_classes < 1 or in_chans < 1 or not 0 <= dropout < 1:
        raise InputError(
            f"num_classes {num_classes}, in_chans {in_chans}, dropout {dropout}: "
            "the first two must be at least 1, dropout in [0, 1)"
        )
    coarsest = _require_strides(backbone, skip)
    trunk = create_backbone(
        backbone,
        pretrained=pretrained,
        in_chans=in_chans,
        strides=(*strategy.strides, coarsest),
    )
    grids = {stride: Grid(stride, tap.offset) for stride, tap in trunk.taps.items()}
    scores = create_head(
        trunk.taps[coarsest].channels, num_classes, dropout=dropout, score_init=score_init
    )
    skips, grid = {}, grids[coarsest]
    for stride, scale in strategy.steps():
        skips[stride] = Skip(
            score=create_score(trunk.taps[stride].channels, num_classes, score_init),
            upsampling=create_upsampling(num_classes, grid, grids[stride]),
            fusion=create_fusion(num_classes),
            scale=scale,
        )
        grid = grids[stride]
    return FCN(trunk, scores, skips, create_upsampling(num_classes, grid, IMAGE_GRID))


def _require_strides(backbone: str, skip: str) -> int:
    """Return the stride of the coarsest prediction: 32, or the backbone's deepest.

    Raises:
        InputError: The backbone lacks a finer feature which the skip fuses.
    """
    available = list_strides(backbone)
    coarsest = 32 if 32 in available else max(available)
    finer = {stride for stride in available if stride < coarsest}
    if not finer.issuperset(SKIPS[skip].strides):
        possible = [name for name in SKIPS if finer.issuperset(SKIPS[name].strides)]
        raise InputError(
            f"skip {skip!r} fuses strides {', '.join(map(str, SKIPS[skip].strides))} into "
            f"stride {coarsest}, but backbone {backbone!r} has features of stride "
            f"{', '.join(map(str, available))} only; with it, use {' or '.join(possible)}"
        )
    return coarsest
