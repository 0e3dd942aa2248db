"""bench measures: one run trained and evaluated, many runs executed, everything kept in a store.

    model = bench.load_model("runs/32/320973cd0f14e58f")  # or an id's first digits, and its store
    mask = model.predict(image)                           # (H, W, 3) uint8 -> (H, W) uint8
    bench.score(target, mask, num_classes=6).miou

Importing this package loads no torch; the first use of a name does, if it needs it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.mask_scores import score
    from bench.run.trained import load_model
    from bench.store.runs import Store

__all__ = ["Store", "load_model", "score"]

_HOMES = {
    "Store": "bench.store.runs",
    "load_model": "bench.run.trained",
    "score": "bench.mask_scores",
}

if not TYPE_CHECKING:  # a type checker would take any name for one of ours

    def __getattr__(name: str) -> Any:
        from fcn.lazy import import_public

        return import_public(__name__, name, _HOMES)


def __dir__() -> list[str]:
    return __all__
