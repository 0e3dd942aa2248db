"""Everything a store holds may be anybody's: whatever lies there, commands name it and go on."""

import json
import random
import shutil
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import pytest
from damages import damage_one, files_of
from PIL import Image
from pydantic import ValidationError

from ablations.cli import main
from bench.settings.yaml_file import dump_yaml, parse_stored
from bench.store.records import RESULT, Failure, Reason, read_rows
from bench.store.runs import Store
from fcn.errors import InputError

EARLIER = Path(__file__).parent / "store_of_0_1"
"""Two finished runs over drawn images, as version 0.1 left them, without their weights."""

SCORED = {"9d60921451b0865d": "fcn32s", "9b720f70341ab0ae": "fcn16s"}


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawn = BytesIO()
    Image.new("RGB", (1, 1)).save(drawn, "PNG")  # figures are set up, and not rendered
    monkeypatch.setattr(
        "reports.figures.illustration.save_figure", lambda figure, svg: {".png": drawn.getvalue()}
    )
    shutil.copytree(EARLIER, tmp_path, dirs_exist_ok=True)
    return tmp_path / "runs"


def cli(*words):
    """Run a command in this process: exit code, and all that it printed."""
    text = StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(text), redirect_stderr(text):
        patch.setattr("sys.argv", ["fcn-bench", *map(str, words)])
        try:
            main()
        except SystemExit as end:
            return end.code or 0, text.getvalue()
    return 0, text.getvalue()


def states(runs):
    code, text = cli("runs", "list", "--runs", runs, "--json")
    assert code == 0
    return {row["id"]: row for row in json.loads(text)}


def test_a_store_of_version_0_1_is_read(runs):
    code, said = cli("report", "old.yaml", "--runs", runs, "--out", "out")
    assert code == 0, said
    table = (runs.parent / "out/runs.csv").read_text().splitlines()
    head = table[0].split(",")
    rows = {row.split(",")[0]: dict(zip(head, row.split(","), strict=True)) for row in table[1:]}
    assert {rows[name]["run_id"]: name for name in rows} == SCORED
    store = Store(runs)
    for run_id, name in SCORED.items():
        confusion = np.array(store.result(run_id).confusion)
        accuracy = np.diag(confusion).sum() / confusion.sum()
        assert float(rows[name]["pixel_acc"]) == pytest.approx(accuracy, abs=1e-12)
        assert len(store.log(run_id).rows) == 4
        assert store.confusions(run_id, "test")[1].sum(0).tolist() == confusion.tolist()
    missing = cli("runs", "verify", "--runs", runs)[1].count("model.safetensors")
    assert missing == 2  # which is all that this copy lacks


def damage_and_look(runs, seed):
    """Damage a store once; whatever it is, nothing ends in a traceback, and the rest is read."""
    damage_one(runs, random.Random(seed))
    listed = [p.relative_to(runs) for p in files_of(runs)]
    for words in (
        ("runs", "list", "--json"),
        ("runs", "verify", "--json"),
        *(("runs", "show", run_id, "--json") for run_id in SCORED),
        ("report", "old.yaml", "--out", "out"),
    ):
        code, said = cli(*words, "--runs", runs)  # anything but SystemExit is a traceback
        assert code in (0, 1, 65), (seed, words, said)
        assert code == 0 or said.strip(), (seed, words)
    compared, said = cli("compare", runs, EARLIER / "runs")
    assert compared in (0, 65), said
    assert [p.relative_to(runs) for p in files_of(runs)] == listed, "a reader changed the store"


@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_store_is_named_and_the_rest_is_read(runs, seed):
    damage_and_look(runs, seed)


@pytest.mark.slow
@pytest.mark.parametrize(
    "block", [0, *(pytest.param(k, marks=pytest.mark.long) for k in range(1, 4))]
)
def test_many_damaged_stores_are_named_and_the_rest_is_read(runs, block):
    for seed in range(100 + 15 * block, 115 + 15 * block):
        shutil.rmtree(runs)
        shutil.copytree(EARLIER / "runs", runs)
        damage_and_look(runs, seed)


RECORDS = {
    "result.json": [b"[1]", b"{}", b"null", b"\xff", b'{"run_id": 3}', b"[" * 100_000],
    "spec.yaml": [
        b"", b"[]", b"format: 1", b"format: 1\nspec: 3", b"\xff", b"a: &a [1]\nb: *a",
        b"[" * 100_000, b"- " * 40_000, b"x: 1\n" * 50_000,
    ],
    "metrics.jsonl": [b"\xff\n", b'{"step": "x"}\n', b"[]\n", bytes(40) + b"\n"],
    "eval/test.npz": [b"", b"PK", b"\x93NUMPY", bytes(1000)],
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_a_run_with_a_damaged_file_is_a_row_with_its_reason(runs, name):
    """One run is damaged; the other is listed, verified and reported as before."""
    bad, good = SCORED
    path = runs / bad[:2] / bad / name
    whole = path.read_bytes()
    before = states(runs)
    for content in RECORDS[name]:
        path.write_bytes(content)
        rows = states(runs)
        assert rows[good] == before[good]
        if name in ("result.json", "spec.yaml"):
            assert rows[bad]["state"] == "unreadable"
            assert name in rows[bad]["reason"]
            assert rows[bad]["miou"] is None
        code, said = cli("runs", "verify", "--runs", runs)
        assert code == 1
        assert bad in said
        if name == "spec.yaml":  # a report takes settings from the spec that it is given
            continue
        code, said = cli("report", "old.yaml", "--runs", runs, "--out", "out")
        assert code == 0, said
        page = (runs.parent / "out/index.html").read_text()
        assert ("damaged" in page) or ("not what the run wrote" in page), content
    path.write_bytes(whole)
    assert states(runs) == before


def test_a_result_of_another_run_is_not_counted(runs):
    """Its id, and the settings that the id stands for, are compared at every read."""
    ours, theirs = SCORED
    path = runs / ours[:2] / ours / "result.json"
    values = json.loads(path.read_text())
    path.write_bytes((runs / theirs[:2] / theirs / "result.json").read_bytes())
    with pytest.raises(InputError, match=f"record of run {theirs}, not of {ours}.*prune {ours}"):
        Store(runs).result(ours)
    values["run"]["spec"]["train"]["lr"] = 0.5
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match=f"describes run .*, not {ours}"):
        Store(runs).result(ours)
    code, said = cli("run", "old.yaml", "--runs", runs, "--out", "out")
    assert code == 1
    assert f"not counted: {path}" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a | {"names": a["names"][:2], "confusions": a["confusions"][:2]}, "2 images"),
        (lambda a: a | {"names": a["names"][[0, 0, 1]]}, "2 images in 3 rows"),
        (lambda a: a | {"confusions": a["confusions"][:, :2, :2]}, "shape"),
        (lambda a: a | {"confusions": a["confusions"] + 1}, "do not add up"),
        (lambda a: a | {"confusions": a["confusions"] * 1.0}, "of type float64"),
        (lambda a: {"names": a["names"]}, "cannot be read"),
    ],
)
def test_counts_are_held_against_the_record(runs, change, said):
    """Also where the record has no checksum of them, as one that was written by hand."""
    run_id, store = next(iter(SCORED)), Store(runs)
    path = runs / run_id[:2] / run_id / "eval/test.npz"
    with np.load(path) as file:
        arrays = dict(file)
    np.savez_compressed(path, **change(arrays))
    with pytest.raises(InputError, match="checksum is another"):
        store.confusions(run_id, "test")
    result = path.parents[1] / "result.json"
    values = json.loads(result.read_text())
    del values["digests"]["eval/test.npz"]
    result.write_text(json.dumps(values))
    with pytest.raises(InputError, match=said):
        store.confusions(run_id, "test")


WORDS_OF_0_1 = [
    *("spec or data", "nonfinite", "memory", "disk", "error", "killed", "hung", "lost"),
    *("stopped", "blocked"),
]


def test_a_failure_is_written_in_the_words_of_0_1_and_read_from_them(tmp_path):
    """A word that no version has written is damage, as is any other change of the file."""
    store, run_id = Store(tmp_path), "0" * 16
    assert {*Reason} - {*WORDS_OF_0_1} == {"unreadable"}
    for word in WORDS_OF_0_1:
        store.record_failure(run_id, Failure(Reason(word), "why", step=3))
        written = store.run_dir(run_id) / "failure.json"
        text = f'{{\n "reason": "{word}",\n "message": "why",\n "step": 3,\n "details": ""\n}}\n'
        assert written.read_text() == text
        assert store.failure(run_id) == Failure(Reason(word), "why", step=3)
    written.write_text(text.replace("blocked", "bored"))
    found = store.failure(run_id)
    assert found.reason is Reason.UNREADABLE
    assert "failure.json is damaged or foreign: reason: " in found.message


NAMES = {"copied": ["head.bias"], "new": [], "unused": ["skips.16.score.bias"]}

WEIGHTS_OF_0_1 = [
    {},
    {"pretrained": True},
    {"pretrained": "a1_in1k", "source": "https://x/y.bin", "sha256": "0" * 64, "num_tensors": 3},
    {"parent": "0" * 16, **NAMES},
    {"parent": "0" * 16, **NAMES, "zeroed": ["skips.16.score.bias"]},
    {"streams": {"rgb": "0" * 16, "depth": "1" * 16}, "rgb": NAMES, "depth": NAMES},
]
DEPTH_OF_0_1 = {
    "name": "depth", "channels": 1, "mean": [0.35], "std": [1], "log_range": [500, 1e4]
}  # fmt: skip


@pytest.fixture
def result_json():
    run_id = next(iter(SCORED))
    return json.loads((EARLIER / f"runs/{run_id[:2]}/{run_id}/result.json").read_text())


@pytest.mark.parametrize("weights", WEIGHTS_OF_0_1)
def test_what_a_result_says_beside_its_scores_is_read_and_written_as_by_0_1(result_json, weights):
    """Each form of it that a version has written comes back with the same bytes."""
    result_json |= {"weights": weights, "inputs": [DEPTH_OF_0_1]}
    text = json.dumps(result_json)
    written = asdict(RESULT.validate_json(text, strict=True))
    later = {key for key, value in written.items() if value is None and key not in result_json}
    costs = {"latency_quartiles_ms", "timed_size", "timed_beside", "step_memory_mib"}
    counts = {"surface", "calibration"}
    assert later == {*costs, *counts, "selected_step", "num_trained"}
    assert json.dumps({k: v for k, v in written.items() if k not in later}) == text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": {"from": "x"}}, "from"),
        ({"weights": {"parent": "0" * 16}}, "weights"),
        ({"weights": WEIGHTS_OF_0_1[-1] | {"streams": {"rgb": "0" * 16}}}, "streams are not those"),
        ({"inputs": [{**DEPTH_OF_0_1, "unit": "mm"}]}, "unit"),
        ({"environment": {"threads": "two"}}, "environment.threads"),
        ({"environment": {"host": "mine"}}, "environment.host"),
    ],
)
def test_a_result_that_says_what_none_says_is_damaged(result_json, change, said):
    with pytest.raises(ValidationError, match=said):
        RESULT.validate_json(json.dumps(result_json | change), strict=True)


def test_a_log_is_read_as_far_as_it_is_one():
    step = b'{"step": 1, "loss": 1.5, "lr": 0.1, "seconds": 2.0}\n'
    watched = b'{"step": 1, "split": "val", "confusion": [[1, 0], [0, 2]]}\n'
    rows, problem = read_rows(step + watched + b'{"ste')
    assert [sorted(row) for row in rows] == [
        ["loss", "lr", "seconds", "step"],
        ["confusion", "split", "step"],
    ]
    assert problem is None
    uneven = b'{"step": 1, "split": "val", "confusion": [[1, 0]]}\n'
    for bad in (b"\xff\n", b'{"step": 2}\n', uneven):
        rows, problem = read_rows(step + bad + step)
        assert len(rows) == 1
        assert problem == "line 2 is no row of a log"


def test_no_yaml_of_a_store_takes_more_than_its_share():
    """Aliases can stand for more than any memory holds, brackets for more than a stack does."""
    values = {"a": [1, 2.5, None, True, "no", "010"], "b": {"c": []}}
    assert parse_stored(dump_yaml(values).encode()) == values
    bomb = b"a: &a [x, x, x, x, x, x, x, x, x]\n" + b"".join(
        b"%c: &%c [%s]\n" % (c + 1, c + 1, b",".join([b"*%c" % c] * 9)) for c in range(97, 110)
    )
    for content in (bomb, b"[" * 90_000, b"- " * 40_000, b"? " * 40_000, b"x" * 200_000):
        with pytest.raises(ValueError, match=r"aliases|nest|many|scan|pars"):
            parse_stored(content)


def test_a_damaged_store_json_is_deleted_as_asked_and_written_anew(runs):
    (runs / "store.json").write_text("{")
    code, said = cli("runs", "list", "--runs", runs)
    assert code == 65
    assert f"{runs}/store.json is damaged or foreign" in said
    assert "; delete it" in said
    (runs / "store.json").unlink()
    assert {row["state"] for row in states(runs).values()} == {"done"}
    Store(runs).begin()
    assert json.loads((runs / "store.json").read_text()) == {"format": 1}
