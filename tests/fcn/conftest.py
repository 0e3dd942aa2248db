import pytest
import torch
from torch import nn


@pytest.fixture(autouse=True)
def _one_thread():
    """Same bits whatever the machine; and the cores are shared."""
    torch.set_num_threads(1)
    torch.manual_seed(0)


@pytest.fixture
def no_start(monkeypatch):
    """Leave fully connected layers at zero: drawing a whole fc6 takes longer than most tests."""
    monkeypatch.setattr(nn.Linear, "reset_parameters", _clear)


def _clear(layer):
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
