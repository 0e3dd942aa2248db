"""What a pack's images belong to, in `groups.json` beside its pixels.

In: a dataset that says it. Out: the group of each image of a split. The file is no part of the
pack's content, and is written anew when the dataset says otherwise: counts of runs that are done
are then judged by what is known now.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter

from bench.data.dataset import Dataset
from bench.store.atomic import write_json
from bench.store.records import read_record

GROUPS = "groups.json"
Groups = dict[str, dict[str, str]]
"""By split and name of the image."""
_GROUPS = TypeAdapter(Groups)


def keep_groups(folder: Path, dataset: Dataset) -> None:
    """Keep what a dataset says of groups beside its pack, where that is not what lies there."""
    groups: Groups = {}
    for (split, name), group in dataset.groups.items():
        groups.setdefault(split, {})[name] = group
    if read_groups(folder) != groups:
        write_json(folder / GROUPS, groups)


def digest_of(groups: Mapping[str, str]) -> str:
    """Return what stands for groups in the id of a run that draws by them; empty for no groups.

    What groups are called, and in which order they come, says nothing: two images are of one group
    or they are not.
    """
    first = {group: name for name, group in sorted(groups.items(), reverse=True)}
    together = sorted((name, first[group]) for name, group in groups.items())
    content = json.dumps(together, ensure_ascii=False).encode()
    return hashlib.sha256(content).hexdigest()[:16] if groups else ""


def read_groups(folder: Path) -> Groups:
    """Read the groups of a pack; none where nothing is said of them.

    Raises:
        InputError: The file is damaged.
    """
    path = folder / GROUPS
    way_out = "delete it, and it is written anew by the next command with the images at hand"
    return read_record(path, _GROUPS, way_out=way_out) or {}
