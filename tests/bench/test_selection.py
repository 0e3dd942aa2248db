"""The best step of a split that is not reported: chosen, recorded, resumed to the same bits."""

import json
from functools import partial

import pytest
import torch
from attempts import bits
from safetensors.torch import load_file
from torchmetrics.classification import (
    MulticlassCohenKappa,
    MulticlassF1Score,
    MulticlassPrecision,
)

from bench.metrics import summarize
from bench.run import execute as module
from bench.run import outcome
from bench.run.execute import Options, execute
from bench.run.selection import read_select
from bench.spec import RunSpec
from bench.store.names import find_foreign
from fcn.errors import InputError

OPTIONS = Options(device="cpu", threads=1)
BEST = {"train.select": "best", "train.steps": 9, "evaluate.eval_every": 2, "train.lr": 0.05}


def scores_of(store, run):
    return {r["step"]: summarize(r["confusion"]).miou for r in store.logs(run.id) if "split" in r}


def test_the_best_step_is_kept_and_told(tiny_run):
    settings = {**BEST, "train.ema_decay": 0.5}
    store, run = tiny_run(settings)
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    scores = scores_of(store, run)
    assert list(scores) == [2, 4, 6, 8, 9]  # the last step too
    best = max(scores, key=lambda step: (scores[step], -step))
    result = store.result(run.id)
    assert result.selected_step == best
    assert f"weights of step {best}, the best miou along the way" in result.notes
    assert find_foreign(store.run_dir(run.id)) == []
    assert not list(store.run_dir(run.id).glob("best-*"))
    # Another way: the weights of a run that ends there, with the same rates.
    kept = load_file(store.run_dir(run.id) / "model.safetensors")
    last_store, last = tiny_run({**settings, "train.select": "last"}, folder="last")
    saved = {}

    def keep(self, model, optimizer, step, log, watch=module._Execution.watch):
        if step == best:
            with module.ema_applied(optimizer):
                saved.update({k: v.clone() for k, v in model.state_dict().items()})
        return watch(self, model, optimizer, step, log)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module._Execution, "watch", keep)
        execute(last_store.run_dir(last.id), OPTIONS)
    assert all((saved[name] == tensor).all() for name, tensor in kept.items())


@pytest.mark.parametrize("metric", ["dice", "kappa", "precision"])
def test_any_metric_of_confusion_counts_may_choose(tiny_run, metric):
    """Told from the log by torchmetrics."""
    select = f'best(metric="{metric}")'
    store, run = tiny_run({**BEST, "train.select": select, "train.lr": 0.02})
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    scores = {
        row["step"]: JUDGES[metric](torch.tensor(row["confusion"]))
        for row in store.logs(run.id)
        if "split" in row
    }
    best = max(scores, key=lambda step: (scores[step], -step))
    assert store.result(run.id).selected_step == best


def judge_by(create):
    """A metric of torchmetrics over the pixels that a confusion matrix has counted."""

    def judge(confusion):
        pairs = confusion.nonzero().repeat_interleave(confusion[confusion > 0], dim=0)
        target, pred = pairs.unbind(1)
        seen = ((confusion.sum(0) + confusion.sum(1)) > 0).nonzero().flatten()
        found = create(len(confusion))(pred, target)
        return float(found if found.ndim == 0 else found[seen].mean())

    return judge


JUDGES = {
    "dice": judge_by(partial(MulticlassF1Score, average="none")),
    "precision": judge_by(partial(MulticlassPrecision, average="none")),
    "kappa": judge_by(MulticlassCohenKappa),
}


@pytest.mark.parametrize("stop_at", [1, 3, 6])
def test_it_is_resumed_to_the_same_bits(tiny_run, stopped_after, stop_at):
    whole, run = tiny_run(BEST, folder="whole")
    assert execute(whole.run_dir(run.id), OPTIONS) == outcome.DONE
    store, run = tiny_run(BEST, folder="stopped")
    with stopped_after(stop_at):
        assert execute(store.run_dir(run.id), OPTIONS) == outcome.STOPPED
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    assert bits(store, run) == bits(whole, run)
    assert store.result(run.id).selected_step == whole.result(run.id).selected_step
    assert scores_of(store, run) == scores_of(whole, run)


def test_patience_ends_training(tiny_run, monkeypatch):
    """Scores that fall from the first on: with patience 2 the third of them is the last."""
    given = iter([0.5, 0.4, 0.45, 0.9])

    monkeypatch.setattr("bench.run.selection.score_rows", lambda metric, rows: next(given))
    settings = {**BEST, "train.select": {"name": "best", "patience": 2}, "evaluate.eval_every": 1}
    store, run = tiny_run(settings)
    assert execute(store.run_dir(run.id), OPTIONS) == outcome.DONE
    assert list(scores_of(store, run)) == [1, 2, 3]
    assert store.result(run.id).selected_step == 1


def test_scores_that_are_no_numbers_choose_nothing_and_say_so(tiny_run, monkeypatch):
    monkeypatch.setattr("bench.run.selection.score_rows", lambda metric, rows: float("nan"))
    store, run = tiny_run(BEST)
    assert execute(store.run_dir(run.id), OPTIONS) != outcome.DONE
    said = "miou was not a number at any step, so none is the best"
    assert said in store.failure(run.id).message


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"select": "bset"}, "did you mean 'best'"),
        ({"select": 'best(metric="mIoU")'}, "did you mean 'miou'"),
        ({"select": 'best(metric="boundary_miou")'}, "unknown metric 'boundary_miou'"),
        ({"select": "best(patience=0)"}, "patience is 0"),
        ({"select": "best(patienec=2)"}, "did you mean 'patience'"),
        ({"select": "last(patience=2)"}, "it has no options"),
        ({"select": "best(patience=2.5)"}, "patience: Input should be a valid integer, not 2.5"),
        ({"select": 'best(patience="5")'}, "patience: Input should be a valid integer, not '5'"),
        ({"select": "best(patience=true)"}, "patience: Input should be a valid integer, not True"),
        ({"select": "best(metric=5)"}, "metric must be str, not 5"),
    ],
)
def test_what_cannot_be_is_refused(settings, message):
    spec = {"train": {"steps": 9, **settings}, "evaluate": {"eval_every": 2}}
    with pytest.raises(InputError, match=message):
        read_select(RunSpec.model_validate(spec))


def test_a_choice_by_what_is_reported_is_refused():
    spec = {"train": {"steps": 9, "select": "best"}, "evaluate": {"eval_every": 2}}
    assert read_select(RunSpec.model_validate(spec)).metric == "miou"
    spec["evaluate"]["eval_split"] = "test"
    with pytest.raises(InputError, match="its score would be too good"):
        read_select(RunSpec.model_validate(spec))
    spec["evaluate"] = {}
    with pytest.raises(InputError, match=r"set evaluate\.eval_every"):
        read_select(RunSpec.model_validate(spec))
    assert json.loads(RunSpec().model_dump_json())["train"]["select"] == "last"
