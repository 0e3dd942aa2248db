"""What runs will want before they can begin: data and weights, here or with where to get them.

In: plans. Out: a `Want` for each data set and each file of weights, once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.data.outlines import Outline
    from bench.plan import Plan

NPZ = "have Caffe save its arrays as .npz (docs/weights.md, Weights of Caffe), "
CONVERT = (
    "and convert it: fcn-bench weights convert {file} --backbone {backbone} --layout {layout} "
    "--for caffe"
)
CAFFE = {
    "vgg16-caffe.safetensors": (
        "fetch vgg16-00b39a1b.pth (from web.eecs.umich.edu/~justincj/models, Caffe's VGG-16 in "
        "torch's layout), "
        + CONVERT.format(file="vgg16-00b39a1b.pth", backbone="vgg16", layout="torch")
    ),
    "vgg19-caffe.safetensors": (
        "fetch vgg19-d01eb7cb.pth (from web.eecs.umich.edu/~justincj/models, Caffe's VGG-19 in "
        "torch's layout), "
        + CONVERT.format(file="vgg19-d01eb7cb.pth", backbone="vgg19", layout="torch")
    ),
    "caffenet-caffe.safetensors": (
        "fetch bvlc_reference_caffenet.caffemodel (from dl.caffe.berkeleyvision.org), "
        + NPZ
        + CONVERT.format(file="bvlc_reference_caffenet.npz", backbone="caffenet", layout="caffe")
    ),
    "googlenet-caffe.safetensors": (
        "fetch bvlc_googlenet.caffemodel (from dl.caffe.berkeleyvision.org), "
        + NPZ
        + CONVERT.format(file="bvlc_googlenet.npz", backbone="googlenet_original", layout="caffe")
    ),
}
"""Files that the specs of the paper name: the weights that its networks started from, for images as
Caffe's networks see them (`model.preprocessing: caffe`)."""


@dataclass(frozen=True)
class Want:
    """Something that runs cannot do without."""

    kind: str
    """data or weights."""
    name: str
    """What specs call it."""
    holds: str
    """What it is."""
    here: str | None
    """Where it is on this machine, if that is known."""
    get: str
    """How to get it; empty for what is drawn."""
    wanted_by: tuple[str, ...]
    """Questions whose runs want it."""

    def __str__(self) -> str:
        """Say it in a line."""
        where = f"here, {self.here}" if self.here else self.get or "nothing to get"
        return f"{self.kind} {self.name} ({self.holds}), for {', '.join(self.wanted_by)}: {where}"

    def row(self) -> dict[str, Any]:
        """Return plain values."""
        values = asdict(self)
        return {**values, "wanted_by": ", ".join(self.wanted_by)}


def data_wanted(plans: "Sequence[Plan]", outlines: "Mapping[str, Outline]") -> list[Want]:
    """List the data sets of some plans, by the fingerprints that stand for them."""
    from bench.data.fetching.published import PUBLISHED

    askers: dict[str, dict[str, None]] = {}
    names: dict[str, str] = {}
    served: dict[str, str] = {}
    for plan in plans:
        for one in plan.runs:
            data, print_ = one.run.spec.data, one.run.fingerprint
            askers.setdefault(print_, {})[plan.name] = None
            options = ", ".join(f"{key}={value}" for key, value in data.options.items())
            names[print_] = f"{data.dataset}({options})" if options else data.dataset
            if data.dataset in PUBLISHED:
                served[print_] = f"; or fcn-bench data fetch {data.dataset} --data DIR brings it"
    wants = []
    for print_, own in askers.items():
        outline = outlines[print_]
        counts = ", ".join(f"{split} {number:,}" for split, number in outline.num_images.items())
        holds = f"{outline.num_classes} classes; images: {counts}"
        get = f"{outline.fetch}{served.get(print_, '')}" if outline.fetch else ""
        wants.append(Want("data", names[print_], holds, None, get, tuple(own)))
    return wants


def weights_wanted(plans: "Sequence[Plan]") -> list[Want]:
    """List the weights that some plans start from; looks at files here, and asks nobody."""
    askers: dict[tuple[str, bool | str], dict[str, None]] = {}
    for plan in plans:
        for one in plan.runs:
            model = one.run.spec.model
            if model.pretrained:
                key = (model.external or model.backbone, model.pretrained)
                askers.setdefault(key, {})[plan.name] = None
    return [_weights_want(*key, tuple(own)) for key, own in askers.items()]


def _weights_want(backbone: str, pretrained: bool | str, askers: tuple[str, ...]) -> Want:
    from fcn.weights import name_published
    from fcn.weights_file import find_weights_file, names_a_file

    here = find_weights_file(pretrained)
    if names_a_file(pretrained):
        name = str(pretrained)
        made = CAFFE.get(name)
        place = "put it into a folder that --weights DIR names"
        get = f"{made} --out {name}; {place}" if made else place
        return Want("weights", name, f"of {backbone}", str(here) if here else None, get, askers)
    if "/" in backbone or ":" in backbone:  # of another library, which fetches them itself
        return Want("weights", str(pretrained), f"of {backbone}", None, "that library's", askers)
    file = name_published(backbone, pretrained)
    here = file.path if file.path.is_file() else None
    get = f"the first run fetches {file.address} to {file.path}"
    name = f"{backbone} ({'default' if pretrained is True else pretrained})"
    return Want("weights", name, "published", str(here) if here else None, get, askers)
