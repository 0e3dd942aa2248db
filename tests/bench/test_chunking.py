"""Images taken from coarse scores to pixels a few at a time."""

import pytest
import torch
from torch import nn

from bench.run.chunking import CHUNK_MIB, chunks
from bench.run.evaluate import predict_targets
from fcn.external import External
from fcn.model import create_model


def test_a_slice_holds_as_many_images_as_fit():
    def parts(*shape):
        return [range(shape[0])[part] for part in chunks(torch.empty(shape), (512, 512))]

    assert parts(5, 4, 16, 16) == [range(2), range(2, 4), range(4, 5)]  # 4 MiB an image, 8 fit
    assert parts(2, 150, 16, 16) == [range(1), range(1, 2)]


def create_fcn(**settings):
    return create_model("test_resnet", num_classes=5, score_init="random", **settings)


def create_external():
    return External(nn.Conv2d(3, 5, 3, stride=2), num_classes=5)


@pytest.mark.parametrize("size", [(32, 48), (50, 40)])
@pytest.mark.parametrize("create", [create_fcn, create_external])
def test_predictions_by_slices_are_those_of_the_whole_batch(create, size, monkeypatch):
    monkeypatch.setitem(CHUNK_MIB, "cpu", 0)
    torch.manual_seed(0)
    model = create().eval()
    images = torch.randn(3, 3, 32, 48)
    with torch.inference_mode():
        pred = predict_targets(model, images, size, [5])[0]
        assert torch.equal(pred, model(images, size=size).argmax(1))
