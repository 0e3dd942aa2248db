"""GoogLeNet as first published: 5x5 branches, local response normalisation, no batch norm.

In: images (N, in_chans, H, W). Out: class logits, or features by stride.
The two auxiliary classifiers are not built, for FCN-GoogLeNet uses the final loss alone; features
end before the average pool. Pools round up, as Caffe's do. No weights are published for torch;
torchvision's network of another form, with weights, is `googlenet`.

Reference: Szegedy et al., 2015, Going deeper with convolutions, table 1, arXiv:1409.4842.
"""

from typing import Any

import timm
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn

from fcn.backbones.googlenet import PooledClassifier
from fcn.backbones.normalisation import LocalResponseNormalisation

default_cfgs = generate_default_cfgs(
    {
        "googlenet_original.untrained": {
            "url": "",
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
            "first_conv": "conv1.0",
            "classifier": "fc",
        }
    }
)

# Channels in; then 1x1; 3x3 reduced, 3x3; 5x5 reduced, 5x5; pooled: table 1 of the paper.
_INCEPTIONS = {
    "inception3a": (192, 64, 96, 128, 16, 32, 32),
    "inception3b": (256, 128, 128, 192, 32, 96, 64),
    "pool3": None,
    "inception4a": (480, 192, 96, 208, 16, 48, 64),
    "inception4b": (512, 160, 112, 224, 24, 64, 64),
    "inception4c": (512, 128, 128, 256, 24, 64, 64),
    "inception4d": (512, 112, 144, 288, 32, 64, 64),
    "inception4e": (528, 256, 160, 320, 32, 128, 128),
    "pool4": None,
    "inception5a": (832, 256, 160, 320, 32, 128, 128),
    "inception5b": (832, 384, 192, 384, 48, 128, 128),
}


class Inception(nn.Module):
    """Four branches side by side: windows of 1, 3 and 5, and a pool; channels are stacked."""

    def __init__(
        self,
        channels: int,
        one: int,
        reduce3: int,
        three: int,
        reduce5: int,
        five: int,
        pooled: int,
    ) -> None:
        super().__init__()
        self.branch1 = _convolution(channels, one, 1)
        self.branch3 = nn.Sequential(
            _convolution(channels, reduce3, 1), _convolution(reduce3, three, 3)
        )
        self.branch5 = nn.Sequential(
            _convolution(channels, reduce5, 1), _convolution(reduce5, five, 5)
        )
        self.branch_pool = nn.Sequential(
            nn.MaxPool2d(kernel_size=3, stride=1, padding=1), _convolution(channels, pooled, 1)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Return (N, one + three + five + pooled, h, w)."""
        branches = (self.branch1, self.branch3, self.branch5, self.branch_pool)
        return torch.cat([branch(features) for branch in branches], dim=1)


class GoogLeNetOriginal(PooledClassifier):
    """GoogLeNet of 2014.

    Args:
        num_classes: Classes of the last layer; 0 leaves it out.
        in_chans: Channels of the images.
        drop_rate: Dropout before the last layer.
    """

    def __init__(
        self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.4, **_: Any
    ) -> None:
        super().__init__()
        self.conv1 = _convolution(in_chans, 64, 7, stride=2)
        self.pool1 = _pool()
        self.norm1 = LocalResponseNormalisation()
        self.conv2 = _convolution(64, 64, 1)
        self.conv3 = _convolution(64, 192, 3)
        self.norm2 = LocalResponseNormalisation()
        self.pool2 = _pool()
        for name, widths in _INCEPTIONS.items():
            self.add_module(name, Inception(*widths) if widths else _pool())
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(drop_rate)
        self.num_features = self.head_hidden_size = 1024
        self.feature_info = [
            {"num_chs": 64, "reduction": 2, "module": "conv1"},
            {"num_chs": 192, "reduction": 4, "module": "norm2"},
            {"num_chs": 480, "reduction": 8, "module": "inception3b"},
            {"num_chs": 832, "reduction": 16, "module": "inception4e"},
            {"num_chs": 1024, "reduction": 32, "module": "inception5b"},
        ]
        for module in self.modules():  # without batch norm, torch's own start fades on the way
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
        self.reset_classifier(num_classes)


def googlenet_original(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build the original GoogLeNet; all of timm's arguments are understood."""
    net: nn.Module = build_model_with_cfg(
        GoogLeNetOriginal, "googlenet_original", pretrained, **kwargs
    )
    return net


def _convolution(channels: int, width: int, size: int, stride: int = 1) -> nn.Sequential:
    window = nn.Conv2d(channels, width, kernel_size=size, stride=stride, padding=size // 2)
    return nn.Sequential(window, nn.ReLU())


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)


if not timm.is_model("googlenet_original"):  # see the other networks of this folder
    register_model(googlenet_original)
