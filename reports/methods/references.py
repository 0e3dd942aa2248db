"""What a paper cites: BibTeX of this software, the method, data, libraries and statistics.

In: keys. Out: the entries of `references.bib` under them, ours with the version that made the runs.
"""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files

from bench.text import clean

SOFTWARE = "fcnbench"
METHOD = ("long2015fully", "shelhamer2017fully")
LIBRARIES = {"torch": "paszke2019pytorch", "timm": "wightman2019timm"}
DATASETS = {
    "camvid": ("brostow2009semantic", "badrinarayanan2017segnet"),
    "cityscapes": ("cordts2016cityscapes",),
    "ade20k": ("zhou2017scene",),
    "pets": ("parkhi2012cats",),
    "coco_stuff": ("caesar2018coco",),
    "nyudv2": ("silberman2012indoor",),
    "siftflow": ("liu2011nonparametric",),
    "voc2011": ("everingham2010pascal",),
    "voc2012": ("everingham2010pascal",),
    "sbd": ("everingham2010pascal", "hariharan2011semantic"),
    "pascal_context": ("everingham2010pascal", "mottaghi2014role"),
}
"""By the name of a dataset; its split is cited where that is another's."""


def list_references(keys: Iterable[str], versions: Sequence[str]) -> str:
    """Return entries in the order of `keys`, each once.

    Args:
        keys: Of entries.
        versions: Of this software, that made the runs.
    """
    entries = _read_entries()
    version = clean(", ".join(versions)) or "unknown"
    wanted = [entries[key] for key in dict.fromkeys(keys)]
    return "\n\n".join(wanted).replace("{VERSION}", f"{{{version}}}") + "\n"


@cache
def _read_entries() -> dict[str, str]:
    text = files("reports").joinpath("assets/references.bib").read_text(encoding="utf-8")
    return {match[1]: match[0] for match in re.finditer(r"@\w+\{(\w+),\n.*?\n\}", text, re.DOTALL)}
