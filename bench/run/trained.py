"""A finished run's network, used as it was scored: to the bit, where it was scored.

`load_model` finds the run by its folder, or by its id in a store.

The same precision, memory layout, algorithms and resize; on a CPU the same number of threads, for
how many add up, and in which order, decides the last bits of fp32.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from bench.data.augment import scaled_size, to_network
from bench.data.layers import COLOUR, Input, network_options, scale_statistics
from bench.plugins import load_plugins
from bench.run.environment import choose_device, configure_torch
from bench.run.evaluate import Predictor
from bench.run.outcome import is_out_of_memory
from bench.run.train import autocast, place
from bench.run.views import Part, Views, average, largest, parts_of, softmax_at
from bench.run.weights import finished_result, load_weights, require_same_code
from bench.store.runs import Store
from fcn.errors import InputError
from fcn.model import Network, create_model
from fcn.registry import unknown_name
from fcn.settings import without_weights
from fcn.targets import split_targets


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
            run's name (`ablation/variant/seed`), its id, or the first digits of that.
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
                "runs/32/320973cd0f14e58f, or a name or an id and its store, as in "
                "load_model('ablation/variant/seed', 'runs')"
            )
        opened, run_id = Store(folder.parent.parent), folder.name
    else:
        opened = store if isinstance(store, Store) else Store(Path(store))
        run_id = opened.find(str(run))
    load_plugins(plugins)
    return Trained(opened, run_id, choose_device(device))


class Segmenter:
    """A network with what is needed to use it: its inputs, classes, resize, device.

    Args:
        model: The network, on the device.
        inputs: What it sees, in order.
        classes: Number of classes of each target.
        targets: Names of the targets, the first one's empty.
        input_scale: Resize of every image for it.
        precision: "fp32" or "bf16".
        device: Where it is.
    """

    def __init__(
        self,
        model: Network,
        inputs: Sequence[Input],
        classes: Sequence[int],
        targets: Sequence[str],
        input_scale: float,
        precision: str,
        device: torch.device,
    ) -> None:
        self.inputs: tuple[Input, ...] = tuple(inputs)
        """What it sees, in order."""
        self.targets = list(targets)
        """Names of the targets that it gives, the first one's empty."""
        self.input_scale = input_scale
        """Resize of every image for it."""
        self.classes = list(classes)
        """Number of classes of each target."""
        self.model = model
        """The network itself."""
        self._device, self._precision = device, precision
        self._predictor = Predictor(model, classes, precision)

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
                f"the image is {pixels.dtype} of shape {pixels.shape}; this network sees {seen}: "
                f"give {kind} of shape (height, width, {K})"
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
        mean, std = scale_statistics(self.inputs, self.model.mean, self.model.std)
        with self._naming_memory(size):
            images = to_network(pixels, self.input_scale, mean=mean, std=std, device=self._device)
            parts = self._predictor.fallback(lambda x: self._predictor.predict(x, size), images)
            by_target = [torch.cat(own).to(torch.uint8) for own in zip(*parts, strict=True)]
        preds = [pred.cpu().numpy() for pred in by_target]
        return [dict(zip(self.targets, own, strict=True)) for own in zip(*preds, strict=True)]

    def predict_parts(
        self, pixels: NDArray[np.uint8], views: Views
    ) -> Iterator[tuple[Part, dict[str, Tensor]]]:
        """Yield an image's tiles with the probabilities of what is kept of each, by target.

        Args:
            pixels: All inputs side by side, (H, W, K).
            views: How it is looked at.

        Yields:
            A tile (one for the whole image), and (C, H, W) float32 for what it keeps.

        Raises:
            InputError: A tile is too small for the network, or too large for the memory.
        """
        for part in parts_of(pixels.shape[:2], views):
            tile = np.ascontiguousarray(pixels[part.seen])
            with self._naming_memory(tile.shape[:2]):
                found = {
                    name: average(tile, views, partial(self._look, number, views))
                    for number, name in enumerate(self.targets)
                }
            yield part, {name: seen[(slice(None), *part.kept)] for name, seen in found.items()}

    def predict_views(
        self, pixels: NDArray[np.uint8], views: Views
    ) -> dict[str, NDArray[np.uint8]]:
        """Return the most probable class of each pixel, (H, W), by target; as `predict_parts`."""
        preds = {name: np.zeros(pixels.shape[:2], np.uint8) for name in self.targets}
        for part, found in self.predict_parts(pixels, views):
            for name, probabilities in found.items():
                preds[name][part.place] = largest(probabilities)
        return preds

    def _look(
        self, number: int, views: Views, pixels: NDArray[np.uint8], scale: float, flipped: bool
    ) -> Tensor:
        """Return the probabilities of one target for one view of one image, (C, H, W)."""
        mean, std = scale_statistics(self.inputs, self.model.mean, self.model.std)
        seen = None if views.size is None else scaled_size(views.size, scale)
        factor = self.input_scale * scale
        images = to_network(pixels, factor, mean=mean, std=std, device=self._device, size=seen)
        images = images.flip(-1) if flipped else images
        with torch.inference_mode(), autocast(self._device, self._precision):
            scores = self.model.score(images)
            parts = split_targets(scores, self.model.upsampling, self.classes)
            own, up = parts[number]
            size = (pixels.shape[0], pixels.shape[1])
            return softmax_at(own, up, size, (images.shape[-2], images.shape[-1]), flipped)

    @contextmanager
    def _naming_memory(self, size: tuple[int, ...]) -> Iterator[None]:
        """Say of an image that does not fit into the memory what can be done."""
        try:
            yield
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            raise InputError(
                f"{size[0]}x{size[1]} pixels do not fit into the memory of {self._device}; give "
                "--tile, as in --tile 512, or take another --device"
            ) from None


class Trained(Segmenter):
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
        inputs = [known[name] for name in spec.data.inputs]
        others = (len(other["class_names"]) for other in result.others.values())
        classes = [len(result.class_names), *others]
        where = result.environment
        threads = where.get("threads") if device.type == "cpu" == where.get("device") else None
        train = spec.train
        configure_torch(threads, deterministic=train.deterministic, tf32=train.precision == "tf32")
        settings = without_weights(spec.model.model_dump())  # all weights come from the run
        model = create_model(**settings, **network_options(inputs, classes))
        model.load_state_dict(load_weights(store, result))
        place(model, train, device)
        targets = ["", *result.others]
        scale, precision = spec.data.input_scale, train.precision
        super().__init__(model, inputs, classes, targets, scale, precision, device)
