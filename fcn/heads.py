"""Heads: the deepest features turned into logits on a grid as coarse.

In: features (N, channels, h, w). Out: logits (N, num_classes, h, w), or a little smaller.
A head is built from (channels, num_classes, *, dropout, score_init). Where its cells sit is read
off its windows and paddings, so it may use any. A decoder asks a head for a wider map instead of
classes, and gives the width as `num_classes`.
"""

from collections.abc import Callable, Sequence
from typing import Literal

from torch import Tensor, nn

from fcn.errors import InputError
from fcn.registry import Registry

ScoreInit = Literal["zero", "random", "usual"]

HEADS: Registry[Callable[..., nn.Module]] = Registry("head")
"""name -> module built from (channels, num_classes, *, dropout, score_init).

One with a true attribute `needs_classifier` is also given `classifier`, the backbone's fully
connected layers as convolutions, and `padded`, false where the images are padded instead.
"""


def list_heads() -> list[str]:
    """Return the names of all heads."""
    return list(HEADS)


class Score(nn.Conv2d):
    """The 1x1 convolution that scores the classes; its type tells it from other layers."""


def create_score(channels: int, num_classes: int, score_init: ScoreInit) -> nn.Conv2d:
    """Return the 1x1 convolution that scores the classes, or gives a decoder's map.

    Args:
        channels: Of the features.
        num_classes: Of the logits.
        score_init: "zero" as in the paper, where random was neither better nor faster, or "random":
            weights of a normal distribution with deviation 0.01. Biases are 0 either way.
            "usual", torch's own start, is for maps that are not yet logits.

    Raises:
        InputError: `score_init` is none of them.

    Reference: Long et al., 2015, section 4.3, arXiv:1411.4038.
    """
    if score_init not in ("zero", "random", "usual"):
        raise InputError(f"score_init is {score_init!r}; it may be 'zero' or 'random'")
    if score_init == "usual":
        return nn.Conv2d(channels, num_classes, kernel_size=1)
    score = Score(channels, num_classes, kernel_size=1)
    nn.init.zeros_(score.bias)  # type: ignore[arg-type]
    if score_init == "zero":
        nn.init.zeros_(score.weight)
    else:
        nn.init.normal_(score.weight, std=0.01)
    return score


@HEADS.register("linear")
def create_linear(
    channels: int, num_classes: int, *, dropout: float, score_init: ScoreInit
) -> nn.Module:
    """Dropout, then a 1x1 convolution: the features scored as they are."""
    return nn.Sequential(nn.Dropout(dropout), create_score(channels, num_classes, score_init))


@HEADS.register("convolutionalized")
class ConvolutionalizedHead(nn.Module):
    """fc6 and fc7 of the backbone's classifier as convolutions, then new scores, as in the paper.

    Args:
        channels: Of the features.
        num_classes: Of the logits.
        dropout: After fc6 and after fc7; the reference has 0.5.
        score_init: Of the scores.
        classifier: fc6, fc7 and the layer of the old scores, which is left out.
        padded: Pad the features with zeros so that the map keeps their size; else it is smaller by
            the window of fc6 less one.
    """

    needs_classifier = True

    def __init__(
        self,
        channels: int,
        num_classes: int,
        *,
        dropout: float,
        score_init: ScoreInit,
        classifier: Sequence[nn.Conv2d],
        padded: bool = True,
    ) -> None:
        super().__init__()
        self.fc6, self.fc7 = classifier[:2]
        if padded:
            before = (self.fc6.kernel_size[0] - 1) // 2
            after = self.fc6.kernel_size[0] - 1 - before
            # An even window has no middle: its cells sit half a cell further, and are read there.
            self.padding: nn.Module = nn.ZeroPad2d((before, after, before, after))
        else:
            self.padding = nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.score = create_score(self.fc7.out_channels, num_classes, score_init)

    def forward(self, features: Tensor) -> Tensor:
        """Return logits, (N, num_classes, h, w)."""
        hidden = self.dropout(self.fc6(self.padding(features)).relu())
        hidden = self.dropout(self.fc7(hidden).relu())
        logits: Tensor = self.score(hidden)
        return logits
