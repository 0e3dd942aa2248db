"""Class colours that every reader can tell apart, beside those of a data set.

In: a number of classes. Out: as many colours. They were found by a greedy search over a grid of RGB
for the largest smallest distance (CIE76) to all colours before, seen normally and with each kind of
dichromacy; the first twelve are 26 apart or more, all 24 are 14. Of CamVid's own, two are 6 apart.

Reference: Machado, Oliveira and Fernandes, 2009, "A physiologically-based model for simulation of
color vision deficiency" (severity 1); `tests/reports/test_linked.py` computes the distances.
"""

Colour = tuple[int, int, int]

_APART: tuple[Colour, ...] = (
    *[(36, 0, 109), (255, 73, 0), (255, 219, 255), (73, 0, 0), (73, 146, 255), (182, 109, 109)],
    *[(73, 255, 146), (109, 36, 255), (182, 255, 0), (109, 73, 109), (146, 36, 0), (182, 146, 182)],
    *[(182, 0, 182), (182, 182, 255), (73, 0, 73), (219, 109, 73), (255, 182, 182), (109, 219, 73)],
    *[(0, 73, 146), (73, 0, 182), (109, 182, 109), (255, 36, 255), (73, 73, 73), (73, 109, 73)],
)
NUM_APART = len(_APART)
"""Classes from which colours are used again: nobody tells more of them apart."""


def colours_apart(num_classes: int) -> list[Colour]:
    """Return a colour for each class; beyond `NUM_APART` they are used again."""
    return [_APART[c % NUM_APART] for c in range(num_classes)]
