"""From files to plans, and every mistake of a spec in one paragraph."""

import hashlib
import re
from dataclasses import replace

import pytest

from ablations.expand import expand, resolve_steps
from ablations.registry import list_ablations, load_ablation
from bench.data.facts import DatasetFacts
from bench.data.outlines import find_outline, outline_facts
from bench.data.registry import list_datasets
from bench.plan import BF16_SEMANTICS
from bench.spec import TrainSpec
from fcn.errors import InputError
from reports.stats.asked import resolve_claims

FACTS = DatasetFacts("f" * 64, {"train": 100, "val": 10, "test": 20}, num_classes=5)

MORE_SPLITS = {"held_out": 20, "seg11valid": 20}
"""Of CamVid's option held_out, and of SBD."""


@pytest.fixture
def spec(tmp_path):
    """Write a spec and return its plan: spec("question: ...") -> Plan."""

    def plan(text, overrides=None, **files):
        for name, content in files.items():
            (tmp_path / f"{name}.yaml").write_text(content)
        path = tmp_path / "mine.yaml"
        path.write_text(text)
        return expand(load_ablation(str(path), overrides), lambda data: FACTS)

    return plan


SKIPS = """
question: How much do skips add?
common: {train.steps: 10}
variants:
  fcn8s: {model.skip: fcn8s, train.init_from: fcn16s}
  fcn32s: {model.skip: fcn32s}
  fcn16s: {model: {skip: fcn16s}, train.init_from: fcn32s}
seeds: [0, 1]
baseline: fcn32s
"""


def test_parents_come_before_children_and_share_the_seed(spec):
    plan = spec(SKIPS)
    runs = {(p.variant, p.run.spec.seed): p.run for p in plan.runs}
    assert [p.variant for p in plan.runs] == ["fcn32s", "fcn16s", "fcn8s"] * 2
    assert runs["fcn8s", 1].parent == runs["fcn16s", 1].id
    assert runs["fcn16s", 1].parent == runs["fcn32s", 1].id
    assert len({run.id for run in runs.values()}) == 6


SCORED = """
score: {primary: kappa, also: [image_dice], exclude_classes: [sky], absent: leave_out}
claims: [fcn8s > fcn32s by 0.01, fcn8s > fcn16s in precision]
"""


def test_another_mean_of_the_same_counts_is_of_the_same_runs(spec):
    plain, scored = spec(SKIPS), spec(SKIPS + SCORED)
    assert [p.run.id for p in scored.runs] == [p.run.id for p in plain.runs]
    assert scored.scoring.names() == (
        *("pixel_acc", "mean_acc", "miou", "fw_iou"),
        *("image_dice", "precision", "kappa"),  # what a claim is about is shown
    )
    set_later = spec(SKIPS, {"score.primary": "dice", "score.absent": "zero"})
    assert (set_later.scoring.primary, set_later.scoring.absent) == ("dice", "zero")
    by_default, named = (question.asked[0].score for question in resolve_claims(scored))
    assert (by_default, named) == ("kappa", "precision")


def test_a_score_that_is_none_is_named_with_the_nearest(spec):
    for text in ("score: {primary: kapa}", "claims: [fcn8s > fcn32s in kapa]"):
        with pytest.raises(InputError, match="did you mean 'kappa'"):
            spec(f"{SKIPS}{text}\n")
    with pytest.raises(InputError, match="exclude_classes"):
        spec(f"{SKIPS}score: {{exclude_class: [sky]}}\n")


def test_a_score_of_what_nobody_counts_is_refused(spec):
    text = f"{SKIPS}score: {{also: [image_ece]}}\n"
    with pytest.raises(InputError, match="no variant asks for it; write"):
        spec(text)
    assert spec(text, {"evaluate.calibration": True}).scoring.also == ("image_ece",)


STREAMS = """
question: Where should depth join?
common: {train.steps: 10}
variants:
  late: {data.inputs: [rgb, depth], model.input_fusion: late, train.init_streams: [rgb, depth]}
  depth: {data.inputs: [depth]}
  rgb: {}
seeds: [0, 1]
"""


def test_streams_come_before_what_fuses_them(spec):
    plan = spec(STREAMS)
    runs = {(p.variant, p.run.spec.seed): p.run for p in plan.runs}
    assert [p.variant for p in plan.runs] == ["depth", "rgb", "late"] * 2
    for seed in (0, 1):
        assert runs["late", seed].streams == (runs["rgb", seed].id, runs["depth", seed].id)
    alone = replace(runs["late", 0], streams=())
    assert len({alone.id, runs["late", 0].id, replace(alone, streams=("1" * 16,)).id}) == 3
    with pytest.raises(InputError, match=r"init_streams: unknown variant 'dept'; did you mean"):
        spec(STREAMS.replace("init_streams: [rgb, depth]", "init_streams: [rgb, dept]"))


TWO_MAPS = """
question: Do two heads share?
common: {train.steps: 10}
variants:
  alone: {data.targets: [semantic]}
  joint: {data.targets: [semantic, geometric]}
published: [{variant: joint, target: geometric, pixel_acc: 0.9, source: a paper}]
"""


def test_variants_are_compared_by_one_target(spec):
    assert spec(TWO_MAPS).published[0].target == "geometric"
    with pytest.raises(InputError, match=r"not semantic .variant alone. and geometric"):
        spec(TWO_MAPS.replace("[semantic, geometric]", "[geometric, semantic]"))
    with pytest.raises(InputError, match=r"published\.target: unknown further target 'sides'"):
        spec(TWO_MAPS.replace("target: geometric", "target: sides"))


def test_grid_is_the_product_without_what_is_excluded(spec):
    plan = spec("""
question: Which?
common: {train.epochs: 2, train.batch_size: 8}
grid: {model.backbone: [alexnet, resnet18], model.skip: [fcn32s, fcn8s]}
exclude: [{model.backbone: alexnet, model.skip: fcn8s}]
adjust: [{when: {model.backbone: alexnet}, set: {train.lr: 0.5}}]
""")
    assert plan.variants == ["alexnet-fcn32s", "resnet18-fcn32s", "resnet18-fcn8s"]
    assert [p.run.spec.train.lr for p in plan.runs] == [0.5, 0.01, 0.01]
    assert {p.run.spec.train.steps for p in plan.runs} == {25}  # 2 epochs of 100 in batches of 8


def test_overrides_win_over_everything(spec):
    plan = spec(
        "{question: q, base: b.yaml, variants: {a: {}},"
        " adjust: [{when: {model.backbone: vgg16}, set: {train.lr: 2, train.momentum: 0.5}}]}",
        {"train.steps": 3, "train.lr": 9, "seeds": [4], "model.backbone": "vgg16"},
        b="train: {epochs: 7, lr: 1}",
    )
    (planned,) = plan.runs
    train = planned.run.spec.train
    assert (train.steps, train.epochs, train.lr, train.momentum) == (3, None, 9, 0.5)
    assert planned.run.spec.seed == 4


def test_bases_stack(spec):
    plan = spec(
        "{question: q, base: top.yaml, variants: {a: {}}}",
        top="{base: low.yaml, train: {lr: 0.2}}",
        low="{train: {lr: 0.1, steps: 5}, model.backbone: vgg16}",
    )
    run = plan.runs[0].run.spec
    assert (run.train.lr, run.train.steps, run.model.backbone) == (0.2, 5, "vgg16")


def test_what_two_ablations_share_is_one_run(spec):
    one = spec("{question: q, common: {train.steps: 5}, variants: {a: {model.skip: fcn8s}}}")
    two = spec("{question: r, common: {train.steps: 5}, grid: {model.skip: [fcn32s, fcn8s]}}")
    assert one.runs[0].run.id == two.runs[1].run.id
    assert one.runs[0].run.id != two.runs[0].run.id


BASE = "common: {train.steps: 1}\nquestion: q\n"


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "../x",
        "a/../../x",
        "/etc/x",
        "a//b",
        ".",
        "a/",
        "C:x",
        r"a\x",
        "a\0",
        "\x1b[2J",
        "å" * 150,
    ],
)
@pytest.mark.parametrize("key", ["name", "evaluate.split"])
def test_a_name_that_becomes_a_path_stays_below_its_folder(spec, key, name):
    """The report's folder, the file of a split's counts."""
    text = BASE + "variants: {a: {}}"
    with pytest.raises(InputError, match=f"{key}: .*name of a file"):
        spec(text, {key: name})
    if key == "name":
        assert spec(text, {key: "my street/größe 2"}).name == "my street/größe 2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("variants: {a: {}}\nquestoin: q\nquestion: q", r"questoin: unknown key.*'question'"),
        ("question: q", "give `variants` or `grid`"),
        ("question: q\nvariants: {a: {}}", r"train\.steps or train\.epochs"),
        (BASE + "variants: {a: {model.skp: x}}", r"variant a: model\.skp: .*mean 'skip'"),
        (BASE + "variants: {a: {train.lr: fast}}", r"variant a: train\.lr: .*number.*'fast'"),
        (BASE + "variants: {a: {model: resnet}}", r"variant a: model: .*'resnet'"),
        (BASE + "variants: {a: {seed.x: 1}}", r"seed"),
        (BASE + "variants: {a: {}}\nbaseline: b", "baseline: unknown variant 'b'"),
        (BASE + "variants: {fcn32s: {train.init_from: fcn23s}}", "did you mean 'fcn32s'"),
        (BASE + "variants: {a: {train.init_from: a}}", "cycle among a"),
        (BASE + "variants: {a: {train.split: trian}}", "did you mean 'train'"),
        (BASE + "grid: {model.skip: [a, a]}", "'a' twice"),
        (BASE + "grid: {model.skip: [a]}\nexclude: [{model.skip: a}]", "leaves no combination"),
        (BASE + "grid: {model.skip: [a]}\nexclude: [{model.skp: a}]", r"'model\.skip'"),
        (BASE + "grid: {model.skip: [abc]}\nexclude: [{model.skip: abd}]", "'abc'"),
        (BASE + "variants: {a: {}}\nadjust: [{when: {model.bakbone: x}, set: {}}]", "'backbone'"),
        (BASE + "variants: {a: {}}\nseeds: [1, 1]", "twice"),
        (BASE + "variants: {a: {}}\npublished: [{variant: z, source: s}]", "variant 'z'"),
        (BASE + "variants: {a: {}}\nbase: shapes/bse", "did you mean 'shapes/base'"),
        (BASE + "variants: {a: {}}\nbase: quickstart", "base 'quickstart' is an ablation"),
        (BASE + "variants: {a: {}}\nbase: mine.yaml", "cycle"),
    ],
)
def test_a_mistake_is_one_paragraph_with_the_way_out(spec, text, said):
    with pytest.raises(InputError, match=said) as caught:
        spec(text)
    assert "\n" not in str(caught.value)


def test_a_cycle_of_bases_is_named(spec):
    with pytest.raises(InputError, match=r"cycle.*a\.yaml -> .*b\.yaml -> .*a\.yaml"):
        spec("{question: q, base: a.yaml, variants: {x: {}}}", a="base: b.yaml", b="base: a.yaml")


def test_an_unknown_ablation_gets_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'quickstart'"):
        load_ablation("quikstart")


IDS = {
    "camvid/backbones-by-skips": "ff13cbb25c4e",
    "camvid/backbones-by-skips-cpu": "ff095255d909",
    "camvid/deterministic": "8738a65fc4d3",
    "camvid/fcn8s-from-scratch": "b0e575286927",
    "camvid/fcn8s-from-scratch-cpu": "b646d6f9cda6",
    "camvid/pretrained/fcn": "20cfcca3cd27",
    "camvid/pretrained/fcn8s": "de97b7195038",
    "camvid/pretrained/finetuning": "67260e9220c7",
    "camvid/pretrained/rates": "4a4d8b652b07",
    "camvid/pretrained/recipe": "82df011a3a37",
    "camvid/pretrained/strategies": "94072c2c26c6",
    "camvid/pretrained/scratch-or-pretrained": "d2ac8018d702",
    "camvid/pretrained/skips": "bad0948247e3",
    "camvid/precision-cpu": "ef4ab770ffc3",
    "camvid/recipe": "9a3d7b21853b",
    "camvid/recipe-cpu": "1cd974eebf0e",
    "paper/backbones": "4ca39e342072",
    "paper/choices": "8b538a0ca04b",
    "paper/context": "412155bdb719",
    "paper/masking": "5d7c77b21017",
    "paper/nyudv2": "e5c233e91aaf",
    "paper/optimisation": "a728c2aa87d5",
    "paper/sampling": "cd855bdcd3af",
    "paper/siftflow": "f3317735c023",
    "paper/skips": "c6b06d5aea93",
    "paper/upsampling": "802654c36514",
    "paper/voc": "ae7de5ade032",
    "quickstart": "eca640540c21",
    "quickstart-pretrained": "bbdaf59a1bdc",
    "recipes/augmentations": "291f397f8c8f",
    "recipes/finetuning": "0d9e20d50ce5",
    "recipes/learning-curve": "a1363bcb2496",
    "recipes/losses": "5d499e8c2568",
    "recipes/optimizers": "72b97889023b",
    "recipes/tuned-backbones": "0b5998dd1a60",
}
"""Hash of the ids of a shipped ablation's runs over FACTS: what was trained is found again."""


@pytest.mark.parametrize("name", list_ablations())
def test_every_shipped_ablation_expands_to_the_runs_it_always_did(name):
    splits = FACTS.num_images | MORE_SPLITS
    plan = expand(load_ablation(name), lambda data: replace(FACTS, num_images=splits))
    assert plan.name == name
    ids = "".join(planned.run.id for planned in plan.runs)
    assert hashlib.sha256(ids.encode()).hexdigest()[:12] == IDS[name]


def test_the_ids_of_runs_whose_norms_are_held_now_and_of_no_others_have_moved():
    """What an EfficientNet's frozen norms were trained on is not what they are held at."""
    moved = set()
    for name in list_ablations():
        plan = expand(
            load_ablation(name),
            lambda data: replace(FACTS, num_images=FACTS.num_images | MORE_SPLITS),
        )
        for planned in plan.runs:
            if planned.run.id != planned.run._hash(planned.run._left_out(), BF16_SEMANTICS):
                moved.add((name, planned.variant))
    assert moved == {
        ("camvid/pretrained/finetuning", "frozen"),
        ("camvid/pretrained/finetuning", "thawed"),
        ("camvid/pretrained/skips", "lite0-fixed"),
    }


def test_epochs_become_steps_in_one_place():
    train = TrainSpec(epochs=1.5, batch_size=4, grad_accum_steps=2)
    assert resolve_steps(train, num_images=10).steps == 2  # 15 images, 8 a step


DRAWN = """
question: How many images does it take?
common: {train.epochs: 2, train.batch_size: 5, train.split: train}
grid: {data.train_fraction: [0.1, 0.5, 1.0]}
"""


def test_epochs_are_of_the_share_and_the_whole_share_is_the_run_it_always_was(spec):
    plan = spec(DRAWN)
    assert [p.run.spec.train.steps for p in plan.runs] == [4, 20, 40]
    plain = spec("question: q\ncommon: {train.epochs: 2, train.batch_size: 5}\nvariants: {a: {}}")
    assert plan.runs[2].run.id == plain.runs[0].run.id
    seeded = spec(DRAWN, {"data.draw_seed": 1})
    assert seeded.runs[2].run.id == plain.runs[0].run.id  # where nothing is drawn
    assert seeded.runs[0].run.id != plan.runs[0].run.id


def test_a_share_of_nothing_is_refused(spec):
    with pytest.raises(InputError, match=r"variant 0.001: data.train_fraction 0.001 .* less than"):
        spec(DRAWN.replace("0.1,", "0.001,"))


def test_folds_are_runs_of_their_own_and_must_be_what_judges(spec):
    text = "question: q\ncommon: {train.steps: 5, data.folds: 4, evaluate.split: train}\n"
    grid = "grid: {data.fold: [0, 1, 2, 3]}\n"
    plan = spec(text + grid)
    assert len({p.run.id for p in plan.runs}) == 4
    with pytest.raises(InputError, match=r"write evaluate\.split: train"):
        spec(text.replace(", evaluate.split: train", "") + grid)
    with pytest.raises(InputError, match="fold 4 is none of 4 folds; they are 0 to 3"):
        spec(text + "grid: {data.fold: [4]}")
    with pytest.raises(InputError, match="fold 1 is of no folds"):
        spec("question: q\ncommon: {train.steps: 5}\ngrid: {data.fold: [0, 1]}")


@pytest.mark.parametrize("name", list_ablations())
def test_every_shipped_claim_can_be_judged(name):
    """Names in claims are variants, values and factors of their own question."""
    splits = FACTS.num_images | MORE_SPLITS
    plan = expand(load_ablation(name), lambda data: replace(FACTS, num_images=splits))
    questions = resolve_claims(plan)
    assert len(questions) == len(plan.claims)
    assert all(question.asked for question in questions)
    assert plan.claims or name in WITHOUT_CLAIMS


WITHOUT_CLAIMS = {"camvid/pretrained/fcn", "camvid/pretrained/fcn8s"}  # each has one variant
"""What it expects is a published number, which no variant is."""


@pytest.mark.parametrize("name", list_ablations())
def test_epochs_that_a_spec_speaks_of_are_those_of_its_runs(name):
    """Of the images that it trains on: a sequence that is held out is not among them."""
    plan = expand(load_ablation(name), outlined, sources_of=lambda spec: {})
    text = f"{plan.question} {plan.expectation} {plan.note}"
    spoken = {int(number) for number in re.findall(r"(\d+) epochs", text)}
    seen = set()
    for planned in plan.runs:
        train, facts = planned.run.spec.train, outlined(planned.run.spec.data)
        images = (train.steps or 0) * train.batch_size * train.grad_accum_steps
        seen.add(round(images / facts.num_images[train.split]))
    assert spoken <= seen


def outlined(data):
    assert data.dataset in list_datasets()
    if data.dataset == "shapes":  # drawn, as many as are asked for
        return FACTS
    return outline_facts(data, find_outline(data))
