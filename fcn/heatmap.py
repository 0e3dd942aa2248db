"""Heatmaps: a classification network slid over an image of any size, in one pass.

In: an image. Out: the class scores of every window, and where the windows are centred.
The network's own classifier is kept, as convolutions; nothing is upsampled and nothing trained.

Reference: Long et al., 2015, section 3.1 and figure 2, arXiv:1411.4038.
"""

import torch
from torch import Tensor, nn

from fcn.alignment import Grid
from fcn.backbones.classifiers import require_classifier
from fcn.backbones.taps import Backbone, create_backbone_and_classifier, list_strides
from fcn.errors import InputError
from fcn.geometry import find_shift
from fcn.weights import find_loaded

_STRIDE = 32
"""Of the features that the classifiers read: pool5 of AlexNet, CaffeNet and VGG."""


class HeatmapModel(nn.Module):
    """A classification network, fully convolutional. It has no dropout: it is not for training.

    Args:
        backbone: Gives pool5.
        classifier: fc6, fc7 and the class scores, as convolutions.
    """

    def __init__(self, backbone: Backbone, classifier: tuple[nn.Conv2d, ...]) -> None:
        super().__init__()
        self.backbone = backbone
        self.fc6, self.fc7, self.score = classifier
        tap = backbone.taps[_STRIDE]
        jump, centre = find_shift(self.fc6, tap.channels)
        self.grid = Grid(tap.stride * jump, tap.offset + tap.stride * centre)
        """Where the windows are centred, in pixels."""
        self.num_classes = self.score.out_channels

    def forward(self, images: Tensor) -> Tensor:
        """Return class scores, (N, num_classes, h, w), of images (N, 3, H, W).

        Args:
            images: Normalised by the backbone's `mean` and `std`.

        Raises:
            InputError: The images are smaller than one window.
        """
        features = self.backbone(images)[_STRIDE]
        window = self.fc6.kernel_size[0]
        missing = window - min(features.shape[-2:])
        if missing > 0:
            height, width = images.shape[-2:]
            raise InputError(
                f"an image of {height}x{width} pixels is smaller than the classifier's window; "
                f"enlarge its shorter side by {missing * _STRIDE} pixels"
            )
        hidden = self.fc7(self.fc6(features).relu()).relu()
        scores: Tensor = self.score(hidden)
        return scores


def create_heatmap_model(backbone: str, pretrained: bool | str = False) -> HeatmapModel:
    """Build a heatmap model; reads weights from the disk or the network if asked for them.

    Args:
        backbone: alexnet, caffenet or a VGG of timm.
        pretrained: False, True, a timm tag, or the path of a local file; see `create_backbone`.

    Raises:
        InputError: The name is unknown or has no such classifier, or the weights cannot be loaded.
    """
    list_strides(backbone)  # refuses unknown names, with the nearest known one
    require_classifier(backbone)
    trunk, classifier = create_backbone_and_classifier(
        backbone, pretrained=pretrained, strides=(_STRIDE,)
    )
    loaded = find_loaded(trunk)
    if loaded and loaded.missing:
        raise InputError(
            f"weights {loaded.source!r} have no classifier ({', '.join(loaded.missing)}), so there "
            "is nothing to slide over an image; set model.pretrained to those of a whole network"
        )
    return HeatmapModel(trunk, classifier).eval()


def compute_heatmap(model: HeatmapModel, image: Tensor) -> tuple[Tensor, Tensor]:
    """Slide a classifier over one image.

    Args:
        model: From `create_heatmap_model`.
        image: (3, H, W), scaled to 0..1.

    Returns:
        Class scores before softmax, (C, h, w); and the centre of each window as (y, x) in pixels,
        (h, w, 2), float64, where the centre of the first pixel is 0.

    Raises:
        InputError: The image is smaller than one window.
    """
    mean, std = (
        torch.tensor(values, dtype=image.dtype, device=image.device)[:, None, None]
        for values in (model.backbone.mean, model.backbone.std)
    )
    with torch.no_grad():
        scores = model(((image - mean) / std)[None])[0]
    lines = [
        model.grid.offset + model.grid.stride * torch.arange(cells, dtype=torch.float64)
        for cells in scores.shape[-2:]
    ]
    return scores, torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1)
