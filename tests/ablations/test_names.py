"""One meaning: keys in either spelling, values as the schema reads them, names that hold."""

import pytest

from ablations.expand import expand, list_unused_values
from ablations.planning import plan_spec, plan_trial
from ablations.registry import load_ablation
from bench.data.catalog import Catalog
from bench.data.facts import DatasetFacts
from bench.data.remarks import plan_remarks
from bench.spec import DataSpec
from bench.store.runs import Store
from fcn.errors import InputError

FACTS = DatasetFacts("f" * 64, {"train": 100, "val": 10, "test": 20}, num_classes=5)
BASE = "common: {train.steps: 20, train.lr: 0.01}\nquestion: q\n"
A = BASE + "variants: {a: {}}\n"
SKIPS = BASE + "variants: {fcn32s: {model.skip: fcn32s}, fcn16s: {model: {skip: fcn16s}}}\n"
GRID = BASE + "grid: {model.skip: [fcn32s, fcn16s], train.lr: [0.1, 0.01]}\n"
RATE = "adjust: [{when: {%s}, set: {train.lr: 0.5}}]"


@pytest.fixture
def spec(tmp_path):
    """Write a spec and return its plan with settings on top."""

    def plan(text, overrides=None):
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return expand(load_ablation(str(path), overrides), lambda data: FACTS)

    return plan


def rates(plan):
    return [planned.run.spec.train.lr for planned in plan.runs]


@pytest.mark.parametrize(
    ("text", "overrides", "where"),
    [
        (BASE + "variants: {a: {model.skip: fcn8s, model: {skip: fcn16s}}}", {}, "variants.a"),
        (A.replace("train.lr: 0.01", "train: {steps: 3}"), {}, "common"),
        (BASE + "variants: {a: {model.skip: fcn8s, model: fcn8s}}", {}, "variants.a"),
        (BASE + "grid: {model.skip: [fcn8s], model: [{skip: fcn16s}]}", {}, "variant fcn8s"),
        (A + RATE % "train.lr: 1, train: {lr: 1}", {}, "adjust.0.when"),
        (A, {"train.steps": 3, "train": {"steps": 4}}, "--set"),
    ],
)
def test_a_key_in_two_spellings_is_refused_with_both(spec, text, overrides, where):
    with pytest.raises(InputError, match=r"'.*' and '.*' are one key in two spellings") as caught:
        spec(text, overrides)
    assert where in str(caught.value)


def test_set_changes_the_key_of_the_file_however_either_is_spelled(spec):
    """A second key beside it would have lost, or won, by chance."""
    plan = spec(GRID, {"grid.model.skip": ["fcn8s"], "grid.train.lr": [0.5]})
    assert plan.variants == ["fcn8s-0.5"]
    plan = spec(GRID, {"grid": {"model.skip": ["fcn8s"]}})
    assert plan.variants == ["fcn8s-0.1", "fcn8s-0.01"]
    for common in ("train.steps: 20, train.lr: 0.01", "train: {steps: 20, lr: 0.01}"):
        text = A.replace("train.steps: 20, train.lr: 0.01", common)
        for overrides in ({"common.train.lr": 0.5}, {"common": {"train": {"lr": 0.5}}}):
            assert rates(spec(text, overrides)) == [0.5]
    for rate in ("train.lr: 0.1", "train: {lr: 0.1}"):
        text = BASE + f"variants: {{v1.5: {{{rate}}}, v1: {{}}}}"
        assert rates(spec(text, {"variants.v1.5.train.lr": 0.5})) == [0.5, 0.01]
        assert rates(spec(text, {"variants.v1.train.lr": 0.5})) == [0.1, 0.5]
    assert spec(A, {"variants.a.train.epochs": 2}).runs[0].run.spec.train.steps == 13  # 200 / 16
    assert spec(A, {"variants.b.train.lr": 2}).variants == ["a", "b"]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"seeds.0": 1}, r"--set seeds\.0: 'seeds' has no keys of its own; give it whole"),
        ({"comon.train.lr": 1}, r"unknown key 'comon'; did you mean 'common'"),
        ({"trian.lr": 1}, r"unknown key 'trian'; did you mean 'train'"),
        ({"variants.a": 3}, r"variants\.a: Input should be a valid dictionary, not 3"),
        ({"grid.model.skip": "fcn8s"}, r"grid\.model\.skip: Input should be a valid list"),
    ],
)
def test_settings_of_the_ablation_that_cannot_be_are_named(spec, overrides, said):
    with pytest.raises(InputError, match=said):
        spec(A, overrides)


@pytest.mark.parametrize(
    ("when", "fits"),
    [
        ("model.backbone: resnet18", True),
        ("model.backbone: [resnet18, vgg11]", True),
        ("model.backbone: [vgg11, vgg13]", None),
        ("train.batch_size: '16'", True),
        ("train.steps: 2.0e+1", True),
        ("train.flip: yes", True),  # what `flip: yes` is, too
        ("train.flip: no", None),
        ("model: {backbone: resnet18, skip: fcn8s}", True),
        ("train.crop: [64, 32]", True),  # one value, which is a pair
        ("train.crop: [[8, 8], [64, 32]]", True),
        ("data.inputs: [rgb]", True),
        ("data.options.size: 64", True),
        ("data.options.depth: true", None),
        ("model.output_stride: null", True),
    ],
)
def test_an_adjustment_is_for_values_as_the_schema_reads_them(spec, when, fits):
    text = A.replace("variants: {a: {}}", "variants: {a: {}, b: {model.backbone: alexnet}}")
    text = text.replace("train.lr: 0.01", "train.crop: [64, 32], data.options.size: 64")
    if fits is None:
        with pytest.raises(InputError, match=r"adjust\.when fits no variant"):
            spec(text + RATE % when)
    else:
        assert rates(spec(text + RATE % when))[0] == 0.5


def test_a_value_of_a_list_that_no_variant_has_is_said(tmp_path):
    """It may be for other grids, as adjustments of a base are; and it may be misspelt."""
    path = tmp_path / "q.yaml"
    path.write_text(A + RATE % "model.backbone: [resnet18, alexnt]")
    ablation = load_ablation(path.as_posix())
    assert list_unused_values(ablation) == [
        f"{ablation.name}: adjust.when: unknown value of model.backbone 'alexnt'. Known: resnet18."
    ]
    path.write_text(A + RATE % "model.backbone: [resnet18]")
    assert list_unused_values(load_ablation(path.as_posix())) == []


@pytest.mark.parametrize(
    ("when", "said"),
    [
        (
            "model.backbone: resnet_18",
            r"unknown value of model\.backbone 'resnet_18'; did you mean 'r",
        ),
        ("train.flip: false", r"value of train\.flip 'false'.* Known: true\."),
        ("model.skip: fcn8s, train.lr: 0.3", r"value of train\.lr '0\.3'.* Known: 0\.01, 0\.1\."),
        ("model.pretrained: no", r"adjust\.when: model\.pretrained: 'no' is a word here"),
        ("train.lr: fast", r"adjust\.when: train\.lr: .*valid number.* not 'fast'"),
        (
            "model.skip: fcn16s, train.lr: 0.1",
            r"none has all of these .*skip: fcn16s, train\.lr: 0\.1",
        ),
        ("data.options.size: '64'", r"options\.size '\"64\"'; did you mean '64'\?"),
        ("train.crop.0: 3", r"train\.crop\.0: what stands before '0' has no keys"),
    ],
)
def test_an_adjustment_that_fits_no_variant_is_refused_with_what_occurs(spec, when, said):
    variants = "variants: {a: {train.lr: 0.1, model.skip: fcn8s}, b: {model.skip: fcn16s}}\n"
    variants = variants.replace("b: {", "b: {data.options.size: 64, ")
    adjust = f"adjust: [{{when: {{{when}}}, set: {{train.momentum: 0.5}}}}]"
    with pytest.raises(InputError, match=said):
        spec(BASE + variants + adjust)


def test_an_adjustment_for_a_variant_that_set_leaves_out_is_no_mistake(spec):
    text = BASE + "grid: {model.backbone: [alexnet, resnet18]}\n"
    adjust = RATE % "model.backbone: alexnet"
    assert rates(spec(text + adjust)) == [0.5, 0.01]
    assert rates(spec(text + adjust, {"grid.model.backbone": ["resnet18"]})) == [0.01]
    with pytest.raises(InputError, match="fits no variant"):
        spec(text + adjust.replace("alexnet", "alexnett"), {"grid.model.backbone": ["resnet18"]})


def test_combinations_are_excluded_by_what_their_values_are(spec):
    def left(exclude):
        return spec(GRID + f"exclude: [{{{exclude}}}]").variants

    assert left("train.lr: '0.1'") == left("train.lr: 1.0e-1") == ["fcn32s-0.01", "fcn16s-0.01"]
    assert left("model.skip: fcn16s, train.lr: [0.1, 0.01]") == ["fcn32s-0.1", "fcn32s-0.01"]
    with pytest.raises(InputError, match=r"exclude: unknown train\.lr '0\.2'.* Known: 0\.01, 0\.1"):
        left("train.lr: 0.2")
    with pytest.raises(InputError, match=r"exclude: train\.lr: .*valid number.*not 'fast'"):
        left("train.lr: fast")


@pytest.mark.parametrize(
    ("text", "overrides", "said"),
    [
        (SKIPS, {"model.skip": "fcn8s"}, r"undo model\.skip, which is stated by fcn32s, fcn16s"),
        (SKIPS, {"model": {"skip": "fcn8s"}}, r"--set model\.skip=fcn8s .* variants\.fcn32s\.mod"),
        (
            GRID,
            {"train.lr": 1},
            r"the grid gives fcn32s-0\.1, .*--set 'grid\.train\.lr=\[\.\.\.\]'",
        ),
        (
            BASE + "variants: {a: {}, b: {train.epochs: 1}}",
            {"train.steps": 3},
            r"undo train\.epochs",
        ),
        (
            BASE + "variants: {a: {}, b: {train.steps: 1}}",
            {"train.epochs": 3},
            r"undo train\.steps",
        ),
        (
            BASE + "variants: {a: {data.options.size: 32}, b: {}}",
            {"data.options": {"size": 64}},
            r"undo data\.options\.size, which is stated by a",
        ),
        (
            BASE + "variants: {a: {}, b: {train.flip: false}}",
            {"train.flip": False},
            "one run of .*a and b",
        ),
        (BASE + "variants: {a: {}, b: {train.lr: 1}}", {"variants.b.train.lr": 0.01}, "one run of"),
    ],
)
def test_set_does_not_undo_what_variants_are_named_for(spec, text, overrides, said):
    with pytest.raises(InputError, match=said):
        spec(text, overrides)


def test_set_may_say_what_a_variant_says(spec):
    plan = spec(
        BASE + "variants: {a: {train.lr: 0.5}}", {"train.lr": "0.5", "model.skip": "fcn16s"}
    )
    assert rates(plan) == [0.5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            GRID + RATE % "model.skip: fcn32s",
            r"variant fcn32s-0\.1: .* undo train\.lr, which the grid",
        ),
        (
            BASE + "variants: {a: {train: {lr: 1}}}\n" + RATE % "model.skip: fcn8s",
            "the variant states",
        ),
        (
            BASE + "variants: {a: {train.steps: 3}}\nadjust: [{when: {}, set: {train.epochs: 1}}]",
            r"undo train\.steps",
        ),
    ],
)
def test_an_adjustment_does_not_undo_a_variants_own_word(spec, text, said):
    with pytest.raises(InputError, match=said):
        spec(text)


def test_an_adjustment_may_say_what_a_variant_says(spec):
    text = BASE + "variants: {a: {train.lr: 0.5}, b: {}}\n" + RATE % "model.skip: fcn8s"
    assert rates(spec(text)) == [0.5, 0.5]


def test_variants_that_are_one_run_as_written_are_said_to_be(spec):
    text = BASE + "variants: {a: {}, b: {model.skip: fcn8s}, c: {train.lr: 1}}\nseeds: [0, 1]\n"
    for overrides in ({}, {"train.steps": 3}):
        plan = spec(text, overrides)
        assert plan.doubles == [["a", "b"]]
        assert plan_remarks(plan, {}) == [
            "variants a and b are one run: the same run under 2 names"
        ]


def test_a_batch_of_more_than_the_split_is_said_in_a_line(spec, tmp_path):
    few = DataSpec(options={"size": 32, "num_train": 3, "num_val": 1, "num_test": 2})
    packs = {FACTS.fingerprint: Catalog(Store(tmp_path), None).pack(few)}
    text = BASE + "variants: {a: {}, b: {train.lr: 1}, c: {train.batch_size: 3}}\n"
    said = "train.batch_size 16 is more than the 3 images of split train"
    found = plan_remarks(spec(text), packs)
    assert f"{said}: a batch has images more than once (variants a, b)" in found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (A + "seeds: [-1]", r"seeds\.0: .*greater than or equal to 0, not -1"),
        (A + "seeds: [0, 2147483648]", r"seeds\.1: .*less than 2147483648"),
        (A.replace("train.lr: 0.01", "seed: 3"), r"seed 3 would not be used.*seeds: \[3\]"),
        (A + "seeds: [0, true]", r"seeds\.1: true is no number"),
        (BASE + "variants: {a: {train.lr: true}}", r"variant a: train\.lr: true is no number"),
        (BASE + "variants: {a: {train: {ema_decay: false}}}", r"train\.ema_decay: false is no num"),
        (BASE + "variants: {a: {train.crop: [64, true]}}", r"train\.crop\.1: true is no number"),
        (BASE + "variants: {a: {train.crop: 64}}", r"train\.crop: .* valid list, not 64"),
        (A + RATE % "train.warmup_steps: false", r"when: train\.warmup_steps: false is no number"),
        (A + RATE % "seed: 0", r"adjust\.0: `when` cannot tell seeds apart"),
        (BASE + "variants: {32: {}}", r"variants\.32: .*string, not 32; .* in quotes: '32'"),
        (BASE + "variants: {'32': {}}\nbaseline: 32", r"baseline: .* in quotes: '32'"),
        (BASE + "variants: {true: {}}", "in quotes: 'true'"),
        (BASE + "variants: {a: {model.dropout: 1.0}}", "dropout: dropout 1.0 leaves nothing"),
        (BASE + "variants: {a: {train.crop: None}}", r"train\.crop: .*; nothing is written null"),
        *(
            (
                BASE + f"variants: {{a: {{model.pretrained: {word}}}}}",
                r"'.*' is a word here; write true",
            )
            for word in ("no", "yes", "True", "None", "'false'", "off")
        ),
    ],
)
def test_a_value_of_another_kind_is_refused_with_the_way_out(spec, text, said):
    with pytest.raises(InputError, match=said):
        spec(text)


def test_a_seed_for_all_variants_is_refused_as_one_of_set(spec):
    with pytest.raises(InputError, match=r"write seeds: \[5\]"):
        spec(A, {"seed": 5})


def test_a_trial_has_two_steps_of_every_variant_whatever_it_states(tmp_path):
    path = tmp_path / "mine.yaml"
    common = "data: {dataset: shapes, options: {size: 32, num_train: 4, num_val: 1, num_test: 1}}"
    path.write_text(
        f"question: q\ncommon: {{{common}, train: {{steps: 9, warmup_steps: 5}}}}\nseeds: [3, 4]\n"
        "variants: {a: {}, b: {train.steps: 7, train.init_from: a}, c: {train.epochs: 9}}\n"
    )
    store = Store(tmp_path / "runs")
    plan = plan_trial(plan_spec(str(path), store, None, ["train.warmup_steps=1"])[0])
    assert [(one.variant, one.run.spec.train.steps) for one in plan.runs] == [
        ("a", 2), ("c", 2), ("b", 2)
    ]  # fmt: skip
    assert {one.run.spec.seed for one in plan.runs} == {3}
    assert plan.runs[2].run.parent == plan.runs[0].run.id
