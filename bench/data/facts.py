"""What planning needs to know of a dataset: its identity and its sizes, without its images."""

from dataclasses import field
from typing import Any

from pydantic.dataclasses import dataclass

from bench.data.layers import (
    COLOUR,
    SEMANTIC,
    Input,
    choose_inputs,
    network_options,
    require_targets,
)
from bench.spec import DataSpec
from bench.store.records import CLOSED, Count, Digest
from fcn.errors import InputError


@dataclass(frozen=True, config=CLOSED)
class DatasetFacts:
    """Identity and sizes of a dataset."""

    fingerprint: Digest
    num_images: dict[str, Count]
    """Images in each split."""
    num_classes: int
    """Of the dataset's own target."""
    target_name: str = SEMANTIC
    """Name of that map."""
    more_inputs: tuple[Input, ...] = ()
    """Inputs beside the image."""
    more_targets: dict[str, int] = field(default_factory=dict)
    """Classes of further targets, by name."""
    groups: dict[str, str] = field(default_factory=dict)
    """Digest of what the images of a split belong to, by split; those of which it is not known are
    left out. See `bench.data.packs.groups`."""

    def network_options(self, data: DataSpec) -> dict[str, Any]:
        """Return how `fcn.create_model` builds a network for the layers that a spec asks for.

        Raises:
            InputError: The dataset does not have one of them, or it is for reports alone.
        """
        deep = [one.name for one in self.more_inputs if one.value_range]
        if deep and COLOUR.name in data.inputs:
            raise InputError(
                f"data.inputs {list(data.inputs)} has rgb, and these images have more than 8 bits "
                "or other bands: rgb is what reports show of them. Write data.inputs: "
                f"[{deep[0]}]"
            )
        return network_options(self.inputs(data), self.classes(data))

    def inputs(self, data: DataSpec) -> tuple[Input, ...]:
        """Return the inputs that a spec asks for.

        Raises:
            InputError: The dataset does not have one of them.
        """
        return choose_inputs((COLOUR, *self.more_inputs), data.inputs)

    def classes(self, data: DataSpec) -> tuple[int, ...]:
        """Return the number of classes of each target that a spec asks for.

        Raises:
            InputError: The dataset does not have one of them.
        """
        known = {self.target_name: self.num_classes, **self.more_targets}
        require_targets(known, data.targets)
        return tuple(known[name] for name in data.targets or (self.target_name,))
