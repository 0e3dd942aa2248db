"""Preprocessing: what a network sees of an image, by its weights or as Caffe's nets see it.

In: a backbone and the channels of its images. Out: the same backbone, whose `mean` and `std` are
those of the way chosen. Images stay red, green, blue everywhere; a network that wants another order
takes it itself.

Reference: voc_layers.py and solve.py of voc-fcn32s, shelhamer/fcn.berkeleyvision.org.
"""

from collections.abc import Mapping
from typing import Literal

from fcn.backbones.taps import Backbone
from fcn.errors import InputError
from fcn.inputs import RGB, per_channel

Preprocessing = Literal["timm", "caffe"]

CAFFE_MEAN = (122.67892, 116.66877, 104.00699)
"""Red, green, blue, of images in 0..255."""


def require_colours(preprocessing: Preprocessing, inputs: Mapping[str, int]) -> None:
    """Refuse a way that there is not, and Caffe's of images without colours.

    Args:
        preprocessing: The way.
        inputs: Channels of each input by name.

    Raises:
        InputError: It cannot be.
    """
    if preprocessing not in ("timm", "caffe"):
        raise InputError(f"preprocessing is {preprocessing!r}; it may be 'timm' or 'caffe'")
    if preprocessing == "caffe" and inputs.get(RGB) != 3:
        raise InputError(
            f"model.preprocessing caffe turns colours about and takes their means off, and the "
            f"inputs are {', '.join(inputs)}; add {RGB} to data.inputs, or leave it at timm"
        )


def preprocess_as_caffe(backbone: Backbone, inputs: Mapping[str, int]) -> None:
    """Have a backbone see colours as Caffe's nets do: blue first, 0..255 less the means, in place.

    Args:
        backbone: Built for all inputs.
        inputs: Channels of each input by name, in their order; one is `RGB`.
    """
    backbone.mean = per_channel([value / 255 for value in CAFFE_MEAN], backbone.in_chans)
    backbone.std = per_channel([1 / 255] * 3, backbone.in_chans)
    order = list(range(backbone.in_chans))
    first = sum(list(inputs.values())[: list(inputs).index(RGB)])
    order[first : first + 3] = order[first : first + 3][::-1]
    backbone.order = order
