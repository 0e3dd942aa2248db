"""Settings: a built model remembers the names and numbers that it was built from."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from torch import nn

P = ParamSpec("P")
M = TypeVar("M", bound=nn.Module)


def remember_settings(create: Callable[P, M]) -> Callable[P, M]:
    """Return `create`, whose models have all its arguments in `settings`, defaults included.

    `pretrained` is False there: a model that is kept has weights of its own.
    """
    signature = inspect.signature(create)

    @functools.wraps(create)
    def create_and_remember(*args: P.args, **kwargs: P.kwargs) -> M:
        model: Any = create(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        model.settings = {**bound.arguments, "pretrained": False}
        return model  # type: ignore[no-any-return]

    return create_and_remember
