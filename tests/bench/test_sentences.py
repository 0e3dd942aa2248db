"""Claims as people write them: sentences without quotes, mappings, and what is refused."""

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from bench.claims import Claim, Sentence

READ = TypeAdapter(Sentence).validate_python

SENTENCES = {
    "fcn8s > fcn32s": Claim(left="fcn8s", right="fcn32s"),
    "a > b by 0.01 for every model.backbone": Claim(
        left="a", right="b", by=0.01, every="model.backbone"
    ),
    "a > b on average over model.skip": Claim(left="a", right="b", over="model.skip"),
    "a > b by 0.02 pixel_acc": Claim(left="a", right="b", by=0.02, score="pixel_acc"),
    "a > b by 0.05 IoU[Pole, Sign Symbol] for every x": Claim(
        left="a", right="b", by=0.05, classes=("Pole", "Sign Symbol"), every="x"
    ),
    "a > b in mean_acc for every x": Claim(left="a", right="b", score="mean_acc", every="x"),
    "a > b in IoU[Sign Symbol, Pole]": Claim(left="a", right="b", classes=("Sign Symbol", "Pole")),
    "gain a -> b in x > y in fw_iou": Claim(left="x", right="y", gain=("a", "b"), score="fw_iou"),
    "a = b within 0.01": Claim(left="a", right="b", relation="=", by=0.01),
    "gain a -> b in x > y": Claim(left="x", right="y", gain=("a", "b")),
    "gain a -> b in x > y by 0.02": Claim(left="x", right="y", gain=("a", "b"), by=0.02),
    "train_seconds of a <= 0.5 * b": Claim(
        left="a", right="b", relation="<=", cost="train_seconds", times=0.5
    ),
    "latency_ms of a <= b": Claim(left="a", right="b", relation="<=", cost="latency_ms"),
}


@pytest.mark.parametrize("text", SENTENCES)
def test_a_sentence_is_read_from_yaml_without_quotes_and_written_again(text):
    (given,) = yaml.safe_load(f"claims:\n  - {text}\n")["claims"]
    assert given == text
    claim = READ(given)
    assert claim == SENTENCES[text]
    assert READ(str(claim)) == claim
    assert READ(claim.model_dump()) == claim  # the explicit form


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a < b", "b > a"),
        ("a > b in pixel acc by 0.1", "a > b by 0.1 pixel_acc"),
        ("a > b by 0.01 mIoU", "a > b by 0.01 miou"),
        ("gain a -> b in x > in y", "gain a -> b in x > y"),
        ("  a   >  b ", "a > b"),
        ("latency_ms of a <= .5*b", "latency_ms of a <= 0.5 * b"),
    ],
)
def test_what_is_written_otherwise_means_the_same(text, same):
    assert READ(text) == READ(same)


def test_the_primary_score_need_not_be_named():
    named, plain = READ("a > b by 0.01 mIoU"), READ("a > b by 0.01")
    assert named.under("miou") == plain
    assert named.digest(None) == plain.digest(None)
    assert named.under("dice") == named
    assert str(named) == "a > b by 0.01 miou"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("a is better than b", "is no claim; write"),
        ("a > b by 2", "less than 1"),
        ("trian_seconds of a <= b", "did you mean 'train_seconds'"),
        ("a > b by 0.1 miuo", "did you mean 'miou'"),
        ({"left": "a", "right": "b", "every": "x", "over": "y"}, "not both"),
        ({"left": "a", "right": "b", "cost": "gmacs"}, "written with <="),
        ({"left": "a", "rigth": "b"}, "rigth"),
        ("a > a by 0.1", "compares a with itself"),
        ("gmacs of a <= 0.5 * a", "compares a with itself"),
        ("gain none -> fcn8s in vgg16 > vgg16", "compares vgg16 with itself"),
        ("gain none -> none in vgg16 > alexnet", "compares none with itself"),
        ({"left": "a", "right": "b", "gain": ("x", "y"), "every": "z"}, "not all of a factor"),
    ],
)
def test_what_cannot_be_meant_is_refused(given, said):
    with pytest.raises(ValidationError) as caught:
        READ(given)
    assert said in str(caught.value)


def test_a_claim_is_told_from_others_by_all_that_it_says():
    digests = {READ(text).digest(0.01) for text in SENTENCES}
    assert len(digests) == len(SENTENCES)
    same = READ("a = b within 0.01"), Claim(left="a", right="b", relation="=")
    assert same[1].digest(0.01) != same[1].digest(0.02)  # whose margin is the question's
    assert same[0].digest(0.01) == same[0].digest(0.02)
