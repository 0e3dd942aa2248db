"""CaffeNet for timm: the network that the FCN paper calls AlexNet.

In: images (N, in_chans, H, W), at least 51 x 51. Out: class logits, or features by stride.
Two groups in conv2, conv4 and conv5, as on two cards in 2012; normalisation follows the pools,
where the network of the first paper has it before them. Pools round up, as Caffe's do.
No weights are published in a format that is read without pickle or Caffe.

Reference: Krizhevsky, Sutskever and Hinton, 2012, ImageNet classification with deep convolutional
neural networks; bvlc_reference_caffenet of BVLC/caffe.
"""

from typing import Any

import timm
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import nn

from fcn.backbones.alexnet import ClassifierOfThree
from fcn.backbones.normalisation import LocalResponseNormalisation

default_cfgs = generate_default_cfgs(
    {
        "caffenet.untrained": {
            "url": "",
            "num_classes": 1000,
            "input_size": (3, 227, 227),
            "pool_size": (6, 6),
            "mean": IMAGENET_DEFAULT_MEAN,
            "std": IMAGENET_DEFAULT_STD,
            "first_conv": "features.0",
            "classifier": "classifier.6",
        }
    }
)


class CaffeNet(ClassifierOfThree):
    """Five convolutions, three fully connected layers.

    Args:
        num_classes: Classes of the last layer; 0 leaves it out and gives the 4096 features of fc7.
        in_chans: Channels of the images.
        drop_rate: Dropout after fc6 and after fc7.
    """

    def __init__(
        self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.5, **_: Any
    ) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_chans, 96, kernel_size=11, stride=4),
            nn.ReLU(),
            _pool(),
            LocalResponseNormalisation(),
            nn.Conv2d(96, 256, kernel_size=5, padding=2, groups=2),
            nn.ReLU(),
            _pool(),
            LocalResponseNormalisation(),
            nn.Conv2d(256, 384, kernel_size=3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 384, kernel_size=3, padding=1, groups=2),
            nn.ReLU(),
            nn.Conv2d(384, 256, kernel_size=3, padding=1, groups=2),
            nn.ReLU(),
            _pool(),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))  # nothing at 227 x 227
        self.classifier = nn.Sequential(
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(drop_rate),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(drop_rate),
            nn.Identity(),
        )
        self.num_features = 256
        self.head_hidden_size = 4096
        # The last tap of each stride is its deepest map: relu1, relu2, relu5, pool5.
        self.feature_info = [
            {"num_chs": 96, "reduction": 4, "module": "features.1"},
            {"num_chs": 256, "reduction": 8, "module": "features.5"},
            {"num_chs": 256, "reduction": 16, "module": "features.13"},
            {"num_chs": 256, "reduction": 32, "module": "features.14"},
        ]
        self.reset_classifier(num_classes)


def caffenet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build CaffeNet; all of timm's arguments are understood."""
    net: nn.Module = build_model_with_cfg(
        CaffeNet,
        "caffenet",
        pretrained,
        feature_cfg={"flatten_sequential": True, "out_indices": (0, 1, 2, 3)},
        **kwargs,
    )
    return net


def _pool() -> nn.MaxPool2d:
    return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)


if not timm.is_model("caffenet"):  # registering would replace timm's own, should it ever have one
    register_model(caffenet)
