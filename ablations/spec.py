"""A question: what an ablation's YAML file may say.

Settings of runs are differences from a base, written with dotted keys (`model.skip: fcn16s`) or
nested; `bench.spec.RunSpec` says what they mean, and judges them once everything is put together.
"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from bench.claims import Sentence
from bench.plan import Published
from bench.scoring import USUAL, Scoring
from bench.settings.keys import flatten
from bench.spec import Name, Schema, Seed
from bench.text import require_path_below


def _require_one_spelling(differences: dict[str, Any]) -> dict[str, Any]:
    flatten(differences)
    return differences


Differences = Annotated[dict[str, Any], AfterValidator(_require_one_spelling)]
"""New values by key, dotted or nested; each key once."""


class Adjustment(Schema):
    """Differences for the variants that have certain values, such as a backbone's learning rate."""

    when: Differences
    """Which variants it is for: values by key, `{model.backbone: [vgg16, vgg19]}`; of a list of
    values, any of them."""
    set: Differences
    """The settings that these variants then have, `{train.lr: 1e-3}`."""

    @model_validator(mode="after")
    def _whatever_the_seed(self) -> Self:
        if "seed" in self.when:
            raise ValueError("`when` cannot tell seeds apart: a variant has one setting for all")
        return self


class Ablation(Schema):
    """A question, its variants, and how often each is run."""

    name: Annotated[Name, AfterValidator(require_path_below)]
    """Name by which it is found, and of its report's folder; a file's own name by default."""
    question: Name
    """What is asked, in a sentence."""
    expectation: str = ""
    """What is expected, in words, written before the runs. The report shows it; `claims` it
    judges."""
    note: str = ""
    """What a reader of the report must know about the protocol; the page shows it."""
    base: str | None = None
    """A file of settings that come before `common`, such as camvid/base: by its name, or a path
    ending in .yaml, relative to this file. None for the defaults alone."""
    common: Differences = {}
    """Settings of runs that all variants share, on top of `base`."""
    variants: dict[Name, Differences | None] = {}
    """Each variant by its name, with the settings that are its own, `{fcn8s: {model.skip: fcn8s}}`;
    `{}` where it has none."""
    grid: dict[Name, Annotated[list[Any], Field(min_length=1)]] = {}
    """In place of `variants`: values by key, `{model.backbone: [alexnet, vgg16]}`. The variants are
    all combinations, named by their values, alexnet-fcn8s."""
    exclude: list[Differences] = []
    """Combinations of the grid to leave out, by their values; of a list of values, each."""
    tune: dict[Name, Annotated[list[Any], Field(min_length=2)]] = {}
    """Values by key, of which each variant gets its best by `evaluate.eval_split`, tried with the
    first seed; of several keys each combination is tried."""
    adjust: list[Adjustment] = []
    """Settings that depend on other settings of a variant, such as a learning rate by backbone."""
    seeds: Annotated[list[Seed], Field(min_length=1)] = [0]
    """Each variant is run once with each of these. With one seed the report gives no verdict."""
    baseline: str | None = None
    """Variant from which differences are taken in tables; none for no such column."""
    published: list[Published] = []
    """Numbers from the literature, shown beside ours with what differs."""
    margin: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Smallest difference of mIoU that matters, a fraction: variants that surely differ by less are
    called equivalent. None calls nothing so."""
    claims: list[Sentence] = []
    """What is expected, in sentences that the report judges, such as `fcn8s > fcn32s by 0.01 for
    every model.backbone`."""
    score: Scoring = USUAL
    """Which score decides, which others are shown, and over which classes means are. Never part of
    a run: another mean of the same counts trains nothing."""
    answer: Literal["claims", "effect", "ranking"] | None = None
    """What the report begins with: the verdicts on claims, what changing one thing brings, or the
    order of variants. By default claims where there are any, effects for a grid, else a ranking."""
    spread_of: str | None = None
    """Another question, by name or path, whose runs on the same images tell how far seeds spread
    where this one has one seed."""

    _forced: dict[str, Any] = PrivateAttr(default_factory=dict)
    _written: "Ablation | None" = PrivateAttr(default=None)
    _notices: tuple[str, ...] = PrivateAttr(default=())
    _words: tuple[str, ...] = PrivateAttr(default=())

    @property
    def forced(self) -> Mapping[str, Any]:
        """What `--set` puts on top of every variant, by key; no file says it."""
        return self._forced

    @property
    def written(self) -> "Ablation":
        """The ablation without anything that `--set` says."""
        return self._written or self

    @property
    def notices(self) -> tuple[str, ...]:
        """What whoever wrote the files should know, such as names of keys that have changed."""
        return self._notices

    @property
    def words(self) -> tuple[str, ...]:
        """What a command says to ask this: its name or path, and each `--set`."""
        return self._words

    def with_words(self, words: Iterable[str]) -> Self:
        """Return the ablation as the command `fcn-bench run WORDS` asks it."""
        copy = self.model_copy()
        copy._words = tuple(words)
        return copy

    def with_notices(self, notices: Iterable[str]) -> Self:
        """Return the ablation with these notices."""
        copy = self.model_copy()
        copy._notices = tuple(notices)
        return copy

    def with_forced(self, forced: Mapping[str, Any], written: "Ablation") -> Self:
        """Return the ablation with `forced` on top of every variant of it."""
        copy = self.model_copy()
        copy._forced, copy._written = dict(forced), written
        return copy

    def written_as(self, written: "Ablation") -> Self:
        """Return the ablation as one that stands for `written`."""
        copy = self.model_copy()
        copy._written = written
        return copy

    @model_validator(mode="after")
    def _variants_or_grid(self) -> "Ablation":
        if bool(self.variants) == bool(self.grid):
            raise ValueError("give `variants` or `grid`, one of them and not empty")
        if self.exclude and not self.grid:
            raise ValueError("`exclude` leaves combinations of a `grid` out, and there is no grid")
        if len(set(self.seeds)) < len(self.seeds):
            raise ValueError(f"seeds {self.seeds} hold one twice")
        return self
