"""The profile command: one quantity a row, the paper beside it where it has that network."""

import json
import sys

import pytest

from bench.cli.app import app
from bench.cli.command import run_app
from bench.cli.profiles import parse_size, to_rows
from fcn.errors import InputError
from fcn.profile import profile


def rows_of(profiles):
    return {row["quantity"]: row for row in to_rows(profiles)}


def test_the_papers_numbers_stand_beside_ours():
    vgg, resnet = (
        profile("vgg16", head="convolutionalized", see=False),
        profile("resnet10t", size=(64, 64), see=False),
    )
    rows = rows_of([vgg, resnet])
    assert rows["parameters"]["vgg16"] == "134.35 M (paper: 134 M)"
    assert rows["convolutions in a row"]["vgg16"] == "16 (paper: 16)"
    assert rows["receptive field, rule, px"]["vgg16"] == "404 (paper: 404)"
    assert rows["coarsest stride"] == {
        "quantity": "coarsest stride", "vgg16": "32 (paper: 32)", "resnet10t": "32",
    }  # fmt: skip
    assert rows["forward, ms (quartiles)"]["vgg16"] is None  # not timed


def test_a_network_may_be_profiled_twice():
    one = profile("resnet10t", size=(64, 64), see=False)
    assert list(to_rows([one, one])[0]) == ["quantity", "0 resnet10t", "1 resnet10t"]


@pytest.mark.parametrize(("text", "size"), [("500x375", (500, 375)), ("64", (64, 64))])
def test_sizes_are_height_and_width(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "axb", "1x2x3", "0x5", "-1"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InputError, match="HEIGHTxWIDTH"):
        parse_size(text)


def run(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["fcn-bench", "profile", *words])
    with pytest.raises(SystemExit) as ended:
        run_app(app)
    return ended.value.code or 0


def test_the_command_prints_values_with_units_in_their_names(monkeypatch, capsys):
    words = ("resnet10t", "--size", "64x96", "--device", "cpu", "--classes", "3")
    assert run(monkeypatch, *words, "--json") == 0
    (values,) = json.loads(capsys.readouterr().out)
    assert values["size"] == [64, 96]
    assert values["receptive_field"] == values["empirical_receptive_field"] == 199
    assert values["latency"]["median_ms"] > 0
    assert values["latency"]["cuda_peak_bytes"] is None
    assert values["counts"]["num_macs"] > 1e7
    assert run(monkeypatch, *words) == 0
    said = capsys.readouterr().out
    assert "multiply-adds" in said
    assert "memory, live tensors, MiB" in said


def test_the_command_refuses_in_one_paragraph(monkeypatch, capsys):
    assert run(monkeypatch, "resnet19") == 65
    assert "unknown backbone 'resnet19'" in capsys.readouterr().err
