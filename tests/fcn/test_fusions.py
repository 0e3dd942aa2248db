"""Fusions: what each makes of two maps, and where the learned ones start."""

import pytest
import torch

from fcn import list_fusions
from fcn.fusions import FUSIONS


@pytest.mark.parametrize("name", sorted(set(list_fusions()) - {"max"}))
def test_a_finer_map_of_zeros_changes_nothing_at_the_start(name):
    coarser = torch.randn(2, 3, 4, 5)
    assert torch.equal(FUSIONS[name](3)(coarser, torch.zeros_like(coarser)), coarser)


def test_values_known_by_hand():
    coarser, finer = torch.full((1, 1, 1, 1), 3.0), torch.full((1, 1, 1, 1), 4.0)
    results = {name: FUSIONS[name](1)(coarser, finer).item() for name in list_fusions()}
    assert results == {"sum": 7, "max": 4, "concat": 7, "gate": 5, "weighted": 7}


def test_a_gate_opens_and_closes_per_cell():
    fusion = FUSIONS["gate"](1)
    with torch.no_grad():
        fusion.gate.weight.copy_(torch.tensor([100.0, 0.0])[None, :, None, None])
    coarser, finer = torch.tensor([[[[5.0, -5.0]]]]), torch.tensor([[[[1.0, 1.0]]]])
    torch.testing.assert_close(fusion(coarser, finer), torch.tensor([[[[6.0, -5.0]]]]))


def test_a_weight_is_one_number_per_skip():
    fusion = FUSIONS["weighted"](3)
    assert [p.numel() for p in fusion.parameters()] == [1]
    with torch.no_grad():
        fusion.weight.fill_(-2)
    one = torch.ones(1, 3, 2, 2)
    assert torch.equal(fusion(one, one), -one)


def test_concat_mixes_classes():
    fusion = FUSIONS["concat"](2)
    with torch.no_grad():
        fusion.mix.weight.zero_()
        fusion.mix.weight[0, 3] = 2  # class 0 from the finer map's class 1
    coarser, finer = torch.randn(1, 2, 2, 2), torch.randn(1, 2, 2, 2)
    result = fusion(coarser, finer)
    torch.testing.assert_close(result[:, 0], 2 * finer[:, 1])
    assert not result[:, 1].any()
