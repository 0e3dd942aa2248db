"""The command line as a person meets it: whole ways from a spec to a page, and every wrong turn."""

import json
import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from everyday import command_line
from PIL import Image

from bench.data.memory import read_memory

SPEC = """
question: Does a skip help on these images?
common:
  model: {backbone: test_resnet, score_init: random}
  data: {dataset: folder}
  train: {steps: 3, batch_size: 2, crop: [64, 64], optimizer: adamw, lr: 1e-3}
variants:
  coarse: {model.skip: fcn32s}
  fine: {model.skip: fcn16s, train.init_from: coarse}
baseline: coarse
"""


@pytest.fixture
def cli(monkeypatch, capsys):
    """Run a command line in this process, which has torch loaded: cli("run", ..., cwd=folder)."""
    return command_line(monkeypatch, capsys)


@pytest.fixture
def work(tmp_path):
    """A folder of six images of different sizes, and a spec over them."""
    rng = np.random.default_rng(0)
    data = tmp_path / "mine"
    for kind in ("images", "masks"):
        (data / kind).mkdir(parents=True)
    names = [f"p{i}" for i in range(6)]
    for i, name in enumerate(names):
        H, W = 70 + 3 * i, 90 - 5 * i
        Image.fromarray(rng.integers(0, 255, (H, W, 3), dtype=np.uint8)).save(
            data / "images" / f"{name}.jpg"
        )
        mask = np.zeros((H, W), dtype=np.uint8)
        mask[H // 3 :, W // 4 :] = 1
        mask[:5] = 255
        Image.fromarray(mask).save(data / "masks" / f"{name}.png")
    (data / "classes.txt").write_text("sky\nground\n")
    for split, part in (("train", names[:3]), ("val", names[3:4]), ("test", names[4:])):
        (data / f"{split}.txt").write_text("\n".join(part) + "\n")
    (tmp_path / "q.yaml").write_text(SPEC)
    return tmp_path


def test_from_a_spec_to_a_page_and_again(work, cli):
    done = cli("run", "q.yaml", "--data", "mine", cwd=work)
    assert done.returncode == 0, done.stderr
    assert "[2/2] fine seed 0 done" in done.stdout
    page = (work / "out" / "q" / "index.html").read_text()
    assert "Does a skip help on these images?" in page

    again = cli("run", "q.yaml", "--data", "mine", cwd=work)
    assert again.returncode == 0
    first, second, third, *_, last = again.stdout.splitlines()
    assert (
        first
        == "note: coarse ‡ and fine ‡: collapsed: every labelled pixel is called ground (seed 0)."
    )
    assert second.startswith("From fcn32s to fcn16s, mIoU changes by ")
    assert second.endswith("one seed gives no verdict ‡.")
    assert third.startswith("best: ")
    assert last == "report: out/q/index.html"

    for words, said in (
        (("--engine", "slrum"), "unknown engine 'slrum'; did you mean 'slurm'?"),
        (("--engine", "slurm", "--slurm", "tiem=3"), "did you mean 'time'?"),
    ):  # although nothing is left to be made
        ended = cli("run", "q.yaml", "--data", "mine", *words, cwd=work)
        assert (ended.returncode, said in ended.stderr) == (65, True), ended.stderr

    # The report needs neither the images nor torch, and is the same to the byte.
    alone = cli("report", "q.yaml", "--out", "alone", cwd=work)
    assert alone.returncode == 0, alone.stderr
    summary = (work / "out" / "q" / "summary.csv").read_bytes()
    assert (work / "alone" / "summary.csv").read_bytes() == summary

    rows = json.loads(cli("runs", "list", "--json", cwd=work).stdout)
    assert sorted(row["skip"] for row in rows) == ["fcn16s", "fcn32s"]
    assert all(row["state"] == "done" and 0 <= row["miou"] <= 1 for row in rows)
    fine = next(row["id"] for row in rows if row["skip"] == "fcn16s")
    shown = json.loads(cli("runs", "show", fine[:6], "--json", cwd=work).stdout)
    assert shown["spec"]["train"]["init_from"] == "coarse"
    assert shown["parent"] in {row["id"] for row in rows}

    Image.fromarray(np.zeros((65, 101, 3), dtype=np.uint8)).save(work / "odd.png")
    predicted = cli("predict", fine, "odd.png", "--device", "cpu", cwd=work)
    assert predicted.returncode == 0, predicted.stderr
    with Image.open(work / "predictions" / "odd-mask.png") as mask:
        assert mask.size == (101, 65)
        assert set(np.unique(np.asarray(mask))) <= {0, 1}
    with Image.open(work / "predictions" / "odd-overlay.png") as overlay:
        assert overlay.size == (101, 65)


def test_names_that_are_not_utf8_are_kept_by_escaping(work, cli):
    """Of spec, images, store and report: in a folder of a name that is no text."""
    odd = work / os.fsdecode(b"here\xff")
    odd.mkdir()
    (work / "mine").rename(odd / "mine")
    (work / "q.yaml").rename(odd / "q.yaml")
    spec, store = f"{odd.name}/q.yaml", f"{odd.name}/runs"
    best = ("evaluate.eval_every=1", "evaluate.eval_split=val", "train.select=best")
    settings = [word for one in best for word in ("--set", one)]
    words = ("--runs", store, *settings)
    done = cli("run", spec, "--data", f"{odd.name}/mine", *words, "--out", "out", cwd=work)
    assert done.returncode == 0, done.stderr
    ((question, (binding,)),) = read_memory(odd / "runs").questions.items()
    assert question.endswith(r"/here\udcff/q.yaml")
    assert binding.folder.endswith(r"/here\udcff/mine")

    alone = cli("report", spec, *words, "--out", f"{odd.name}/alone", cwd=work)
    assert alone.returncode == 0, alone.stderr
    again = cli("report", "--from", "out", "--out", "again", cwd=work)
    assert again.returncode == 0, again.stderr
    summary = (work / "out" / "summary.csv").read_bytes()
    assert (odd / "alone" / "summary.csv").read_bytes() == summary
    assert (work / "again" / "summary.csv").read_bytes() == summary

    theirs = ("--data", f"{odd.name}/mine", "--dataset", "folder", "--split", "test")
    said = cli("evaluate", f"{odd.name}/mine/masks", *theirs, "--runs", store, cwd=work)
    assert said.returncode == 0, said.stderr


def test_nothing_is_trained_whose_report_would_replace_somebodys(work, cli):
    (work / "paper").mkdir()
    (work / "paper" / "index.html").write_text("mine")
    ended = cli("run", "q.yaml", "--data", "mine", "--out", "paper", cwd=work)
    assert ended.returncode == 65
    assert "paper holds what is not to be replaced: index.html is not" in ended.stderr
    ended = cli("run", "q.yaml", "--data", "mine", "--out", "q.yaml/out", cwd=work)
    assert ended.returncode == 74
    assert "q.yaml is a file" in ended.stderr
    assert not (work / "runs").exists()
    assert (work / "paper" / "index.html").read_text() == "mine"


def test_runs_are_said_to_be_done_whose_report_cannot_be_written(work, cli, monkeypatch):
    import reports.page

    def full(plan, store, out, **_):
        raise OSError(28, "No space left on device", str(out / "index.html"))

    (work / "my runs").mkdir()
    words = ("--data", "mine", "--runs", "my runs", "--set", "train.steps=1", "--set", "seeds=[0]")
    with monkeypatch.context() as patch:
        patch.setattr(reports.page, "write_report", full)
        ended = cli("run", "q.yaml", *words, cwd=work)
    assert ended.returncode == 74
    assert "2 of 2 runs are done and in the store; the report could not" in ended.stdout
    assert "out/q/index.html: No space left on device; make room" in ended.stderr
    assert "Traceback" not in ended.stderr
    (command,) = re.findall("`(fcn-bench report .*?)`", ended.stdout)
    again = cli(*shlex.split(command.replace("DIR", "elsewhere"))[1:], cwd=work)
    assert again.returncode == 0, again.stderr
    runs = (work / "elsewhere" / "runs.csv").read_text()
    assert runs.count("done") == 2


def test_two_specs_of_one_name_are_not_one_report(work, cli):
    for folder in ("exp1", "exp2"):
        (work / folder).mkdir()
        (work / folder / "q.yaml").write_text(SPEC.replace("coarse", f"coarse-{folder}"))
    assert cli("report", "exp1/q.yaml", "--data", "mine", cwd=work).returncode == 0
    before = (work / "out" / "q" / "index.html").read_bytes()
    for command in ("report", "run"):
        ended = cli(command, "exp2/q.yaml", "--data", "mine", cwd=work)
        assert ended.returncode == 65
        assert "that of exp1/q.yaml" in ended.stderr
    assert (work / "out" / "q" / "index.html").read_bytes() == before
    assert json.loads(cli("runs", "list", "--json", cwd=work).stdout) == []
    ended = cli("report", "exp2/q.yaml", "--data", "mine", "--out", "out/q2", cwd=work)
    assert ended.returncode == 0
    assert cli("report", "./exp1/../exp1/q.yaml", "--data", "mine", cwd=work).returncode == 0


def test_one_failure_is_the_failure_of_one(work, cli):
    broken = (
        "  broken: {train.lr: 1e38, train.optimizer: sgd}\n  child: {train.init_from: broken}\n"
    )
    (work / "q.yaml").write_text(SPEC.replace("baseline", broken + "baseline"))
    done = cli("run", "q.yaml", "--data", "mine", "--slots", "2", cwd=work)
    assert done.returncode == 1
    assert "FAILED (nonfinite): the loss is" in done.stdout
    assert "FAILED (blocked)" in done.stdout
    assert "fine seed 0 done" in done.stdout
    page = (work / "out" / "q" / "index.html").read_text()
    assert "nonfinite" in page
    assert "blocked" in page
    rows = json.loads(cli("runs", "list", "--json", cwd=work).stdout)
    states = {(row["state"], row["reason"]) for row in rows}
    assert states == {("done", None), ("failed", "nonfinite"), ("failed", "blocked")}


def test_a_trial_comes_first_and_stops_what_would_fail_later(work, cli):
    words = ("run", "q.yaml", "--data", "mine", "--engine", "warm", "--smoke")

    def steps():
        rows = json.loads(cli("runs", "list", "--json", cwd=work).stdout)
        return sorted((row["steps"], row["state"]) for row in rows)

    broken = "  broken: {train.lr: 1e38, train.optimizer: sgd}\nseeds: [0, 1]\n"
    (work / "q.yaml").write_text(SPEC.replace("baseline", broken + "baseline"))
    done = cli(*words, cwd=work)
    assert done.returncode == 1
    assert "broken: nonfinite: the loss is" in done.stdout + done.stderr
    assert steps() == [(2, "done"), (2, "done"), (2, "failed")]

    (work / "q.yaml").write_text(SPEC)
    assert cli(*words, cwd=work).returncode == 0
    assert steps() == [(2, "done"), (2, "done"), (2, "failed"), (3, "done"), (3, "done")]


def test_check_prints_plan_and_cost_and_trains_nothing(work, cli):
    checked = cli("check", "q.yaml", "--data", "mine", "--json", cwd=work)
    assert checked.returncode == 0, checked.stderr
    rows = json.loads(checked.stdout)
    assert [row["variant"] for row in rows] == ["coarse", "fine"]
    assert all(row["state"] == "missing" and row["GMACs"] > 0 for row in rows)
    assert json.loads(cli("runs", "list", "--json", cwd=work).stdout) == []
    dry = cli("run", "q.yaml", "--data", "mine", "--dry-run", cwd=work)
    assert dry.returncode == 0
    assert not (work / "out").exists()


def cut(path):
    path.write_bytes(path.read_bytes()[:400])


def fill(path, value):
    with Image.open(path) as mask:
        Image.new("L", mask.size, value).save(path)


@pytest.mark.parametrize(
    ("damage", "settings", "said"),
    [
        (lambda d: (d / "images/p1.jpg").unlink(), [], ["p1", "missing"]),
        (lambda d: cut(d / "images/p1.jpg"), [], ["p1.jpg", "decode"]),
        (lambda d: Image.new("L", (5, 5)).save(d / "masks/p4.png"), [], ["p4", "5x5"]),
        (lambda d: fill(d / "masks/p4.png", 7), [], ["p4", "7", "ignore_index"]),
        (lambda d: (d / "test.txt").write_text(""), [], ["split", "test"]),
        (lambda d: (d / "train.txt").unlink(), [], ["train"]),
        (lambda d: (d / "classes.txt").unlink(), [], ["classes.txt", "line"]),
        (lambda d: None, ["model.backbone=resnt10t"], ["variant coarse", "resnet10t"]),
        (lambda d: None, ["model.skip=fcn8z"], ["fcn8z", "coarse, fine", "variants.coarse"]),
        (lambda d: None, ["variants.coarse.model.skip=fcn8z"], ["fcn8z", "fcn8s"]),
        (lambda d: None, ["model.backbone=vit_tiny_patch16_224"], ["stride 16", "use fcn32s"]),
        (lambda d: None, ["train.crop=null"], ["variant coarse", "train.crop", "sizes"]),
        (lambda d: None, ["train.crop=[8, 8]", "model.backbone=alexnet"], ["8x8", "63"]),
        (lambda d: None, ["data.input_scale=0.2", "model.backbone=alexnet"], ["too small"]),
        (lambda d: None, ["train.class_weights=[1, 2, 3]"], ["3 numbers for 2 classes"]),
        (lambda d: None, ["train.stps=3"], ["train.stps", "steps"]),
        (lambda d: None, ["train.warmup_steps=3"], ["variant coarse", "not below train.steps 3"]),
        (lambda d: None, ["train.batch_size=1", "train.crop=[32, 32]"], ["coarse", "batch_norm_g"]),
        (lambda d: None, ["model.pretrained=in99k"], ["coarse", "unknown weights", "in99k"]),
        (lambda d: None, ["variants.fine.model.backbone=alexnet"], ["variant fine", "no weights"]),
        (lambda d: None, ["steps"], ["key=value"]),
    ],
)
def test_a_wrong_turn_is_named_before_anything_is_trained(work, cli, damage, settings, said):
    damage(work / "mine")
    words = [word for setting in settings for word in ("--set", setting)]
    ended = cli("run", "q.yaml", "--data", "mine", *words, cwd=work)
    assert ended.returncode == 65, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    for word in said:
        assert word in ended.stderr
    assert not list((work / "runs").glob("??/*"))
    assert not (work / "out").exists()


def test_what_scores_are_to_be_read_with_stands_first(work, cli):
    (work / "mine/classes.txt").write_text("sky\nground\ndog\n")
    note = "note: no split has a pixel of class 'dog'"
    words = ("q.yaml", "--data", "mine")
    for command in (["check", *words], ["run", *words, "--dry-run"], ["run", *words]):
        done = cli(*command, cwd=work)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[0] == note
    again = cli("run", *words, cwd=work).stdout.splitlines()
    assert (again[0], again[-1]) == (note, "report: out/q/index.html")
    assert again[1].startswith("note: dog has no pixel in the labels of test of folder")
    data = ("folder", "--data", "mine")
    for command in (["data", "check", *data], ["data", "prepare", *data]):
        assert cli(*command, cwd=work).stdout.splitlines()[0] == note
    for command in (["check", *words, "--json"], ["data", "check", *data, "--json"]):
        done = cli(*command, cwd=work)
        assert json.loads(done.stdout)
        assert done.stderr.splitlines() == [note]


def fill_255(data):
    for path in (data / "masks").iterdir():
        with Image.open(path) as mask:
            mask = mask.point(lambda value: 255 * (value > 0))
        mask.save(path)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (fill_255, "'ground'.*are these masks 0/255"),
        (lambda d: (d / "test.txt").write_text("p1\np4\np2\n"), "split 'train'.*: p1, p2; scores"),
        (lambda d: [fill(d / f"masks/p{i}.png", 255) for i in range(3)], "'train' has no labelled"),
    ],
)
def test_what_cannot_give_a_right_score_is_refused(work, cli, damage, said):
    damage(work / "mine")
    for command in ("check", "run"):
        ended = cli(command, "q.yaml", "--data", "mine", cwd=work)
        assert ended.returncode == 65
        assert re.search(said, ended.stderr)
    assert not list((work / "runs").glob("??/*"))


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "q.yaml"], 65, "--data DIR"),
        (["run", "q.yaml", "--data", "nowhere"], 65, "nowhere"),
        (["run", "quikstart"], 65, "did you mean 'quickstart'"),
        (["run", "none.yaml"], 65, "does not exist. Give"),
        (["run", "qq.yaml"], 65, "did you mean 'q.yaml'? Give"),
        (["run", "quickstart", "--devices", "cuda:7"], 65, "there is cpu"),
        (["run", "quickstart", "--slots", "0"], 2, "--slots"),
        (["rum"], 2, "rum"),
        (["list", "backbons"], 2, "did you mean 'backbones'"),
        (["runs", "show", "abc"], 65, "no run"),
        (["predict", "abc", "x.png"], 65, "no run"),
        (["data", "check", "camvd"], 65, "did you mean 'camvid'"),
        (["report", "quickstart", "--runs", "other"], 65, "format"),
    ],
)
def test_wrong_usage_is_answered_in_a_paragraph(work, cli, words, code, said):
    (work / "other").mkdir()
    (work / "other" / "store.json").write_text('{"format": 99}')
    ended = cli(*words, cwd=work)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_installed_command_says_the_same_and_debug_shows_the_traceback(work):
    command = [sys.executable, "-m", "ablations.cli", "run", "q.yaml"]
    plain = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    assert plain.returncode == 65
    assert plain.stderr.count("\n") == 1
    command.insert(3, "--debug")
    debug = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    assert "Traceback" in debug.stderr


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("ablations", {"quickstart", "camvid/backbones-by-skips"}),
        ("backbones", {"alexnet", "vgg16", "googlenet", "resnet50"}),
        ("skips", {"fcn32s", "fcn16s", "fcn8s", "fcn4s"}),
        ("heads", {"linear"}),
        ("upsamplings", {"bilinear"}),
        ("fusions", {"sum"}),
        ("datasets", {"shapes", "camvid", "folder"}),
        ("losses", {"cross_entropy", "dice", "lovasz"}),
        ("optimizers", {"sgd", "adamw", "lamb"}),
        ("schedules", {"poly", "one_cycle"}),
        ("augmentations", {"ColorJitter", "RandAugmentColours"}),
    ],
)
def test_everything_registered_is_listed(tmp_path, cli, kind, names):
    rows = json.loads(cli("list", kind, "--json", cwd=tmp_path).stdout)
    assert names <= {row["name"] for row in rows}


def test_help_is_answered_without_torch(tmp_path):
    code = (
        "import sys; from ablations.cli import app\n"
        "try: app(['run', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "False"
