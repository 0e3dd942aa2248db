"""What should exist: the runs of one ablation, in order, with everything a report needs to know.

In: resolved settings and data fingerprints. Out: `Plan`, whose runs carry ids.
A run's id is the hash of its content; two plans that ask for the same run share it.
"""

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any

from pydantic import Field

from bench.claims import Claim
from bench.looks import Looks
from bench.scoring import USUAL, Scoring
from bench.settings.calls import read_call
from bench.settings.keys import RENAMED, rename_keys, require_one_name
from bench.spec import MASKS, EvaluateSpec, Fraction, ModelSpec, Name, RunSpec, Schema, parse
from bench.tuning import Tuning
from fcn.errors import InputError

RunId = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]

SEMANTICS = 2
"""Version of what settings mean. Raise it when code changes results, or a default changes, without
a changed key: every run then has a new id.
2: resized images are whole numbers, as Pillow makes them."""

STAGED_SEMANTICS = 2
"""The same of runs that start from another's weights, whose ids change with their parent's too.
2: their new scores start at zero."""

BF16_SEMANTICS = 2
"""The same of runs in bf16, one by one: ids of version 1 have no word of it.
2: the loss's own backward, from pixels to scores, is computed in fp32."""

COUNTED = ("boundary", "surface", "calibration")
"""Keys of `evaluate` that have more counted of the final scores."""

JUDGING = ("split", "mask", *COUNTED)
"""Keys of `evaluate` that training does not see: they say how the trained network is judged."""

NORM_SEMANTICS = 2
"""The same of runs that freeze parts or have a rate for norms, whose backbone is none of
`PLAIN_NORMS`: ids of version 1 have no word of it.
2: norms that hold their activation, as those of timm's EfficientNets, are norms too."""

PLAIN_NORMS = re.compile(
    r"(?!\w*(_clip|_mlp|_mci|ts\b|_r\d|_r_|net(32|33|51|61)))"  # relatives of others
    r"(alexnet|caffenet|googlenet|vgg\d|(wide_)?resnet\d|test_resnet|resnext\d"
    r"|convnext|vit_|deit|swin_)"
)
"""How names of backbones begin whose norms are layers by themselves, and always were norms."""


@dataclass(frozen=True)
class Run:
    """One resolved variant with its seed."""

    spec: RunSpec
    """Settings, with durations in steps."""
    fingerprint: str
    """Fingerprint of the dataset's content."""
    parent: str | None = None
    """Id of the run whose weights this one starts from."""
    streams: tuple[str, ...] = ()
    """Ids of the runs whose networks are the streams of late fusion at the start."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """By key of the spec: what stands behind a name in it that is none of ours: the digest of a
    weights file or of a plugin's code, the version of a library. See `bench.sources`."""
    groups: str = ""
    """Digest of the groups that a draw of its images keeps whole; empty where it keeps none. They
    are no part of the fingerprint, since no other score needs them."""
    named: str | None = None
    """Id that an earlier version gave it, by other rules; None where today's id is the same."""

    @property
    def parents(self) -> tuple[str, ...]:
        """Ids of all runs that must be done before."""
        return (self.parent, *self.streams) if self.parent is not None else self.streams

    @property
    def num_images(self) -> int:
        """Images that training sees, each as often as it comes."""
        train = self.spec.train
        return (train.steps or 0) * train.batch_size * train.grad_accum_steps

    @cached_property
    def id(self) -> str:
        """Sixteen hex digits: the hash of everything that can change the result."""
        return self.named or self._hash(self._left_out(), BF16_SEMANTICS, NORM_SEMANTICS)

    @cached_property
    def training(self) -> str:
        """Digest of what training sees: the same of twins, which differ in how they are judged."""
        return self._judged({name: EvaluateSpec.model_fields[name].default for name in JUDGING}).id

    def twins(self, splits: Iterable[str]) -> Iterator[str]:
        """Yield the ids of the runs that train as this one does, and are judged by these splits."""
        masks = sorted(MASKS, key=lambda mask: mask != self.spec.judging_mask)
        for split, mask, *counted in itertools.product(splits, masks, *[(False, True)] * 3):
            judge = {"split": split, "mask": mask, **dict(zip(COUNTED, counted, strict=True))}
            if (run_id := self._judged(judge).id) != self.id:
                yield run_id

    def is_twin(self, other: "Run") -> bool:
        """Say whether this run, judged as another is, would be that one."""
        judge = {name: getattr(other.spec.evaluate, name) for name in JUDGING}
        return self.id != other.id == self._judged(judge).id

    @property
    def judging_order(self) -> tuple[Any, ...]:
        """By which the first of twins is the one that trains: it is judged as it was trained."""
        judge, mask = self.spec.evaluate, self.spec.judging_mask
        counted = [getattr(judge, name) for name in COUNTED]
        return mask != self.spec.data.mask, MASKS.index(mask), *counted, judge.split

    def _judged(self, judge: Mapping[str, Any]) -> "Run":
        evaluate = self.spec.evaluate.model_copy(update=judge)
        spec = self.spec.model_copy(update={"evaluate": evaluate})
        return replace(self, spec=spec, named=None)

    def under(self, run_id: str) -> "Run | None":
        """Return this run as it is called `run_id`, by today's rules or earlier ones; or None."""
        if run_id == self.id:
            return self
        earlier = (self._hash((), 1), self._hash(self._left_out(), BF16_SEMANTICS))
        return replace(self, named=run_id) if run_id in earlier else None

    def require_current(self) -> None:
        """Refuse to make, or to go on with, what an earlier version began: numbers would be mixed.

        Raises:
            InputError: The run's id is of an earlier version.
        """
        if self.named is not None:
            raise InputError(
                f"run {self.id} was begun by an earlier version, which would have made another "
                "result of it; `fcn-bench run` with its spec makes it again, under another id"
            )

    def _left_out(self) -> tuple[tuple[str, str], ...]:
        """Return the keys that change no result."""
        return ("train", "checkpoint_activations"), *_idle_keys(self.spec)

    def _hash(
        self,
        left_out: Iterable[tuple[str, str]],
        bf16_semantics: int,
        norm_semantics: int = 1,
    ) -> str:
        spec = self.spec.model_dump(mode="json", exclude_defaults=True)
        # Of names the ids of the parents, of a path the file's digest, are the content.
        names = [("train", "init_from"), ("train", "init_streams")]
        names += [("model", "pretrained")] if "model.pretrained" in self.sources else []
        for section, key in (*names, *left_out):
            if spec.get(section, {}).pop(key, None) is not None and not spec[section]:
                del spec[section]
        for old, new in RENAMED.items():  # ids keep the names that the first of them had
            section, key = new.split(".")
            if key in spec.get(section, {}):
                spec[section][old.split(".")[1]] = spec[section].pop(key)
        semantics = SEMANTICS if self.parent is None else STAGED_SEMANTICS
        content = [semantics, spec, self.fingerprint, self.parent]
        content += [self.streams] if self.streams else []
        content += [dict(self.sources)] if self.sources else []
        content += [{"groups": self.groups}] if self.groups else []
        if self.spec.train.precision == "bf16" and bf16_semantics > 1:
            content += [{"bf16": bf16_semantics}]
        if norm_semantics > 1 and _asks_for_norms(self.spec):
            content += [{"norms": norm_semantics}]
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return plain values that `from_json` reads back."""
        spec = self.spec.model_dump(mode="json")
        more: dict[str, Any] = {"streams": list(self.streams)} if self.streams else {}
        more |= {"sources": dict(self.sources)} if self.sources else {}
        more |= {"groups": self.groups} if self.groups else {}
        return {"fingerprint": self.fingerprint, "parent": self.parent, **more, "spec": spec}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], *, where: str) -> "Run":
        """Read what `to_json` wrote, of whatever version; `where` names the source in errors.

        Raises:
            InputError: It is something else.
        """
        spec, met = rename_keys(values.get("spec"))
        require_one_name(met, where)
        values = {**values, "spec": spec}
        written = parse(_WrittenRun, values, where=where, stored=True)
        return cls(**{name: getattr(written, name) for name in _WrittenRun.model_fields})


class _WrittenRun(Schema):
    """A run as it lies in a store."""

    spec: RunSpec
    fingerprint: str
    parent: RunId | None
    streams: tuple[RunId, ...] = ()
    sources: dict[str, str] = {}
    groups: str = ""


NO_FUSION = ("fcn32s", "pool3", "pool4", "pool5", "hypercolumn", "unet", "unet4s")
"""Our skips that fuse nothing: `model.fusion` then changes nothing. A plugin's are not among them:
an id does not depend on what is loaded."""

ONE_DEPTH = ("fcn32s", "pool3", "pool4", "pool5")
"""Our skips whose only upsampling is the last."""


def _idle_keys(spec: RunSpec) -> Iterator[tuple[str, str]]:
    """Yield the keys that another key's choice makes meaningless, as section and name."""
    model = spec.model
    if model.external is not None:
        used = ("external", "pretrained", "input_fusion")
        yield from (("model", key) for key in ModelSpec.model_fields if key not in used)
    elif model.skip in NO_FUSION:
        yield "model", "fusion"
        if model.skip in ONE_DEPTH and model.upsampling_last is not None:
            yield "model", "upsampling"
    if len(spec.data.inputs) == 1:
        yield "model", "input_fusion"
    if spec.data.folds is None and spec.data.train_fraction == 1:
        yield from (("data", "draw_by"), ("data", "draw_seed"))
    if spec.train.schedule != "poly":
        yield "train", "power"
    if read_call(spec.train.optimizer).name not in ("sgd", "adamw"):
        yield "train", "momentum"
    if not spec.evaluate.eval_every:
        yield "evaluate", "eval_split"
    if spec.evaluate.mask == spec.data.mask:
        yield "evaluate", "mask"
    if spec.data.mask == "none" == spec.judging_mask:
        yield "data", "background"


def _asks_for_norms(spec: RunSpec) -> bool:
    """Say whether it matters to a run which layers of its network are norms beyond the plain."""
    model, train = spec.model, spec.train
    if not (train.freeze or "norm" in train.groups):
        return False
    if model.external is None:
        return PLAIN_NORMS.match(model.backbone) is None
    is_timms = "tu-" in model.external or "timm-" in model.external
    return is_timms or not model.external.startswith(("torchvision/", "smp/"))


@dataclass(frozen=True)
class PlannedRun:
    """A run in its place in an ablation."""

    variant: str
    """Name of the answer that this run is one seed of."""
    run: Run


CLAIMS, EFFECT, RANKING = ANSWERS = ("claims", "effect", "ranking")
"""What a report may begin with: verdicts on claims, what changes bring, the order of variants."""


class Published(Schema):
    """A number from the literature, shown beside ours. Scores are fractions."""

    variant: Name
    """The variant it belongs to."""
    source: Name
    """Where it is printed: paper and table."""
    differs: str = ""
    """What differs from our protocol."""
    pixel_acc: Fraction | None = None
    """Pixel accuracy, a fraction: 0.903 for 90.3 %."""
    mean_acc: Fraction | None = None
    """Mean accuracy over classes, a fraction."""
    miou: Fraction | None = None
    """Mean IoU, a fraction."""
    fw_iou: Fraction | None = None
    """Frequency-weighted IoU, a fraction."""
    verified: bool = True
    """false when the number was not checked against its source."""
    target: Name | None = None
    """Target that it is of, one of `data.targets` beside the first; none for the first."""


@dataclass(frozen=True)
class Plan:
    """An ablation made concrete: what a report is about, whether or not it exists yet."""

    name: str
    question: str
    expectation: str
    runs: tuple[PlannedRun, ...]
    """Parents before children."""
    baseline: str | None = None
    """Variant that the others are compared with."""
    published: tuple[Published, ...] = ()
    margin: float | None = None
    """Smallest difference of the primary score that matters, a fraction; None for none."""
    claims: tuple[Claim, ...] = ()
    """What is expected, judged by the report."""
    answer: str = ""
    """What the report begins with, one of `ANSWERS`; empty for what suits the question."""
    spread_of: "Plan | None" = None
    """Another question whose runs tell how far seeds spread."""
    note: str = ""
    """What a reader must know about the protocol."""
    command: str = ""
    """The command that makes the report again."""
    remarks: tuple[str, ...] = ()
    """What a reader must know of how the plan came about: remembered sources, unreadable runs."""
    spec_file: str = ""
    """Absolute path of the spec's file; empty for one that is found by its name alone."""
    looks: Looks | None = None
    """Where its claims ask for seeds as they are needed: what was found so far. The runs are then
    those of the latest look, or of the one that is to be taken."""
    is_part: bool = False
    """Whether somebody left variants of the question out, to try the others."""
    tuning: Tuning | None = None
    """Where its variants get their best of some values: what was tried. A variant for which nothing
    is chosen yet stands here with the first of its values, and none of these runs counts for it."""
    tries: tuple["PlannedRun", ...] = ()
    """The runs by which values are chosen, under names of their own."""
    scoring: Scoring = USUAL
    """What is made of counts: which score decides, which others are shown, which classes count."""

    def digest(self, claim: Claim) -> str:
        """Return what tells a claim of it from any other, sixteen hex digits."""
        is_usual = claim.cost or self.scoring.primary == "miou"
        decides = [] if is_usual or claim.score else [self.scoring.primary]
        means = [] if claim.cost else [self.scoring.describe()]
        return claim.digest(self.margin, " ".join(filter(None, [*decides, *means])))

    @property
    def variants(self) -> list[str]:
        """Names of the variants, in the order of the spec."""
        return list(dict.fromkeys(planned.variant for planned in self.runs))

    @property
    def unsettled(self) -> frozenset[str]:
        """Variants for which no values are chosen yet: their runs are not known."""
        return frozenset(self.tuning.open if self.tuning else ())

    @property
    def settled(self) -> tuple["PlannedRun", ...]:
        """The runs whose settings are known."""
        unsettled = self.unsettled
        return tuple(one for one in self.runs if one.variant not in unsettled)

    def choosing(self, *, again: bool = False) -> "Plan":
        """Return the plan of the runs by which is still to be chosen, and those they start from.

        `again`: of all runs by which is chosen.
        """
        tried, unsettled = self.tuning.tried if self.tuning else (), self.unsettled
        names = {one.name for one in tried if again or one.is_chosen or one.variant in unsettled}
        runs = tuple(one for one in self.tries if one.variant in names)
        return replace(
            self, runs=runs, tries=runs, baseline=None, published=(), looks=None, tuning=None
        )

    @property
    def fingerprints(self) -> set[str]:
        """Fingerprints of all datasets in it."""
        return {planned.run.fingerprint for planned in self.runs}

    @property
    def doubles(self) -> list[list[str]]:
        """Names of variants that are one and the same run, together, in the order of the spec."""
        sharing: dict[str, list[str]] = {}
        for planned in self.settled:
            sharing.setdefault(planned.run.id, []).append(planned.variant)
        groups = {tuple(names): None for names in sharing.values() if len(names) > 1}
        return [list(names) for names in groups]

    @property
    def trained_before(self) -> dict[str, list[str]]:
        """Ids of the runs whose training each of some runs takes over, by its own id."""
        alike: dict[str, list[Run]] = {}
        for run in self.unique_runs():
            alike.setdefault(run.training, []).append(run)
        found = {}
        for runs in alike.values():
            ordered = sorted(runs, key=lambda run: run.judging_order)
            for number, run in enumerate(ordered):
                if earlier := [one.id for one in ordered[:number] if run.is_twin(one)]:
                    found[run.id] = earlier
        return found

    def unique_runs(self) -> Iterator[Run]:
        """Yield each run once, parents first, though two variants may share it."""
        yield from {planned.run.id: planned.run for planned in self.runs}.values()

    def first_seeds(self) -> Iterator[PlannedRun]:
        """Yield one run of each variant: seeds do not change what is possible."""
        firsts: dict[str, PlannedRun] = {}
        for planned in self.runs:
            firsts.setdefault(planned.variant, planned)
        yield from firsts.values()
