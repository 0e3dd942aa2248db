"""What a question claims: sentences that its report judges, as typed records.

In: a sentence, or a mapping with the same parts. Out: a `Claim`. Names are looked up later, when
the variants are known. Sentences need no quotes in YAML:

    fcn8s > fcn32s by 0.01 for every model.backbone
    fcn8s > fcn16s on average over model.backbone
    fcn8s > fcn32s by 0.05 IoU[Pole, Fence] for every model.backbone
    gain fcn32s -> fcn8s in alexnet > resnet18
    vgg11_bn-fcn8s = googlenet-fcn8s within 0.01
    googlenet-fcn8s > alexnet-fcn8s in pixel_acc
    train_seconds of googlenet-fcn8s <= 0.5 * vgg11_bn-fcn8s
"""

import hashlib
import json
import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from bench.metrics import find_metric
from bench.spec import Schema
from fcn.errors import InputError
from fcn.registry import unknown_name

COSTS = ("num_parameters", "gmacs", "latency_ms", "step_memory_mib", "train_seconds")
"""Costs that a claim may be about."""
ALIASES = {"mIoU": "miou", "pixel acc": "pixel_acc", "mean acc": "mean_acc", "f.w. IoU": "fw_iou"}
"""Scores as a reader knows them."""
ALLOWED = (
    "write  A > B by 0.01 for every FACTOR,  A = B within 0.01,  "
    "gain B -> A in X > Y,  or  COST of A <= 0.5 * B"
)
Part = Annotated[str, Field(min_length=1)]


class Claim(Schema):
    """One sentence that can be held, or not."""

    left: Part
    """A variant, or a value of a factor; of a gain the context in which it is larger."""
    right: Part
    """What `left` is compared with: likewise a variant, a value, or a context."""
    relation: Literal[">", "=", "<="] = ">"
    """More than, as much as (within `by`), or, of costs, at most."""
    by: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Fraction by which, 0.01 for a point of mIoU; none for 0, and of `=` for the question's
    `margin`."""
    score: str = ""
    """A score by name; empty for the question's primary one."""
    classes: tuple[Part, ...] = ()
    """Classes whose IoU it is about, each; none for `score`."""
    every: str = ""
    """Key of the grid, such as model.backbone, for each of whose values it is claimed."""
    over: str = ""
    """Key of the grid over whose values the mean difference is claimed."""
    gain: tuple[Part, Part] | None = None
    """Values before and after, whose difference is compared between two contexts."""
    cost: str = ""
    """Cost that is compared in place of a score: num_parameters, gmacs (billions of multiply-adds),
    latency_ms, step_memory_mib or train_seconds; written with `<=`."""
    times: Annotated[float, Field(gt=0)] = 1.0
    """Factor on the right side's cost: 0.5 claims at most half of it."""

    @model_validator(mode="after")
    def _fitting_together(self) -> "Claim":
        if self.every and self.over:
            raise ValueError("is claimed for every value, or on average, not both")
        if bool(self.cost) != (self.relation == "<="):
            raise ValueError("of a cost is written with <=, and of a score with > or =")
        if self.cost and self.cost not in COSTS:
            raise ValueError(unknown_name("cost", self.cost, COSTS))
        if self.score:
            try:
                find_metric(self.score)
            except InputError as error:
                raise ValueError(str(error)) from None
        if self.cost and (self.gain or self.classes or self.by is not None):
            raise ValueError("of a cost has no gain, classes or margin, but a factor")
        if (self.cost or self.gain) and (self.every or self.over):
            raise ValueError(
                "of a cost or a gain is about the values it names, not all of a factor"
            )
        for one, other in ((self.left, self.right), self.gain or ("", None)):
            if one == other:
                raise ValueError(f"compares {one} with itself; name two")
        return self

    def __str__(self) -> str:
        """Write it as a sentence."""
        if self.cost:
            times = f"{self.times:g} * " * (self.times != 1)
            return f"{self.cost} of {self.left} <= {times}{self.right}"
        what = self.score
        what = f"IoU[{', '.join(self.classes)}]" if self.classes else what
        if self.by is None:
            how = f" in {what}" * bool(what)
        else:
            verb = "within" if self.relation == "=" else "by"
            how = f" {verb} {self.by:g} {what}".rstrip()
        scope = f" for every {self.every}" * bool(self.every)
        scope += f" on average over {self.over}" * bool(self.over)
        gain = f"gain {self.gain[0]} -> {self.gain[1]} in " if self.gain else ""
        return f"{gain}{self.left} {self.relation} {self.right}{how}{scope}"

    def under(self, primary: str) -> "Claim":
        """Return the claim as a question with this primary score has it: without naming that."""
        return self.model_copy(update={"score": ""}) if self.score == primary else self

    def digest(self, margin: float | None, means: str = "") -> str:
        """Return what tells it from any other, sixteen hex digits.

        Args:
            margin: The question's, which `=` takes where it says none.
            means: What the question's means over classes are, where it is not the usual.
        """
        own = self.by if self.by is not None else margin if self.relation == "=" else None
        told = str(self.under("miou"))  # as it was before questions had another
        content = json.dumps([told, own, *([means] if means else [])])
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def read_claim(given: Any) -> Any:
    """Take a sentence apart into the fields of `Claim`; anything else is left as it is.

    Raises:
        ValueError: It is a sentence that says no claim.
    """
    if not isinstance(given, str):
        return given
    text = " ".join(given.split())
    for pattern in (_GAIN, _COST, _SCORE):
        if match := pattern.fullmatch(text):
            return _to_fields({key: value for key, value in match.groupdict().items() if value})
    raise ValueError(f"{text!r} is no claim; {ALLOWED}")


def _to_fields(found: dict[str, str]) -> dict[str, Any]:
    kept = ("left", "right", "every", "over", "cost")
    values: dict[str, Any] = {key: found[key] for key in kept if key in found}
    if "before" in found:
        values["gain"] = (found["before"], found["after"])
    if "cost" in found:
        return values | {"relation": "<=", "times": float(found.get("times", 1))}
    relation = found["relation"]
    if relation == "<":
        values |= {"left": found["right"], "right": found["left"]}
        relation = ">"
    values["relation"] = relation
    if "by" in found:
        values["by"] = float(found["by"])
    if score := found.get("score") or found.get("what"):
        match = re.fullmatch(r"IoU\[(.+)\]", score)
        if match:
            values["classes"] = tuple(name.strip() for name in match[1].split(","))
        else:
            values["score"] = ALIASES.get(score, score)
    return values


_NUMBER = r"\d*\.?\d+(?:[eE]-?\d+)?"
_HOW_MUCH = (
    r"(?: in (?P<what>IoU\[[^\]]+\]|(?!for every|on average|by |within ).+?))?"
    rf"(?: (?:by|within) (?P<by>{_NUMBER})"
    r"(?: (?P<score>IoU\[[^\]]+\]|(?!for every|on average).+?))?)?"
)
_SCOPE = r"(?: for every (?P<every>\S+)| on average over (?P<over>\S+))?"
_SCORE = re.compile(rf"(?P<left>\S+) (?P<relation>[<>=]) (?P<right>\S+){_HOW_MUCH}{_SCOPE}")
_GAIN = re.compile(
    r"gain (?P<before>\S+) -> (?P<after>\S+) in (?P<left>\S+) (?P<relation>[<>=]) (?:in )?"
    rf"(?P<right>\S+){_HOW_MUCH}"
)
_COST = re.compile(
    rf"(?P<cost>\w+) of (?P<left>\S+) <= (?:(?P<times>{_NUMBER}) ?\* ?)?(?P<right>\S+)"
)

Sentence = Annotated[Claim, BeforeValidator(read_claim)]
"""A claim as a spec has it."""
