"""GoogLeNet for timm: torchvision's network and weights under timm's conventions.

In: images (N, in_chans, H, W). Out: class logits, or features by stride.
Batch normalisation is added, and the 5x5 branch is 3x3 (torchvision's known bug), as trained.
torchvision's weights expect images normalised with 0.5 / 0.5, which it does inside the network;
here mean and std say so, because the feature wrapper drops what is done outside layers.

Reference: Szegedy et al., 2015, Going deeper with convolutions, arXiv:1409.4842.
"""

from typing import Any

import timm
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn
from torchvision import models
from torchvision.models.googlenet import BasicConv2d

default_cfgs = generate_default_cfgs(
    {
        "googlenet.tv_in1k": {
            "url": models.GoogLeNet_Weights.IMAGENET1K_V1.url,
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "pool_size": (7, 7),
            "crop_pct": 0.875,
            "interpolation": "bilinear",
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
            "first_conv": "conv1.conv",
            "classifier": "fc",
        }
    }
)


class PooledClassifier(nn.Module):
    """timm's handles on layers in running order that end in `avgpool`, `dropout` and `fc`."""

    avgpool: nn.Module
    dropout: nn.Module
    fc: nn.Module

    def get_classifier(self) -> nn.Module:
        """Return the layer that scores the classes."""
        return self.fc

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Replace the scoring layer; 0 classes puts an identity in its place."""
        self.num_classes = num_classes
        self.fc = nn.Linear(1024, num_classes) if num_classes else nn.Identity()

    def forward_features(self, images: Tensor) -> Tensor:
        """Return inception5b, (N, 1024, h, w)."""
        features = images
        for name, layer in self.named_children():
            if name == "avgpool":  # layers are registered in running order
                break
            features = layer(features)
        return features

    def forward_head(self, features: Tensor, pre_logits: bool = False) -> Tensor:
        """Return class logits (N, num_classes), or pooled features (N, 1024) if `pre_logits`."""
        pooled: Tensor = self.dropout(self.avgpool(features).flatten(1))
        return pooled if pre_logits else self.fc(pooled)

    def forward(self, images: Tensor) -> Tensor:
        """Return class logits, (N, num_classes)."""
        return self.forward_head(self.forward_features(images))


class GoogLeNet(PooledClassifier, models.GoogLeNet):
    """torchvision's GoogLeNet with timm's handles; the parameter names are torchvision's.

    Args:
        num_classes: Classes of the last layer; 0 leaves it out.
        in_chans: Channels of the images.
        drop_rate: Dropout before the last layer.
    """

    def __init__(
        self, num_classes: int = 1000, in_chans: int = 3, drop_rate: float = 0.2, **_: Any
    ) -> None:
        # init_weights=True would draw from a truncated normal through scipy, which takes seconds.
        super().__init__(
            num_classes=max(num_classes, 1),
            aux_logits=False,
            init_weights=False,
            dropout=drop_rate,
        )
        if in_chans != 3:
            self.conv1 = BasicConv2d(in_chans, 64, kernel_size=7, stride=2, padding=3)
        self.num_features = self.head_hidden_size = 1024
        self.feature_info = [
            {"num_chs": 64, "reduction": 2, "module": "conv1"},
            {"num_chs": 192, "reduction": 4, "module": "conv3"},
            {"num_chs": 480, "reduction": 8, "module": "inception3b"},
            {"num_chs": 832, "reduction": 16, "module": "inception4e"},
            {"num_chs": 1024, "reduction": 32, "module": "inception5b"},
        ]
        self.num_classes = num_classes
        if num_classes == 0:
            self.reset_classifier(0)


def googlenet(pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build GoogLeNet; all of timm's arguments are understood."""
    net: nn.Module = build_model_with_cfg(
        GoogLeNet, "googlenet", pretrained, pretrained_filter_fn=_without_auxiliary_heads, **kwargs
    )
    return net


def _without_auxiliary_heads(state_dict: dict[str, Tensor], _: nn.Module) -> dict[str, Tensor]:
    return {key: value for key, value in state_dict.items() if not key.startswith("aux")}


if not timm.is_model("googlenet"):  # registering would replace timm's own, should it ever have one
    register_model(googlenet)
