"""AlexNet for timm: torchvision's network and weights under timm's conventions.

In: images (N, in_chans, H, W), at least 63 x 63. Out: class logits, or features by stride.
This is the one-tower network of the second paper, not the CaffeNet of FCN-AlexNet.
Its pools are not padded: 224 pixels give 55, 27, 13 and 6 cells, never H / stride.

Reference: Krizhevsky, 2014, One weird trick for parallelizing CNNs, arXiv:1404.5997.
"""

from typing import Any

import timm
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torchvision import models

default_cfgs = generate_default_cfgs(
    {
        "alexnet.tv_in1k": {
            "url": models.AlexNet_Weights.IMAGENET1K_V1.url,
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (6, 6),
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "mean": (0.485, 0.456, 0.406),
            "std": (0.229, 0.224, 0.225),
            "first_conv": "features.0",
            "classifier": "classifier.6",
        }
    }
)


class ClassifierOfThree(nn.Module):
    """timm's handles on a network of `features`, `avgpool` and a `classifier` of fc6, fc7, fc8."""

    features: nn.Sequential
    avgpool: nn.Module
    classifier: nn.Sequential

    def get_classifier(self) -> nn.Module:
        """Return the layer that scores the classes."""
        return self.classifier[6]

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the scoring layer; 0 classes puts an identity in its place."""
        self.num_classes = num_classes
        self.classifier[6] = nn.Linear(4096, num_classes) if num_classes else nn.Identity()

    def forward_features(self, images: Tensor) -> Tensor:
        """Return pool5, (N, 256, h, w)."""
        features: Tensor = self.features(images)
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Return class logits (N, num_classes), or fc7 (N, 4096) if `pre_logits`."""
        hidden = self.avgpool(features).flatten(1)
        logits: Tensor = (self.classifier[:6] if pre_logits else self.classifier)(hidden)
        return logits

    def forward(self, images: Tensor) -> Tensor:
        """Return class logits, (N, num_classes)."""
        return self.forward_head(self.forward_features(images))


class AlexNet(ClassifierOfThree, models.AlexNet):
    """torchvision's AlexNet with timm's handles; the parameter names are torchvision's.

    Args:
        num_classes: Classes of the last layer; 0 leaves it out and gives the 4096 features of fc7.
        in_chans: Channels of the images.
        drop_rate: Dropout before fc6 and before fc7.
    """

    def __init__(
        self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.5, **_: Any
    ) -> None:
        super().__init__(num_classes=max(num_classes, 1), dropout=drop_rate)
        if in_chans != 3:
            self.features[0] = nn.Conv2d(in_chans, 64, kernel_size=11, stride=4, padding=2)
        self.num_features = 256
        self.head_hidden_size = 4096
        # The last tap of each stride is its deepest map: relu1, relu2, relu5, pool5.
        self.feature_info = [
            {"num_chs": 64, "reduction": 4, "module": "features.1"},
            {"num_chs": 192, "reduction": 8, "module": "features.4"},
            {"num_chs": 256, "reduction": 16, "module": "features.11"},
            {"num_chs": 256, "reduction": 32, "module": "features.12"},
        ]
        self.num_classes = num_classes
        if num_classes == 0:
            self.reset_classifier(0)


def alexnet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build AlexNet; all of timm's arguments are understood."""
    net: nn.Module = build_model_with_cfg(
        AlexNet,
        "alexnet",
        pretrained,
        feature_cfg={"flatten_sequential": True, "out_indices": (0, 1, 2, 3)},
        **kwargs,
    )
    return net


if not timm.is_model("alexnet"):  # registering would replace timm's own, should it ever have one
    register_model(alexnet)
