"""The spec, key by key: from the schemas that judge it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ablations.spec import Ablation, Adjustment
from ablations.tunable import is_tunable
from bench.claims import Claim
from bench.plan import Published
from bench.scoring import Scoring
from bench.settings.keys import RENAMED
from bench.spec import (
    AuxSpec,
    DataSpec,
    EvaluateSpec,
    GroupSpec,
    ModelSpec,
    RunSpec,
    Schema,
    TrainSpec,
)

QUESTION, RUN = "the question", "a run"

PARTS: tuple[tuple[str, str, type[Schema], str], ...] = (
    ("The question", "", Ablation, "What is asked. No key of it is part of a run's id."),
    ("`score`: which score decides", "score.", Scoring, ""),
    ("`adjust`: each of its entries", "adjust: ", Adjustment, ""),
    ("`published`: each of its entries", "published: ", Published, ""),
    (
        "`claims`: each, taken apart",
        "claims: ",
        Claim,
        "A claim is a sentence, or a mapping with its parts.",
    ),
    ("`model`: the network", "model.", ModelSpec, ""),
    ("`data`: the images", "data.", DataSpec, ""),
    ("`train`: the fitting", "train.", TrainSpec, ""),
    ("`train.groups`: each part", "train.groups.PART.", GroupSpec, ""),
    ("`train.aux`", "train.aux.", AuxSpec, ""),
    ("`evaluate`: the judging", "evaluate.", EvaluateSpec, ""),
)
"""Sections of the page: heading, what stands before a key, its schema, and a remark."""

LISTED = {
    "model.backbone": "backbones",
    "model.skip": "skips",
    "model.head": "heads",
    "model.upsampling": "upsamplings",
    "model.upsampling_last": "upsamplings",
    "model.fusion": "fusions",
    "data.dataset": "datasets",
    "train.loss": "losses",
    "train.optimizer": "optimizers",
    "train.schedule": "schedules",
    "train.augment": "augmentations",
    "score.primary": "metrics",
    "score.also": "metrics",
}
"""What names are known, by key: `fcn-bench list KIND`."""

NOT_IN_ID = {
    "train.checkpoint_activations": "Never part of a run's id: it changes no number.",
    "train.init_from": "In a run's id as the id of that run.",
    "train.init_streams": "In a run's id as the ids of those runs.",
    "model.pretrained": "In a run's id, a file or folder as the digest of what it holds.",
    "model.fusion": "In a run's id where the skip fuses something.",
    "model.upsampling": "In a run's id where the skip has it: pool3 has the last alone.",
    "model.input_fusion": "In a run's id where there are several `data.inputs`.",
    "data.draw_by": "In a run's id where there are folds or a share.",
    "data.draw_seed": "In a run's id where there are folds or a share.",
    "data.background": "In a run's id where a mask hides something.",
    "train.power": "In a run's id with the poly schedule.",
    "train.momentum": "In a run's id with sgd and adamw.",
    "train.epochs": "In a run's id as the number of steps.",
    "evaluate.eval_split": "In a run's id where `evaluate.eval_every` is not 0.",
    "evaluate.mask": "In a run's id where it differs from `data.mask`.",
}
"""Of keys that are not simply part of a run's id: when they are."""


def write() -> str:
    """Return the page."""
    parts = [_HEAD]
    for heading, before, schema, remark in PARTS:
        parts += [f"## {heading}", *([remark] if remark else [])]
        values = schema.model_json_schema()
        nested = values.get("$defs", {})
        for key, value in values["properties"].items():
            if not (schema is RunSpec and key != "seed"):
                required = key in values.get("required", ()) and key != "name"
                parts.append(entry(before + key, value, nested, required=required))
    old = [f"| `{earlier}` | [`{now}`](#{_anchor(now)}) |" for earlier, now in RENAMED.items()]
    return (
        "\n\n".join([*parts, _OLD, "\n".join(["| earlier | now |", "| --- | --- |", *old])]) + "\n"
    )


def entry(key: str, value: Mapping[str, Any], nested: Mapping[str, Any], *, required: bool) -> str:
    """Return what the page says of a key: what it does, may be, is by default, and is to ids."""
    told = " ".join(str(value.get("description", "")).split())
    default = "required" if required else f"default `{_spell(value.get('default'))}`"
    facts = [", ".join(dict.fromkeys(kinds(value, nested))), default]
    if key in LISTED:
        facts.append(f"names: `fcn-bench list {LISTED[key]}`")
    if key.startswith(("model.", "train.", "data.")) and is_tunable(key):
        facts.append("may be tuned")
    said = f"{told} {NOT_IN_ID.get(key, '')}".strip()
    return f"`{key}` {{ #{_anchor(key)} }}\n:   {said}<br>\n    *{'; '.join(facts)}*"


def kinds(value: Mapping[str, Any], nested: Mapping[str, Any]) -> Iterator[str]:
    """Yield in words what a value may be, of a JSON schema."""
    if "$ref" in value:
        yield from kinds(nested[value["$ref"].rpartition("/")[2]], nested)
    elif "enum" in value:
        yield " or ".join(f"`{_spell(one)}`" for one in value["enum"])
    elif "const" in value:
        yield f"`{_spell(value['const'])}`"
    elif "anyOf" in value:
        for one in value["anyOf"]:
            yield from kinds(one, nested)
    elif value.get("type") == "array":
        yield _of_array(value, nested)
    elif value.get("type") == "object" and "properties" not in value:
        of = value.get("additionalProperties", True)
        inner = dict.fromkeys(kinds(of, nested)) if isinstance(of, Mapping) else ()
        yield f"a mapping of names to {' or '.join(inner)}" if inner else "a mapping"
    else:
        yield _WORDS.get(str(value.get("type")), "anything") + _limits(value)


_WORDS = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "`true` or `false`",
    "null": "`null`",
    "object": "a mapping",
}


def _of_array(value: Mapping[str, Any], nested: Mapping[str, Any]) -> str:
    if "prefixItems" in value:
        inner = [" or ".join(dict.fromkeys(kinds(one, nested))) for one in value["prefixItems"]]
        return f"a list of {len(inner)}: {', '.join(inner)}"
    inner = list(dict.fromkeys(kinds(value.get("items", {}), nested)))
    least = value.get("minItems", 0)
    return f"a list of {' or '.join(inner)}" + (f", {least} at least" if least > 1 else "")


def _limits(value: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    found = [f"{sign} {_number(value[name])}" for name, sign in signs.items() if name in value]
    return f" {' and '.join(found)}" if found else ""


def _number(value: float) -> str:
    """Write a bound as one would type it: whole numbers with all digits."""
    return f"{value:.0f}" if value == int(value) else f"{value:g}"


def _spell(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def _anchor(key: str) -> str:
    return key.replace(": ", ".").replace("PART.", "")


_HEAD = """# The spec, key by key

All keys of a question's file, from the schemas that judge it; this page is made from the code. How
to write one is told in [Writing a question](../questions.md), and `fcn-bench schema` prints the
same for editors.

Keys of `model`, `data`, `train` and `evaluate` are settings of a run. They stand in `common`,
`variants`, `grid`, `tune` and `adjust`, dotted (`model.skip: fcn8s`) or nested (`model: {skip:
fcn8s}`). A setting that differs from its default is part of a run's id, unless it says otherwise
below: to change one is to ask for another run. No key of the question is. Scores, shares and
margins are fractions, from 0 to 1.
"""

_OLD = """## Earlier names

Files under earlier names are read, with a notice."""
