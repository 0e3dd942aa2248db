"""An external net: any network from images to logits, as `model.external: external_net:create`.

It stands in the place of an FCN and goes through the same training, evaluation and report. The
part before the colon is a module, here this file; the part behind it is called with `num_classes`.

A question that uses it, in question.yaml:

```yaml
question: Does a small encoder-decoder do as well as FCN-8s?
common:
  data: {dataset: shapes, options: {size: 64}}
  train: {steps: 300, batch_size: 8, optimizer: adamw, lr: 1e-3}
variants:
  fcn8s: {model.backbone: resnet10t, model.skip: fcn8s, model.score_init: random}
  encoder_decoder: {model.external: "external_net:create"}
baseline: fcn8s
```

```console
$ fcn-bench run question.yaml --plugin docs/examples/external_net.py
```
"""

from torch import Tensor, nn

WIDTH = 32


def create(num_classes: int) -> nn.Module:
    """Return the network; its random weights are those of the run's seed."""
    return EncoderDecoder(num_classes)


class EncoderDecoder(nn.Module):
    """Down to stride 4 and back up: (N, 3, H, W) to logits (N, num_classes, H', W').

    H' and W' may differ from H and W: logits are resized to the pixels of the mask.
    """

    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    """Of each channel of images in 0..1; without them, those of ImageNet are taken."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, WIDTH, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(WIDTH, 2 * WIDTH, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(2 * WIDTH, WIDTH, kernel_size=4, stride=2, padding=1),
            nn.ReLU(),
            nn.ConvTranspose2d(WIDTH, num_classes, kernel_size=4, stride=2, padding=1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return logits."""
        logits: Tensor = self.decoder(self.encoder(images))
        return logits
