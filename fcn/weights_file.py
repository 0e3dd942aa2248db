"""Weights files: which file `model.pretrained` names here, and what is written beside it.

In: the setting's value. Out: a path, or none. A bare name is looked for here and in the folder that
`--weights DIR` or FCN_BENCH_WEIGHTS names. Who wants a file's digest need not wait for torch.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml

from fcn.errors import InputError
from fcn.weights_folder import HUB, VARIABLE, weights_folder

ENDINGS = (".safetensors", ".pth", ".pt", ".bin", ".npz", ".h5", ".hdf5", ".ckpt", ".pth.tar")
"""Of weights files, in lower case."""

FORMS = "true, a timm tag, hf-hub:OWNER/NAME, a folder, or a file ({})".format(", ".join(ENDINGS))
"""What `model.pretrained` may be."""

_FOREIGN = (".caffemodel", ".keras", ".onnx", ".zip")
"""Of files that hold weights and are not read; who names one means a file all the same."""

_IN_FOLDERS = ("model.safetensors", "pytorch_model.bin")
"""What a folder's weights are called by those who publish folders, the safer first."""


@dataclass(frozen=True)
class Description:
    """What is written beside a weights file, as far as it is."""

    origin: str | None = None
    licence: str | None = None
    mean: tuple[float, ...] | None = None
    """Of the images that the weights want, scaled to 0..1, per channel."""
    std: tuple[float, ...] | None = None
    preprocessing: str | None = None
    """Value of `model.preprocessing` that they are for, as far as that is said."""


def find_weights_file(pretrained: bool | str) -> Path | None:
    """Return the file that a value of `model.pretrained` names; None if it is none, or not there.

    Raises:
        InputError: It names a folder with several files of weights.
    """
    if isinstance(pretrained, bool):
        return None
    if pretrained.startswith(HUB):
        return _find_of_hub(pretrained)
    for place in _places(pretrained):
        if place.is_file():
            return place
        if place.is_dir() and (found := _find_in(place)):
            return found
    return None


def names_a_file(pretrained: bool | str) -> bool:
    """Say whether a value can only mean a file or folder of this machine."""
    if isinstance(pretrained, bool) or pretrained.startswith(HUB):
        return False
    return pretrained.lower().endswith((*ENDINGS, *_FOREIGN)) or "/" in pretrained


def require_named(pretrained: bool | str) -> Path | None:
    """Return the file that `model.pretrained` names; None if it names none of this machine.

    Raises:
        InputError: It names one that is not there: the places that were looked in, and the nearest
            file in them.
    """
    path = find_weights_file(pretrained)
    if path is None and names_a_file(pretrained):
        folder, tried = weights_folder(), _places(str(pretrained))
        if empty := next((place for place in tried if place.is_dir()), None):
            raise InputError(
                f"folder {str(empty)!r} of model.pretrained holds no file of weights "
                f"({', '.join(ENDINGS)}); put one into it, or name another"
            )
        places = " or ".join(repr(str(place)) for place in tried)
        way_out = (
            f"put it into {folder}, the folder of --weights" if folder else
            f"name the folder that it is in with --weights DIR, or with {VARIABLE}=DIR"
        )  # fmt: skip
        raise InputError(
            f"there is no weights file {places}{_nearest(tried)}; model.pretrained names it: "
            f"{way_out}, or set model.pretrained to {FORMS}"
        )
    return path


def read_description(path: Path) -> Description:
    """Read what is written beside a file of weights: NAME.json, NAME.yaml, or `config.json`.

    Files of others may lie there; of them, what is not understood says nothing.
    """
    for beside in _beside(path):
        try:
            read = json.loads if beside.suffix == ".json" else yaml.safe_load
            values = read(beside.read_bytes())
        except (OSError, ValueError, yaml.YAMLError):
            continue
        if isinstance(values, Mapping):
            return _describe(values)
    return Description()


def write_description(path: Path, values: Mapping[str, Any]) -> Path:
    """Write what `read_description` reads, beside a file of weights; return its path."""
    beside = path.with_suffix(".json")
    text = json.dumps(values, indent=1, ensure_ascii=False)
    beside.write_text(text + "\n", encoding="utf-8")
    return beside


def _places(pretrained: str) -> list[Path]:
    path, folder = Path(pretrained).expanduser(), weights_folder()
    return [path, *([folder / path] if folder and not path.is_absolute() else [])]


def _nearest(places: list[Path]) -> str:
    """Say which file of weights beside those that are not there is called most like them."""
    beside = {
        path.name: None
        for place in places
        if place.parent.is_dir()
        for path in place.parent.iterdir()
        if path.name.lower().endswith(ENDINGS)
    }
    near = get_close_matches(places[0].name, beside, n=1, cutoff=0.75)
    return f" (the nearest there is {near[0]!r})" if near else ""


def _find_in(folder: Path) -> Path | None:
    for name in _IN_FOLDERS:
        if (folder / name).is_file():
            return folder / name
    found = sorted(path for path in folder.iterdir() if path.name.lower().endswith(ENDINGS))
    if len(found) > 1:
        names = ", ".join(path.name for path in found[:5])
        raise InputError(
            f"folder {str(folder)!r} of model.pretrained holds {len(found)} files of weights "
            f"({names}); name one of them"
        )
    return found[0] if found else None


def _find_of_hub(pretrained: str) -> Path | None:
    folder = weights_folder()
    repository = pretrained.removeprefix(HUB).partition("@")[0]
    if folder and (folder / repository).is_dir() and (found := _find_in(folder / repository)):
        return found
    from fcn.published import hub_files  # huggingface_hub takes a while to be imported

    return next((file.path for file in hub_files(pretrained) if file.path.is_file()), None)


def _beside(path: Path) -> Iterator[Path]:
    for ending in (".json", ".yaml", ".yml"):
        yield path.with_suffix(ending)
    for name in _IN_FOLDERS:  # also OWNER--NAME--model.safetensors, as files of hubs are kept here
        if path.name.endswith(name):
            yield path.with_name(path.name.removesuffix(name) + "config.json")


def _describe(values: Mapping[Any, Any]) -> Description:
    inner = [
        values.get(key) for key in ("pretrained_cfg", "preprocessing")
    ]  # timm's word, and ours
    known = {k: v for part in inner if isinstance(part, Mapping) for k, v in part.items()}
    known = {**known, **values}

    def text(*keys: str) -> str | None:
        found = (known.get(key) for key in keys)
        return next((one for one in found if isinstance(one, str) and one), None)

    def numbers(key: str) -> tuple[float, ...] | None:
        found = known.get(key)
        is_list = isinstance(found, list) and all(isinstance(x, int | float) for x in found)
        return tuple(map(float, found)) if is_list and found else None

    is_caffes = known.get("preprocessing") == "caffe"
    return Description(
        origin=text("origin", "source", "url", "hf_hub_id"),
        licence=text("licence", "license"),
        mean=numbers("mean"),
        std=numbers("std"),
        preprocessing="caffe" if is_caffes else "timm" if numbers("mean") else None,
    )
