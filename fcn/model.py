"""FCN: a backbone turned into a dense predictor with skips.

In: images (N, 3, H, W) of any size. Out: logits (N, C, H, W), at that size or another.
FCN-32s to 2s, truncated nets and decoders are one class with different skips. Nothing is cropped:
every map is read where its cells sit in the image, so an impulse comes back where it went in.
With padding "pad100" the image is padded and maps are cropped, as in the reference.

Reference: Long, Shelhamer and Darrell, 2015, section 4.2, arXiv:1411.4038.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor, device, nn

from fcn.alignment import IMAGE_GRID, Grid
from fcn.assembly import DecoderConfig, FeatureMap, create_scores, create_skips
from fcn.backbones.taps import Backbone, create_backbone, create_backbone_and_classifier
from fcn.errors import InputError
from fcn.external import External
from fcn.fit import Padding, require_fit, require_sense
from fcn.fusions import FUSIONS
from fcn.geometry import find_shift
from fcn.heads import HEADS, ScoreInit
from fcn.inputs import LATE_EXTERNAL, RGB, InputFusion, LateFusion, Statistics, channel_statistics
from fcn.libraries import create_external, require_external_weights
from fcn.preprocessing import Preprocessing, preprocess_as_caffe, require_colours
from fcn.published import PublishedFile
from fcn.reference import CroppedUpsampling
from fcn.settings import remember_settings
from fcn.skips import SKIPS, Skip
from fcn.targets import per_target
from fcn.upsampling import UPSAMPLINGS
from fcn.weights import local_file, require_published


class FCN(nn.Module):
    """A fully convolutional network.

    Args:
        backbone: Gives the features; its coarsest feature goes to the head.
        head: Coarsest features -> logits on their grid.
        skips: Stride -> skip, in the order of fusing, from coarse to fine.
        upsampling: Logits of the finest grid -> pixels.
        scores: The finest map -> logits; None where it is logits already.
        grids: Stride -> where class scores of that stride sit, which later ones are fused with.
    """

    def __init__(
        self,
        backbone: Backbone,
        head: nn.Module,
        skips: Mapping[int, Skip],
        upsampling: nn.Module,
        scores: nn.Module | None = None,
        grids: Mapping[int, Grid] | None = None,
    ) -> None:
        super().__init__()
        self.grids = dict(grids or {})
        self.backbone = backbone
        self.head = head
        self.skips = nn.ModuleDict({str(stride): skip for stride, skip in skips.items()})
        self.upsampling = upsampling
        self.scores = scores
        self.output_stride = max(backbone.taps)

    @property
    def mean(self) -> tuple[float, ...]:
        """Per channel, of images scaled to 0..1: subtracted from the images beforehand."""
        return self.backbone.mean

    @property
    def std(self) -> tuple[float, ...]:
        """Per channel, of images scaled to 0..1: the images are divided by it beforehand."""
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
        cells = (images.shape[-2], images.shape[-1])
        result: Tensor = self.upsampling(self.score(images), size or cells, cells)
        return result

    def score(self, images: Tensor) -> Tensor:
        """Return logits (N, C, h, w) on the finest grid; `upsampling` takes them to pixels.

        A loss or a prediction that takes images one by one from here holds full-size logits of
        one image in place of a batch.

        Args:
            images: As for `forward`.

        Raises:
            InputError: The images are too small for the backbone.
        """
        return self.score_with(images)[0]

    def score_with(self, images: Tensor, earlier: int | None = None) -> tuple[Tensor, Tensor]:
        """Return logits as `score` does, and those of an earlier stride, one of `grids`.

        Args:
            images: As for `forward`.
            earlier: The stride; None for that of the coarsest features.
        """
        features = self.backbone(images)
        logits: Tensor = self.head(features[self.output_stride])
        seen = logits
        for stride, skip in self.skips.items():
            logits = skip(logits, features[int(stride)])
            if int(stride) == earlier:
                seen = logits
        return (logits if self.scores is None else self.scores(logits)), seen


Network = FCN | LateFusion | External
"""What can be trained and scored: all have `mean`, `std`, `forward(images, size)`, and its two
stages, `score(images)` and `upsampling(logits, size, cells)`."""


def coarsest_stride(model: Network) -> int:
    """Return the pixels between the coarsest features: a cell of the network's final layer.

    Of a network of another library it is not known, and taken for 32.
    """
    if isinstance(model, LateFusion):
        return max(coarsest_stride(stream) for stream in model.streams.values())
    return model.output_stride if isinstance(model, FCN) else 32


@remember_settings
def create_model(
    backbone: str,
    *,
    num_classes: int,
    skip: str = "fcn8s",
    head: str = "linear",
    upsampling: str = "bilinear",
    upsampling_last: str | None = None,
    fusion: str = "sum",
    score_init: ScoreInit = "zero",
    dropout: float = 0.0,
    padding: Padding = "exact",
    preprocessing: Preprocessing = "timm",
    output_stride: int | None = None,
    pretrained: bool | str = False,
    in_chans: int = 3,
    inputs: Mapping[str, int] | None = None,
    statistics: Statistics | None = None,
    input_fusion: InputFusion = "early",
    more_classes: Sequence[int] = (),
    external: str | None = None,
) -> Network:
    """Build an FCN from names; reads weights from the disk or the network if asked for them.

    Args:
        backbone: Any timm name; alexnet, caffenet and googlenet are among them.
        num_classes: Number of classes C, background included.
        skip: Which features are used, and how: fcn32s, fcn16s, fcn8s, ..., pool4, unet, fpn, ...
        head: What scores the coarsest features.
        upsampling: How maps reach finer grids and the pixels.
        upsampling_last: How the finest logits reach the pixels; None for `upsampling`. The paper
            learns the stages between and fixes the last.
        fusion: How two maps become one.
        score_init: Of all score layers: "zero" as in the paper, or "random".
        dropout: Of what the head scores, a fraction in [0, 1).
        padding: "exact", or "pad100": padded and cropped as the reference nets are, for head
            convolutionalized and the skips that fuse class scores.
        preprocessing: "timm", the statistics of the weights, or "caffe": blue first, 0..255 less
            the means, as the reference nets see images (see `fcn.preprocessing`).
        output_stride: Of the deepest features, for families that can dilate; None for their own.
        pretrained: Of the backbone: False, True, a timm tag, `hf-hub:OWNER/NAME`, or a local file
            or folder, by its path or by its name in the folder of FCN_BENCH_WEIGHTS.
        in_chans: Channels of the images.
        inputs: Channels of each input by name, in their order in the images; in place of
            `in_chans`. Published filters serve the first.
        statistics: Mean and deviation of the inputs' channels, where not those of the backbone.
        input_fusion: Of several inputs: "early", one network whose first filters are as deep, or
            "late", a network for each, whose scores are averaged (see `fcn.inputs`).
        more_classes: Numbers of classes of further targets; their logits follow those of the first
            (see `fcn.targets`).
        external: A network of another library instead (see `fcn.libraries`); with it, only
            `num_classes`, `more_classes`, `pretrained`, `inputs` and `in_chans` are used.

    Raises:
        InputError: A name is unknown, or the parts do not fit together. Nothing was trained yet.
    """
    classes = (num_classes, *more_classes)
    depths = {RGB: in_chans} if inputs is None else dict(inputs)
    require_sense(classes, tuple(depths.values()), dropout, input_fusion)
    if external is not None:
        if input_fusion == "late":
            raise InputError(LATE_EXTERNAL)
        model = create_external(
            external,
            num_classes=sum(classes),
            pretrained=pretrained,
            in_chans=sum(depths.values()),
        )
        if inputs is not None:
            model.mean, model.std = channel_statistics(model.mean, model.std, depths, statistics)
        return model
    require_colours(preprocessing, depths)
    create = partial(
        _create_fcn,
        backbone,
        classes=classes,
        skip=skip,
        head=head,
        upsampling=upsampling,
        upsampling_last=upsampling_last,
        fusion=fusion,
        score_init=score_init,
        dropout=dropout,
        padding=padding,
        preprocessing=preprocessing,
        output_stride=output_stride,
        pretrained=pretrained,
        statistics=statistics,
    )
    if input_fusion == "early" or len(depths) == 1:
        return create(inputs=depths)
    streams = {name: create(inputs={name: number}) for name, number in depths.items()}
    return LateFusion(streams, list(depths.values()))


def require_weights(backbone: str, **settings: Any) -> PublishedFile | None:
    """See that the weights of a model can be had and fit it: asks servers, and downloads nothing.

    Args:
        backbone: As for `create_model`, which can build the model without weights.
        settings: Likewise.

    Returns:
        The file, here or to be fetched; None for random weights.

    Raises:
        InputError: They do not exist, cannot be had, or are of another network.
    """
    pretrained, external = settings.get("pretrained", False), settings.get("external")
    if not pretrained:
        return None
    if external is not None:
        return require_external_weights(
            external,
            num_classes=sum((settings["num_classes"], *settings.get("more_classes", ()))),
            pretrained=pretrained,
            in_chans=sum(settings.get("inputs", {RGB: settings.get("in_chans", 3)}).values()),
        )
    path = local_file(pretrained)
    if path is None:
        return require_published(backbone, pretrained)
    with device("meta"):
        create_model(backbone, **settings)
    return PublishedFile(str(path), path)


def _create_fcn(
    backbone: str,
    *,
    classes: tuple[int, ...],
    skip: str,
    head: str,
    upsampling: str,
    upsampling_last: str | None,
    fusion: str,
    score_init: ScoreInit,
    dropout: float,
    padding: Padding,
    preprocessing: Preprocessing,
    output_stride: int | None,
    pretrained: bool | str,
    inputs: Mapping[str, int],
    statistics: Statistics | None,
) -> FCN:
    # Names first: they cost nothing, and a backbone may cost a download.
    config = DecoderConfig(classes, upsampling, fusion, score_init, pad100=padding == "pad100")
    strategy, create_head, last = SKIPS[skip], HEADS[head], upsampling_last or upsampling
    _ = FUSIONS[fusion], UPSAMPLINGS[upsampling], UPSAMPLINGS[last]
    coarsest = require_fit(
        backbone, skip=skip, head=head, fusion=fusion, padding=padding, output_stride=output_stride
    )
    strides, extra = (*strategy.strides, coarsest), {}
    in_chans, *more = inputs.values()
    if getattr(create_head, "needs_classifier", False):
        trunk, classifier = create_backbone_and_classifier(
            backbone,
            pretrained=pretrained,
            in_chans=in_chans,
            more_chans=sum(more),
            strides=strides,
            pad100=config.pad100,
        )
        extra = {"classifier": classifier, "padded": not config.pad100}
    else:
        trunk = create_backbone(
            backbone,
            pretrained=pretrained,
            in_chans=in_chans,
            more_chans=sum(more),
            strides=strides,
            output_stride=output_stride,
        )

    if preprocessing == "caffe" and RGB in inputs:  # the other streams of late fusion have none
        preprocess_as_caffe(trunk, inputs)
    trunk.mean, trunk.std = channel_statistics(trunk.mean, trunk.std, inputs, statistics)
    tap, width = trunk.taps[coarsest], (*strategy.widths, config.num_classes)[0]
    map_init = "usual" if strategy.widths else score_init
    first = create_head(tap.channels, width, dropout=dropout, score_init=map_init, **extra)
    jump, centre = find_shift(first, tap.channels)
    start = FeatureMap(width, Grid(coarsest * jump, tap.offset + coarsest * centre))
    skips, finest = create_skips(strategy, trunk.taps, start, config)
    scores = create_scores(strategy, finest.channels, config) if strategy.widths else None

    def to_pixels(number: int) -> nn.Module:
        if config.pad100:
            return CroppedUpsampling(number, finest.grid, last)
        return UPSAMPLINGS[last](number, finest.grid, IMAGE_GRID)

    grids = {}
    if not (strategy.widths or config.pad100):  # maps are class scores, each where its tap is
        grids = {coarsest: start.grid}
        grids |= {s: Grid(trunk.taps[s].stride, trunk.taps[s].offset) for s in list(skips)[:-1]}
        grids = grids if skips and strategy.merge == "fuse" else {}
    return FCN(trunk, first, skips, per_target(classes, to_pixels), scores, grids)
