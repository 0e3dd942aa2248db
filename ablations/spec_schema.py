"""JSON schema of specs, so that editors complete keys and say what is wrong while one writes.

In: our pydantic schemas. Out: a schema of a question's file, or of a base's. Settings of runs may
be dotted or nested; names of parts are offered, and others, such as a plugin's, are taken too.
"""

import copy
from typing import Any

from ablations.spec import Ablation
from ablations.tunable import is_tunable
from bench.settings.keys import RENAMED
from bench.spec import RunSpec

EDITOR_LINE = "# yaml-language-server: $schema="
"""With the schema's path behind it, the first line of a spec that VS Code, Neovim and others read
(the YAML language server)."""

_SHORT = {
    "train.freeze": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
}
"""Short forms that a validator of ours turns into what the schema says."""
_SECTIONS = ("model", "data", "train", "evaluate")


def question_schema(names: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """Return the schema of a question's file.

    Args:
        names: Names of parts to offer, by dotted key (`model.skip`).
    """
    schema = Ablation.model_json_schema()
    definitions = schema.pop("$defs")
    run, below = _run_differences(names or {})
    definitions |= below
    definitions["Differences"] = run
    differences = {"$ref": "#/$defs/Differences"}
    schema["required"] = ["question"]  # a file's own name is the name of the question
    properties = schema["properties"]
    properties["common"] |= differences | {"default": {}}
    properties["variants"]["additionalProperties"] = {"anyOf": [differences, {"type": "null"}]}
    sentence = {"type": "string", "minLength": 1}
    properties["claims"]["items"] = {"anyOf": [sentence, {"$ref": "#/$defs/Claim"}]}
    keys = _dotted(run)
    properties["grid"] = properties["grid"] | {
        "properties": {
            key: {"type": "array", "minItems": 1, "items": one} for key, one in keys.items()
        },
        "additionalProperties": {"type": "array", "minItems": 1},
    }
    properties["tune"] = properties["tune"] | {
        "properties": {
            key: {"type": "array", "minItems": 2, "items": one}
            for key, one in keys.items()
            if is_tunable(key)
        },
        "additionalProperties": {"type": "array", "minItems": 2},
    }
    definitions["Adjustment"]["properties"]["set"] = differences
    return _titled(schema, definitions, "A question for fcn-bench")


def base_schema(names: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """Return the schema of a base's file: settings of a run, and the base below it."""
    run, definitions = _run_differences(names or {})
    text = {"type": "string"}
    properties = {
        "base": text | {"description": "A base below this one."},
        "description": text | {"description": "What the settings are for."},
        **run["properties"],
    }
    return _titled(run | {"properties": properties}, definitions, "A base for fcn-bench")


def _run_differences(names: dict[str, list[str]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of differences between runs, and the definitions that it refers to."""
    schema = copy.deepcopy(RunSpec.model_json_schema())
    definitions = schema.pop("$defs")
    properties: dict[str, Any] = {}
    for section in _SECTIONS:
        (title,) = [name for name in definitions if name.lower() == f"{section}spec"]
        own = definitions[title]
        own.pop("required", None)
        for key, value in own["properties"].items():
            if f"{section}.{key}" in _SHORT:
                value["anyOf"] = [*_SHORT[f"{section}.{key}"], *_alternatives(value)]
                value.pop("type", None)
            offered = names.get(f"{section}.{key}")
            if offered:
                value["anyOf"] = [{"enum": offered}, *_alternatives(value)]
                value.pop("type", None)
        properties[section] = {"$ref": f"#/$defs/{title}"}
        properties |= {f"{section}.{key}": value for key, value in own["properties"].items()}
    for old, new in RENAMED.items():
        properties[old] = properties[new] | {"deprecated": True}
        section, key = old.split(".")
        own = definitions[properties[section]["$ref"].split("/")[-1]]["properties"]
        own[key] = properties[old]
    # Keys of a dataset are its loader's: `data.options.size`.
    patterns: dict[str, Any] = {r"^data\.options\.": {}}
    return {
        "type": "object",
        "properties": properties,
        "patternProperties": patterns,
        "additionalProperties": False,
    }, definitions


def _alternatives(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a value may be beside the names that are offered."""
    if "anyOf" in value:
        return list(value["anyOf"])
    kept = ("type", "minLength", "maxLength")
    return [{key: value[key] for key in kept if key in value}]


def _dotted(run: dict[str, Any]) -> dict[str, Any]:
    return {key: one for key, one in run["properties"].items() if "." in key}


def _titled(schema: dict[str, Any], definitions: dict[str, Any], title: str) -> dict[str, Any]:
    dialect = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": dialect, **schema, "title": title, "$defs": definitions}
