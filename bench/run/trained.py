"""A finished run's network, used as it was scored: to the bit, where it was scored.

`load_model` finds the run by its folder, or by its id in a store.

The same precision, memory layout, algorithms and resize; on a CPU the same number of threads, for
how many add up, and in which order, decides the last bits of fp32.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from bench.data.augment import to_network
from bench.data.layers import COLOUR, Input, network_options, scale_statistics
from bench.plugins import load_plugins
from bench.run.environment import choose_device, configure_torch
from bench.run.evaluate import Predictor
from bench.run.outcome import is_out_of_memory
from bench.run.train import place
from bench.run.weights import finished_result, load_weights, require_same_code
from bench.store.runs import Store
from fcn.errors import InputError
from fcn.model import create_model
from fcn.registry import unknown_name


def load_model(
    run: str | Path,
    store: str | Path | Store | None = None,
    *,
    device: str = "auto",
    plugins: Sequence[str] = (),
) -> "Trained":
    """Load a finished run's network, ready to predict.

    Sets torch's algorithms, and on a CPU its threads, to those that the run was scored with.

    Args:
        run: Folder of the run, such as "runs/32/320973cd0f14e58f"; or, if there is a store, the
            run's id or its first digits.
        store: The store, or its folder.
        device: auto, cpu, mps, cuda or cuda:N.
        plugins: Modules, by name or path, that register the run's parts; as `--plugin`.

    Raises:
        InputError: There is no such run, it is not finished, it is not what it wrote, or the device
            is not there.
    """
    if store is None:
        folder = Path(run).resolve()
        if not (folder / "spec.yaml").is_file():
            raise InputError(
                f"{run} is no folder of a run (it has no spec.yaml); give one, such as "
                "runs/32/320973cd0f14e58f, or an id and its store"
            )
        opened, run_id = Store(folder.parent.parent), folder.name
    else:
        opened = store if isinstance(store, Store) else Store(Path(store))
        run_id = opened.find(str(run))
    load_plugins(plugins)
    return Trained(opened, run_id, choose_device(device))


class Trained:
    """The network of a run; sets torch's algorithms and threads for all that follows.

    Args:
        store: Where the run is.
        run_id: The run.
        device: Where to compute.

    Raises:
        InputError: The run is not finished, or its result or weights are not what it wrote.
    """

    def __init__(self, store: Store, run_id: str, device: torch.device) -> None:
        result, run = finished_result(store, run_id), store.run(run_id)
        require_same_code(run)
        self.class_names, self.palette = result.class_names, result.palette
        """Names and display colours of the classes of the first target, in order."""
        spec = run.spec
        known = {one.name: one for one in (COLOUR, *map(Input.from_json, result.inputs))}
        self.inputs: tuple[Input, ...] = tuple(known[name] for name in spec.data.inputs)
        """What it sees, in order."""
        self.targets = ["", *result.others]
        """Names of the targets that it gives, the first one's empty."""
        self.input_scale = spec.data.input_scale
        """Resize of every image for it."""
        others = (len(other["class_names"]) for other in result.others.values())
        classes = [len(result.class_names), *others]
        where = result.environment
        threads = where.get("threads") if device.type == "cpu" == where.get("device") else None
        configure_torch(threads, deterministic=spec.train.deterministic)
        settings = spec.model.model_dump() | {"pretrained": False}  # all weights come from the run
        self._model = create_model(**settings, **network_options(self.inputs, classes))
        self._model.load_state_dict(load_weights(store, result))
        place(self._model, spec.train, device)
        self._device = device
        self._predictor = Predictor(self._model, classes, spec.train.precision)

    def predict(self, image: ArrayLike, target: str = "") -> NDArray[np.uint8]:
        """Return the class of each pixel of one image, (H, W).

        The run was scored on several images at once, which may add up in another order: where two
        classes are equal to the last digits of fp32, either may be predicted. `predict_batch` on
        the same images gives the same bits.

        Args:
            image: (H, W, 3), uint8, any size (uint16 for a run on 16 bits); for a run with more
                inputs all of them side by side, (H, W, K), in the order of `inputs`.
            target: One of `targets`.

        Raises:
            InputError: It is no such image, there is no such target, or the image is too small for
                the network or too large for the memory.
        """
        pixels, K = np.asarray(image), sum(one.channels for one in self.inputs)
        kind = np.dtype(np.uint16 if any(one.value_range for one in self.inputs) else np.uint8)
        if pixels.dtype != kind or pixels.ndim != 3 or pixels.shape[2] != K:
            seen = " and ".join(f"{one.name} ({one.channels})" for one in self.inputs)
            raise InputError(
                f"the image is {pixels.dtype} of shape {pixels.shape}; this run sees {seen}: give "
                f"{kind} of shape (height, width, {K})"
            )
        if target not in self.targets:
            raise InputError(unknown_name("target", target, self.targets))
        (by_target,) = self.predict_batch(pixels[None])
        return by_target[target]

    def predict_batch(self, pixels: NDArray[np.uint8]) -> list[dict[str, NDArray[np.uint8]]]:
        """Return the class of each pixel of each image, (H, W), by target.

        Args:
            pixels: N images, all inputs side by side, (N, H, W, K).

        Raises:
            InputError: They are too small for the network, or one is too large for the memory.
        """
        size = (pixels.shape[1], pixels.shape[2])
        mean, std = scale_statistics(self.inputs, self._model.mean, self._model.std)
        try:
            images = to_network(pixels, self.input_scale, mean=mean, std=std, device=self._device)
            parts = self._predictor.fallback(lambda x: self._predictor.predict(x, size), images)
            by_target = [torch.cat(own).to(torch.uint8) for own in zip(*parts, strict=True)]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise InputError(
                f"{size[0]}x{size[1]} pixels do not fit into the memory of {self._device}; cut the "
                "image into tiles, or take another --device"
            ) from None
        preds = [pred.cpu().numpy() for pred in by_target]
        return [dict(zip(self.targets, own, strict=True)) for own in zip(*preds, strict=True)]
