"""Settings: a built model remembers the names and numbers that it was built from."""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from torch import nn

from fcn.weights import name_with_tag

P = ParamSpec("P")
M = TypeVar("M", bound=nn.Module)


def without_weights(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of the same model, which are built without fetching any weights.

    The model's own come from elsewhere; it sees images as the published ones do all the same.

    Args:
        settings: Of `fcn.create_model`.
    """
    pretrained = settings.get("pretrained", False)
    found = {**settings, "pretrained": False}
    if settings.get("external") is None:
        found["backbone"] = name_with_tag(settings["backbone"], pretrained)
    return found


def remember_settings(create: Callable[P, M]) -> Callable[P, M]:
    """Return `create`, whose models have all its arguments in `settings`, defaults included.

    They are those `without_weights`: a model that is kept has weights of its own.
    """
    signature = inspect.signature(create)

    @functools.wraps(create)
    def create_and_remember(*args: P.args, **kwargs: P.kwargs) -> M:
        model: Any = create(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        model.settings = without_weights(bound.arguments)
        return model  # type: ignore[no-any-return]

    return create_and_remember
