import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    """Same bits whatever the machine; and the cores are shared."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
