"""Any variant as the baseline: what the page embeds is what is found, and what its tables say."""

import dataclasses
import json

import pytest

from reports.figures.curves import plot_curves
from reports.results.frame import curves_frame, eval_frame
from reports.stats.finding import NOT_SHOWN, SHOWN
from reports.study import read_study
from reports.style import between, end_of_points, points
from reports.tables.baselines import baselines_json, list_pairs
from reports.tables.comparisons import comparison_table


@pytest.fixture(scope="module")
def study(plan, store):
    return read_study(plan, store)


def test_every_pair_is_there_once_with_what_is_found(study):
    names = study.plan.variants
    pairs = list_pairs(names, study.intervals.findings, study.comparability)
    apart = tuple(sorted(map(names.index, ("googlenet-fcn16s", "resnet50-none"))))  # no common seed
    assert len(pairs) == 12 * 11 // 2 - 1
    assert {pair[:2] for pair in pairs} == {(i, j) for j in range(12) for i in range(j)} - {apart}
    for i, j, diff, low, high, word, *_ in pairs:
        found = study.intervals.findings.compare(names[i], names[j])
        assert (f"{diff / 10:+.1f}" if diff else "0.0") == points(found.diff).replace("−", "-")
        for shown, value in ((low, found.low), (high, found.high)):
            if shown is None:
                assert value != value
            else:
                text = f"{shown / 10:+.1f}" if shown else "0.0"
                assert text == end_of_points(value).replace("−", "-")
        assert word == found.word
    assert {SHOWN, NOT_SHOWN} <= {pair[5] for pair in pairs}


def test_an_end_beside_zero_keeps_its_side(study):
    """A difference that is shown never has an interval that reads as if it began at zero."""
    assert between(0.0003, 0.02, points) == "[+0.0, +2.0]"
    assert between(-0.02, -0.0003, points) == "[−2.0, −0.0]"
    assert between(0.0, 0.0, points) == "[0.0, 0.0]"
    names, findings = study.plan.variants, study.intervals.findings
    key, found = next(iter(findings.found.items()))
    moved = {key: found._replace(diff=0.01, low=0.0003, high=0.02, word=SHOWN)}
    own = dataclasses.replace(findings, found=findings.found | moved)
    known = dict(key)
    places = sorted(names.index(name) for name in known)
    (pair,) = [
        one for one in list_pairs(names, own, study.comparability) if list(one[:2]) == places
    ]
    turned = known[names[places[1]]] < 0
    assert sorted(map(abs, pair[3:5])) == [0.1, 20]
    assert (pair[3] == 0.1) != turned


def test_it_takes_a_few_kilobytes(study):
    names = study.plan.variants
    pairs = list_pairs(names, study.intervals.findings, study.comparability)
    text = baselines_json(names, study.names, study.plan.baseline, pairs)
    assert len(text) < 6000
    content = json.loads(text)
    assert content["variants"][content["baseline"]][0] == "alexnet-none"
    assert baselines_json(names, {}, None, []) == json.dumps(
        {"variants": [[name, name] for name in names], "baseline": 0, "pairs": []},
        separators=(",", ":"),
    )


def test_another_baseline_says_what_a_report_with_it_says(plan, store, study):
    """The page's numbers for a baseline are those of a report whose plan has that baseline."""
    names = plan.variants
    pairs = list_pairs(names, study.intervals.findings, study.comparability)
    other = read_study(dataclasses.replace(plan, baseline="vgg16-fcn8s"), store)
    table = comparison_table(other.summary, "vgg16-fcn8s", other.comparability).cells
    said = {row.iloc[0].split(" ‡")[0]: row.iloc[1] for _, row in table.iterrows()}
    at = names.index("vgg16-fcn8s")
    for i, j, diff, *_ in pairs:
        if at in (i, j):
            name, sign = (names[i], -1) if j == at else (names[j], 1)
            assert said[name].removeprefix("≈ ").split(" ")[0] == points(sign * diff / 1000)


def test_variants_that_cannot_be_compared_are_no_pair(study):
    alone = {"alexnet-none": study.intervals.arms["alexnet-none"]}
    findings = dataclasses.replace(study.intervals.findings, arms=alone)
    assert list_pairs(study.plan.variants, findings, study.comparability) == []


def texts_of(figure):
    return [text.get_text() for ax in figure.axes for text in ax.texts]


def test_lines_that_end_together_are_named_at_their_ends(plan, store, study):
    frames = curves_frame(plan, store), eval_frame(plan, store)
    few = study.summary[study.summary["variant"].str.startswith("vgg16")]
    few_frames = [frame[frame["variant"].isin(few["variant"])] for frame in frames]
    figure = plot_curves(*few_frames, few, grouped=False)
    assert sorted(texts_of(figure)) == sorted(2 * list(few["variant"]))  # of loss and of mIoU
    assert [ax.get_legend() for ax in figure.axes] == [None, None]
    cut = few_frames[0]
    ends_early = (cut["variant"] == "vgg16-none") & (cut["step"] > 200)
    figure = plot_curves(cut[~ends_early], few_frames[1].iloc[:0], few, grouped=False)
    assert texts_of(figure) == []
    assert figure.axes[0].get_legend() is not None


def test_marks_know_their_variant(plan, store, study):
    frames = curves_frame(plan, store), eval_frame(plan, store)
    figure = plot_curves(*frames, study.summary, grouped=True)
    figure.draw_without_rendering()
    assert set(figure.variants()) == set(plan.variants)
    assert len(figure.variants()) == len(figure.marks())
    for (_, _, text), variant in zip(figure.marks(), figure.variants(), strict=True):
        assert variant.endswith(text.split(":")[0])  # the panel says the backbone
