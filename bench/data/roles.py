"""Which images of a split a run trains on, and which of them judge it: shares and folds of a pack.

In: a pack and a run's settings. Out: the pack as training sees it, and as it judges. Without
`data.train_fraction` and `data.folds` both are the pack as it is.
"""

from bench.data.draws import Draw, draw_fold, draw_share
from bench.data.packs.groups import digest_of
from bench.data.packs.pack import Pack
from bench.plan import Run
from bench.spec import RunSpec
from bench.text import number_of
from fcn.errors import InputError

FAR = 0.25
"""How far, as a part of what is asked for, a share of whole groups may be from it."""


def trained_on(pack: Pack, spec: RunSpec) -> Pack:
    """Return a pack as training sees it: inputs, targets, and the images that are trained on.

    Raises:
        InputError: The dataset has no such input or target, or folds cannot be made.
    """
    return with_drawn(pack.seen_by(spec.data), spec.train.split, Draw.of(spec.data))


def judged_by(pack: Pack, spec: RunSpec) -> Pack:
    """Return a pack as a run judges by it: of a split that is parted into folds, its own fold.

    Raises:
        InputError: As for `trained_on`.
    """
    seen = pack.seen_by(spec.data)
    return with_drawn(seen, spec.train.split, Draw.of(spec.data), judges=True)


def with_drawn(pack: Pack, split: str, draw: Draw, *, judges: bool = False) -> Pack:
    """Return a pack whose split holds what a draw leaves to train on, or its fold, which judges.

    Args:
        pack: Decoded images.
        split: The split that is drawn from.
        draw: What is drawn.
        judges: Take the fold; the whole split where there are none.

    Raises:
        InputError: Folds cannot be made.
    """
    if draw.is_whole or (judges and draw.folds is None):
        return pack
    whole = pack.limited(draw.limit)
    indices, counts = whole.indices(split), whole.image_class_counts(split, draw.target)
    known = _known_groups(pack, split) if draw.by_groups else {}
    groups = [known.get(pack.name(i), str(i)) for i in indices]
    places = list(range(len(indices)))
    if draw.folds is not None:
        own = draw_fold(counts, groups, draw.folds, draw.fold, draw.seed)
        places = own if judges else sorted(set(places) - set(own))
    if not judges:
        left = [groups[k] for k in places]
        share = draw_share(counts[places], left, draw.fraction, draw.seed)
        places = [places[k] for k in share]
    return pack.only(split, [indices[k] for k in places])


def require_draw(pack: Pack, spec: RunSpec) -> None:
    """See that what is drawn can be trained on and judged by, and is about as much as was asked.

    Args:
        pack: Decoded images.
        spec: Settings of a run.

    Raises:
        InputError: Folds cannot be made, groups are too large for the share, or a part has no
            labelled pixel.
    """
    draw, split = Draw.of(spec.data), spec.train.split
    if draw.is_whole:
        return
    train, judge = trained_on(pack, spec), judged_by(pack, spec)
    number, groups = len(train.indices(split)), train.groups(split)
    wanted = draw.fraction * len(_rest(pack, spec))
    if draw.by_groups and groups and abs(number - wanted) > max(1.0, FAR * wanted):
        images = number_of(round(wanted), "image")
        raise InputError(
            f"data.train_fraction {draw.fraction:g} of split {split!r} is {images}, and the "
            f"nearest that whole groups give is {number}; ask for another share, or write "
            "data.draw_by: images, which parts groups (images of one group resemble each other: "
            "few of them say nearly what all of them do)"
        )
    for part, key in ((train, "is trained on"), (judge, "judges")):
        if not part.class_counts(split).any():
            raise InputError(f"what of split {split!r} {key} has no labelled pixel; draw otherwise")


def _known_groups(pack: Pack, split: str) -> dict[str, str]:
    """Return the group of each image of a whole split; nothing where one has none."""
    whole = pack.limited(None)
    groups = whole.groups(split)
    return {whole.name(i): group for i, group in zip(whole.indices(split), groups, strict=False)}


def _rest(pack: Pack, spec: RunSpec) -> list[int]:
    """Return what a share is of: the split, or what a fold leaves of it."""
    whole = spec.data.model_copy(update={"train_fraction": 1.0})
    return trained_on(pack, spec.model_copy(update={"data": whole})).indices(spec.train.split)


def require_same_groups(pack: Pack, run: Run) -> None:
    """See that the groups which a run's draw keeps whole are those that it was planned with.

    Raises:
        InputError: They are others: the draw would be too.
    """
    draw, split = Draw.of(run.spec.data), run.spec.train.split
    if draw.is_whole or not draw.by_groups:
        return
    if digest_of(_known_groups(pack, split)) != run.groups:
        raise InputError(
            f"the groups of split {split!r} are not those that run {run.id} was "
            "planned with, and its share of the images would be another; give the command of its "
            "question again, which plans it anew"
        )
