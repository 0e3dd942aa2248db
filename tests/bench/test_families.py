"""Every family of timm as an FCN, forward and back: none crashes, and those that train are many."""

import pytest
import timm

from bench.speed import families
from bench.speed.families import SMALL, FamilyRow, list_families, to_markdown, try_family

FAMILIES = list_families()
REFUSED = {"gemma4_vit"}
SMALLER = {"sequencer": (97, 131)}
"""Without arithmetic, torch goes through an LSTM cell by cell, which takes minutes."""


def test_every_family_has_one_network():
    assert len(FAMILIES) >= 98
    assert set(FAMILIES.values()) <= set(timm.list_models())
    # A name that timm no longer has would leave its family to a network that may be huge.
    assert set(SMALL.split()) == set(FAMILIES.values())


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_a_family_trains_or_is_refused_in_a_sentence(monkeypatch, family):
    monkeypatch.setattr(families, "SIZE", SMALLER.get(family, families.SIZE))
    row = try_family(family, FAMILIES[family])
    if family in REFUSED:
        assert row.refusal.startswith(f"backbone '{row.backbone}' ")
        assert "\n" not in row.refusal
    else:
        assert row.refusal == ""


def test_the_page_counts_its_rows():
    rows = [
        FamilyRow("resnet", "resnet10t", "whole", (4, 32), ("fcn32s",), 4_900_000),
        FamilyRow("odd", "odd_net", refusal="backbone 'odd_net' cannot"),
    ]
    page = "\n".join(to_markdown(rows))
    assert "1 of 2 families go forward and back, and so train; 1 refused." in page
    assert "| resnet | resnet10t | whole | 4, 32 | fcn32s | 4.9 |" in page
    assert "- **odd**: backbone 'odd_net' cannot" in page
