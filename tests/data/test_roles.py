"""What a run trains on and what judges it: shares and folds of a pack, and what is refused."""

from dataclasses import replace

import pytest
from small_datasets import open_folder, write_folder, write_values

from bench.data.catalog import Catalog
from bench.data.packs.pack import Pack, pack
from bench.data.remarks import plan_remarks, require_meaning, uses_of
from bench.data.roles import judged_by, require_draw, require_same_groups, trained_on
from bench.plan import Plan, PlannedRun, Run
from bench.spec import DataSpec, RunSpec, override, parse
from bench.store.runs import Store
from fcn.errors import InputError

STEMS = [f"clip{clip}_{frame}" for clip in range(6) for frame in range(4)]


@pytest.fixture
def clips(tmp_path):
    """A folder whose split `train` has six clips of four images each."""
    root = write_folder(tmp_path / "mine")
    for key, stem in enumerate(STEMS):
        paths = root / "images" / f"{stem}.png", root / "masks" / f"{stem}.png"
        write_values(*paths, (12, 16), key, [0, 1])
    (root / "train.txt").write_text("\n".join(STEMS) + "\n")
    stems = [*STEMS, "c", "d"]
    (root / "groups.txt").write_text("".join(f"{s} {s.split('_')[0]}\n" for s in stems))
    return root


def spec_of(**settings):
    base = {"data": {"dataset": "folder"}, "train": {"steps": 1}}
    return parse(RunSpec, override(base, settings), where="test")


def names(pack, split="train"):
    return [pack.name(i) for i in pack.indices(split)]


def clips_of(pack):
    return {name.split("_")[0] for name in names(pack)}


def test_without_a_draw_the_pack_is_as_it_was(clips, tmp_path):
    whole = pack(open_folder(clips), tmp_path / "packs")
    spec = spec_of()
    assert names(trained_on(whole, spec)) == names(judged_by(whole, spec)) == sorted(STEMS)
    assert require_draw(whole, spec) is None


def test_shares_are_of_training_alone_nested_and_of_whole_clips(clips, tmp_path):
    whole = pack(open_folder(clips), tmp_path / "packs")
    shares = [spec_of(**{"data.train_fraction": f}) for f in (0.2, 0.5, 1.0)]
    drawn = [names(trained_on(whole, spec)) for spec in shares]
    assert [len(one) for one in drawn] == [4, 12, 24]
    assert set(drawn[0]) < set(drawn[1]) < set(drawn[2])
    half = trained_on(whole, shares[1])
    assert len(clips_of(half)) == 3
    assert len(half.groups("train")) == len(half.image_class_counts("train")) == 12
    assert names(judged_by(whole, shares[0]), "test") == names(whole, "test")
    assert all(require_draw(whole, spec) is None for spec in shares)


def test_folds_judge_each_image_once_and_train_on_the_rest(clips, tmp_path):
    whole = pack(open_folder(clips), tmp_path / "packs")
    judged = []
    for fold in range(3):
        spec = spec_of(**{"data.folds": 3, "data.fold": fold, "evaluate.split": "train"})
        train, judge = trained_on(whole, spec), judged_by(whole, spec)
        assert not clips_of(train) & clips_of(judge)
        assert sorted(names(train) + names(judge)) == sorted(STEMS)
        judged += names(judge)
        plan = Plan("q", "", "", (PlannedRun("v", Run(spec, whole.fingerprint)),))
        for use in uses_of(plan):
            require_meaning(use, {whole.fingerprint: whole})
    assert sorted(judged) == sorted(STEMS)


def test_a_share_is_of_what_a_fold_leaves(clips, tmp_path):
    whole = pack(open_folder(clips), tmp_path / "packs")
    folds = {"data.folds": 3, "evaluate.split": "train", "data.train_fraction": 0.5}
    spec = spec_of(**folds)
    train, judge = trained_on(whole, spec), judged_by(whole, spec)
    assert len(names(train)) == len(names(judge)) == 8
    assert not set(names(train)) & set(names(judge))


def test_a_start_that_was_trained_on_the_fold_that_judges_is_refused(clips, tmp_path):
    whole = pack(open_folder(clips), tmp_path / "packs")
    parent = Run(
        spec_of(**{"data.folds": 3, "data.fold": 1, "evaluate.split": "train"}), whole.fingerprint
    )
    own = spec_of(**{"data.folds": 3, "data.fold": 0, "evaluate.split": "train"})
    child = Run(own, whole.fingerprint, parent.id)
    plan = Plan("q", "", "", (PlannedRun("first", parent), PlannedRun("child", child)))
    *_, use = uses_of(plan)
    with pytest.raises(InputError, match="which is trained on"):
        require_meaning(use, {whole.fingerprint: whole})


def test_classes_that_a_share_or_a_fold_lacks_are_named(clips, tmp_path):
    """Class 1 is in one clip alone: who does not train on it cannot learn it."""
    for key, stem in enumerate(STEMS):
        values = [0, 1] if stem.startswith("clip2") else [0]
        paths = clips / "images" / f"{stem}.png", clips / "masks" / f"{stem}.png"
        write_values(*paths, (12, 16), key, values)
    whole = pack(open_folder(clips), tmp_path / "packs")
    name = whole.class_names[1]
    fold_of = {"data.folds": 3, "evaluate.split": "train"}
    variants = {
        **{f"share {f}": {"data.train_fraction": f} for f in (0.2, 0.5, 0.8, 1.0)},
        **{f"fold {k}": {"data.fold": k, **fold_of} for k in range(3)},
    }
    runs = {n: PlannedRun(n, Run(spec_of(**own), whole.fingerprint)) for n, own in variants.items()}
    plan = Plan("q", "", "", tuple(runs.values()))

    def lacks(text, *, scored=False):
        (said,) = [
            one
            for one in plan_remarks(plan, {whole.fingerprint: whole}, scored=scored)
            if text in one and repr(name) in one
        ]
        return said.split("(variants ")[1].rstrip(")").split(", ")

    without = [
        n for n, one in runs.items() if "clip2" not in clips_of(trained_on(whole, one.run.spec))
    ]
    assert len([n for n in without if n.startswith("fold")]) == 1
    assert lacks("is trained on has no pixel of class") == without
    judged = [n for n in variants if n.startswith("fold") and n not in without]
    for fold in judged:
        assert lacks(f"is {fold} of 3 has no pixel of class") == [fold]
    told = plan_remarks(plan, {whole.fingerprint: whole}, scored=True)
    assert not any("of 3 has no pixel" in one for one in told)  # which counts say themselves
    assert lacks("cannot be learned from it", scored=True) == without


def test_what_whole_groups_cannot_give_is_refused_and_images_can(clips, tmp_path):
    whole = pack(open_folder(clips), tmp_path / "packs")
    settings = {"data.train_fraction": 0.05}
    with pytest.raises(InputError, match=r"is 1 image, .* is 4; .* data.draw_by: images"):
        require_draw(whole, spec_of(**settings))
    by_images = spec_of(**settings, **{"data.draw_by": "images"})
    require_draw(whole, by_images)
    assert len(names(trained_on(whole, by_images))) == 1
    with pytest.raises(InputError, match=r"data\.folds 7 cannot be made of 6 groups"):
        require_draw(whole, spec_of(**{"data.folds": 7, "evaluate.split": "train"}))


def test_other_groups_are_another_run_where_a_draw_is_by_them(clips, tmp_path):
    """They are no part of a fingerprint; of a draw that keeps them whole they decide."""
    data = DataSpec(dataset="folder")
    store = Store(tmp_path / "store")
    facts = Catalog(store, clips).facts(data)
    spec = spec_of(**{"data.train_fraction": 0.5})
    run = Run(spec, facts.fingerprint, groups=facts.groups["train"])
    assert Run.from_json(run.to_json(), where="test") == run
    require_same_groups(Catalog(store, clips).pack(data), run)
    lines = "".join(f"{s} {s.split('_')[1]}\n" for s in STEMS)
    (clips / "groups.txt").write_text(lines + "c c\nd d\n")
    later = Catalog(store, clips).facts(data)
    assert later.fingerprint == facts.fingerprint
    assert replace(run, groups=later.groups["train"]).id != run.id
    with pytest.raises(InputError, match=f"not those that run {run.id} was planned with"):
        require_same_groups(Catalog(store, clips).pack(data), run)
    (clips / "groups.txt").unlink()
    assert Catalog(store, clips).facts(data).groups == {}
    without = Catalog(store, clips).pack(data)
    require_same_groups(without, replace(run, groups=""))
    assert isinstance(without, Pack)
    assert without.groups("train") == []
