"""What one run is: the schema of its settings, and errors that name the key.

In: plain nested dictionaries (from YAML or Python). Out: a frozen `RunSpec`, or an `InputError`.
Only what can change a result has a field here; devices, folders and logging are not settings.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from bench.settings.calls import spell_call, spell_call_or_list, spell_weighted
from bench.settings.explain import drop_idle, explain, truths_for_numbers
from bench.settings.keys import set_keys
from bench.text import require_file_name
from fcn.errors import InputError
from fcn.registry import unknown_name

Name = Annotated[str, Field(min_length=1, max_length=200)]
FileName = Annotated[Name, AfterValidator(require_file_name)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]

_CallText = Annotated[
    str,
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {
                    "type": "object",
                    "properties": {"name": {"type": "string"}},
                    "required": ["name"],
                },
            ]
        }
    ),
]
Call = Annotated[_CallText, Field(max_length=1000), BeforeValidator(spell_call)]
"""A part by name, with arguments if it takes any: `focal(gamma=3)`, or {name: focal, gamma: 3}."""
Weighted = Annotated[_CallText | dict[str, Positive], BeforeValidator(spell_weighted)]
"""One part, or several with their weights."""
CallOrList = Annotated[
    _CallText | tuple[Annotated[float, Field(ge=0)], ...], BeforeValidator(spell_call_or_list)
]
"""A part by name, or numbers in its place."""

MaskName = Literal["none", "foreground", "background", "shape"]
"""What is hidden of images."""
MASKS: tuple[MaskName, ...] = get_args(MaskName)

STORED = "stored"
"""Context of settings that lie in a store: they were accepted once, and stay readable."""

SWITCH_WORDS = {"true", "false", "yes", "no", "on", "off", "none", "null", ""}
"""Words for a switch or for nothing; no weights have such a name."""


def _require_no_switch(value: bool | str, info: ValidationInfo) -> bool | str:
    """Refuse a word for true, false or nothing where a word names weights."""
    if info.context != STORED and isinstance(value, str) and value.lower() in SWITCH_WORDS:
        raise ValueError(
            f"{value!r} is a word here; write true for the default weights, false for random ones, "
            "a tag of weights, or the name of a file of weights"
        )
    return value


def _require_rest(value: float, info: ValidationInfo) -> float:
    """Refuse a dropout that leaves nothing."""
    if info.context != STORED and value == 1:
        raise ValueError("dropout 1.0 leaves nothing to score; give a fraction below 1")
    return value


class Schema(BaseModel):
    """A frozen model that refuses unknown keys and non-finite numbers."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True
    )


class ModelSpec(Schema):
    """A network: a backbone made dense."""

    backbone: Name = "resnet18"
    """Any name of timm's registry; `fcn-bench list backbones` shows them."""
    pretrained: Annotated[bool | str, AfterValidator(_require_no_switch)] = False
    """true for the backbone's default weights, a timm tag, hf-hub:OWNER/NAME, or a local file or
    folder, by its path or by its name in the folder of --weights; false for random."""
    skip: Name = "fcn8s"
    """Which finer features are fused in: none for fcn32s, that of stride 16 for fcn16s, those of 16
    and 8 for fcn8s; pool3 to pool5 score one depth alone; fpn, unet and hypercolumn are others'."""
    head: Name = "linear"
    """What turns the coarsest feature into scores: linear, one 1x1 convolution; convolutionalized,
    the fc6 and fc7 of AlexNet, VGG and CaffeNet as convolutions before it, as in the paper."""
    upsampling: Name = "bilinear"
    """How coarse scores reach a finer grid: bilinear, fixed; learned, a deconvolution that starts
    as that; nearest, learned_random, subpixel, carafe."""
    upsampling_last: Name | None = None
    """How the finest scores reach the pixels; none for `upsampling`. The paper fixes this one."""
    fusion: Name = "sum"
    """How coarse and fine scores become one: sum, as in the paper, max, concat, gate, weighted."""
    score_init: Literal["zero", "random"] = "zero"
    """Start of the layers that score. The paper uses zero, our questions from scratch
    random."""
    dropout: Annotated[Fraction, AfterValidator(_require_rest)] = 0.0
    """Share of the values before the scores that are dropped in training, below 1."""
    padding: Literal["exact", "pad100"] = "exact"
    """exact: scores lie exactly over the pixels that they are of. pad100: the reference nets' 100
    pixels of padding around the image, and crops."""
    preprocessing: Literal["timm", "caffe"] = "timm"
    """What the network sees of an image: less the mean and over the deviation of its weights, or as
    the reference nets: blue first, 0 to 255, less the means of each colour."""
    output_stride: Annotated[int, Field(ge=1)] | None = None
    """Stride of the deepest feature in pixels, 8 or 16, for backbones that can dilate their last
    stages; none for their own, which is 32 of most."""
    input_fusion: Literal["early", "late"] = "early"
    """Where several of `data.inputs` meet: early, one network with deeper first filters; late, a
    network for each, whose scores are averaged."""
    external: Name | None = None
    """Network of another library in the place of an FCN: torchvision/fcn_resnet50,
    smp/Unet(resnet18) or package.module:callable. Of the keys above, only `pretrained` then
    counts."""


class DataSpec(Schema):
    """Which images, and how large the network sees them."""

    dataset: Name = "shapes"
    """Name of the data set: shapes (drawn, no download), folder (images of your own), camvid and
    other published ones."""
    options: dict[str, int | float | str | bool] = {}
    """Settings of that data set by name, `{size: 64, num_train: 32}` of shapes; its loader's
    docstring tells them."""
    inputs: Annotated[tuple[Name, ...], Field(min_length=1)] = ("rgb",)
    """What the network sees: rgb, and what more the data set has, such as depth. Pretrained weights
    serve the first; further ones have filters of their own."""
    targets: tuple[Name, ...] = ()
    """Targets that the network learns together; none for the dataset's own. Reports compare the
    first, and show the others beside it."""
    duplicates: tuple[str, ...] = ()
    """Names of images that may be both in the split trained on and in one that judges, as in some
    published splits. Others are refused there."""
    input_scale: Annotated[float, Field(gt=0, le=4)] = 1.0
    """Factor by which images are resized for the network, in training and evaluation alike.
    Scores are always taken at the label's own size."""
    mask: MaskName = "none"
    """What is hidden of every image by its labels: foreground or background, replaced by the mean
    colour, of which void pixels are neither; or both, so that the shape alone is left."""
    background: tuple[Name, ...] = ()
    """Classes that are background there; none for the first, if it is called background."""
    limit_images: Annotated[int, Field(ge=1)] | None = None
    """Most images of each split, for a trial, which reports call so; none for all."""

    train_fraction: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the images of `train.split` that is trained on, classes in proportion; 0.1 lies
    within 0.2."""
    folds: Annotated[int, Field(ge=2)] | None = None
    """Parts of `train.split`, one of which judges while the others are trained on; write the same
    split as `evaluate.split`. None for no folds."""
    fold: Annotated[int, Field(ge=0)] = 0
    """Which of the folds judges, from 0 to `folds` less one; write all of them as an axis of a
    grid."""
    draw_by: Literal["groups", "images"] = "groups"
    """What shares and folds keep whole: groups, such as clips, where the dataset knows them; or
    nothing larger than an image."""
    draw_seed: Seed = 0
    """Seed of shares and folds, apart from the run's: all variants and seeds have the same
    images."""

    @model_validator(mode="after")
    def _fold_of_folds(self) -> "DataSpec":
        if self.fold and self.folds is None:
            raise ValueError(f"fold {self.fold} is of no folds; give data.folds their number")
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(
                f"fold {self.fold} is none of {self.folds} folds; they are 0 to {self.folds - 1}"
            )
        return self

    @model_validator(mode="after")
    def _each_once(self) -> "DataSpec":
        for key in ("inputs", "targets"):
            names = getattr(self, key)
            if len(set(names)) < len(names):
                raise ValueError(f"{key} {list(names)} hold one twice")
        return self


class GroupSpec(Schema):
    """How a part of a network learns, beside the rest."""

    lr: Positive = 1.0
    """Factor on `train.lr` for this part; for 0 there is `train.freeze`."""
    decay: Annotated[float, Field(ge=0)] = 1.0
    """Factor on `train.weight_decay` for this part; biases and norms are not decayed anyway."""


class AuxSpec(Schema):
    """A loss on an earlier score of the network."""

    stride: Annotated[int, Field(ge=2)]
    """Pixels between the cells of that score: 32 for the first of an FCN-8s, 16 for the next."""
    weight: Positive = 0.4
    """Factor on its loss beside that of the network's own score."""


def _sorted(value: Any) -> Any:
    """Return a mapping in the order of its keys, which says nothing."""
    return {key: value[key] for key in sorted(value)} if isinstance(value, Mapping) else value


def _with_ends(value: Any) -> Any:
    """Return parts that are frozen for good, a list or one name, as parts with no last step."""
    if isinstance(value, str):
        return {value: None}
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        return dict.fromkeys(sorted(value))
    return _sorted(value)


class TrainSpec(Schema):
    """How weights are fitted. Durations are steps (optimiser updates) or epochs, never both."""

    split: Name = "train"
    """Split of the dataset to train on."""
    steps: Annotated[int, Field(ge=0)] | None = None
    """Length of training in updates of the weights; write this or `epochs`, one of the two."""
    epochs: Positive | None = None
    """Length of training in passes over the split's images; it is turned into steps when the plan
    is made."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    """Images of a batch, over all devices of the run together."""
    grad_accum_steps: Annotated[int, Field(ge=1)] = 1
    """Batches whose gradients are added up for one step: a larger batch in the memory of a small
    one. Each has a loss of its own and counts alike: of means over pixels (`loss_reduction`) they
    are exactly a larger batch only where as many pixels of each are labelled, and weigh as much."""
    batch_norm_groups: Annotated[int, Field(ge=1)] = 1
    """Equal parts of each batch whose batch-norm statistics are taken apart. 1 takes those of the
    whole batch, over all devices of the run; 4 trains as on four devices whose batch norms are not
    synchronised, on however many devices it runs."""
    loss: Weighted = "cross_entropy"
    """What is made small: a name of `fcn-bench list losses`, with arguments such as
    cross_entropy(label_smoothing=0.1), smp/Name(args), package.module:callable, or several with
    their weights, {cross_entropy: 1.0, dice: 0.5}."""
    loss_reduction: Literal["mean", "sum"] = "mean"
    """Mean or sum over the pixels of a batch; the paper sums. Learning rates differ by the number
    of pixels."""
    loss_sampling: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the cells of the coarsest features, drawn anew for each image, whose pixels count in
    the loss: the paper's patch sampling."""
    aux: AuxSpec | None = None
    """The same loss on a score that finer ones are fused with, {stride: 32, weight: 0.4}; none for
    none. It trains alone: scores are those of the whole network."""
    optimizer: Call = "sgd"
    """Update rule: sgd, adamw, or any of `fcn-bench list optimizers` with its arguments, such as
    lamb(betas=[0.9, 0.98])."""
    lr: Positive = 0.01
    """Learning rate at the start (after warm-up), for a loss that is a mean over pixels."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum of sgd, or the first beta of adamw; others have arguments."""
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    """Decay of weights, a factor on the weights in their gradient (of adamw apart from it); biases
    and norms are not decayed."""
    schedule: Call = "poly"
    """Shape of the learning rate over the steps after warm-up: a name of `fcn-bench list
    schedules`, with arguments such as multistep(at=[0.6, 0.9])."""
    power: Positive = 0.9
    """Exponent of the poly schedule: the rate is `lr` times (1 - share of steps done) to this."""
    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Steps over which the learning rate rises linearly from zero."""
    groups: Annotated[dict[Name, GroupSpec], BeforeValidator(_sorted)] = {}
    """Factors on learning rate and decay by part: backbone, head, skip:16, upsampling, bias, norm,
    or a pattern over names of parameters; {backbone: {lr: 0.1}, bias: {lr: 2}}. They multiply."""
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Factor on the learning rate from each layer of the backbone to the one before it, for
    networks of timm that know their layers."""
    freeze: Annotated[
        dict[Name, Annotated[int, Field(ge=1)] | None], BeforeValidator(_with_ends)
    ] = {}
    """Parts that do not train, as `groups` names them: [backbone], or with their last such step,
    {backbone: 500}."""
    clip_grad_norm: Positive | None = None
    """Largest norm of all gradients together; longer ones are scaled down to it. None for no
    limit."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay per step of a moving average of the weights, which is what is scored; 0 for none."""
    class_weights: CallOrList = "none"
    """Weight of each class in the loss: none, median_frequency, inverse (of its share of pixels),
    effective_number(beta=0.99), or one per class (of several targets, one map's classes after the
    other's)."""
    sampler: Literal["uniform", "balanced"] = "uniform"
    """Which images are drawn: each once an epoch, or one that shows a class, classes in equal
    parts."""
    target_weights: tuple[Positive, ...] = ()
    """Weight of each target's loss in their sum; none for 1 each, as in the reference."""
    crop: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1)]] | None = None
    """Height and width of training crops in pixels, after scaling; none for whole images."""
    scale: tuple[Positive, Positive] = (1.0, 1.0)
    """Smallest and largest factor of the random resize of training images, on top of
    `data.input_scale`, drawn log-uniformly; (1, 1) for none."""
    flip: bool = True
    """Mirror left and right with probability one half."""
    augment: tuple[Call, ...] = ()
    """What happens to each image beside that, in this order: names of `fcn-bench list
    augmentations` with arguments, such as ColorJitter(brightness=0.4)."""
    select: Call = "last"
    """Which step's weights are kept: last, or best(metric="miou", patience=5) of
    `evaluate.eval_split`, whose scores in a row without a better one end training."""
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    """Arithmetic of forward and backward; tf32 is fp32 whose convolutions a GPU may round to 10
    bits, bf16 autocast where the device has it, fp16 autocast with a loss that is scaled up and
    down, for GPUs without bf16."""
    checkpoint_activations: bool = False
    """Keep the inputs of the network's blocks alone, and make the rest anew on the way back: less
    memory, more time, the same bits, so it is no part of a run's id."""
    compile: bool = False
    """Have torch.compile fuse the layers of the backbone while it trains: less time a step after a
    minute of compiling. It rounds otherwise, and so makes another run."""
    deterministic: bool = False
    """Use only algorithms that give the same bits on every try; on a CPU they do so anyway."""
    channels_last: bool = True
    """Lay images and convolutions out in memory with channels last, which convolutions mostly
    prefer; false for torch's usual layout. Results may differ by rounding."""
    init_from: Name | None = None
    """Variant whose run of the same seed gives the starting weights; new scores start at zero."""
    init_streams: tuple[Name, ...] = ()
    """The same for late fusion: for each of `data.inputs` a variant whose network is the stream."""

    @model_validator(mode="after")
    def _fitting_together(self) -> "TrainSpec":
        if self.steps is not None and self.epochs is not None:
            raise ValueError("give train.steps or train.epochs, not both")
        if self.batch_size % self.batch_norm_groups:
            raise ValueError(
                f"batch_norm_groups {self.batch_norm_groups} must divide batch_size "
                f"{self.batch_size}"
            )
        if self.scale[0] > self.scale[1]:
            raise ValueError(f"scale {list(self.scale)} must rise from smallest to largest")
        return self


class EvaluateSpec(Schema):
    """Which images judge the run, and what is counted of them.

    Runs that differ in `split`, `mask`, `boundary`, `surface` or `calibration` alone are trained
    once.
    """

    split: FileName = "test"
    """Split of the final scores, taken once, after the last step."""
    eval_split: Name = "val"
    """Split that is scored along the way: for learning curves, `train.select` and `tune`."""
    eval_every: Annotated[int, Field(ge=0)] = 0
    """Steps between two scores of `eval_split`; 0 for none along the way."""
    mask: MaskName | None = None
    """What is hidden of the images that give the final scores; none for what `data.mask` hides."""
    boundary: bool = False
    """Count boundary pixels too, for Boundary IoU (arXiv:2103.16562) of the final scores."""
    surface: bool = False
    """Add up distances between outlines too, for the mean surface distance of the final scores."""
    calibration: bool = False
    """Count confidence too, for ECE (arXiv:1706.04599) and NLL of the final scores."""


class RunSpec(Schema):
    """Everything that can change one run's result, and nothing else."""

    model: ModelSpec = ModelSpec()
    """The network."""
    data: DataSpec = DataSpec()
    """The images."""
    train: TrainSpec = TrainSpec()
    """How weights are fitted."""
    evaluate: EvaluateSpec = EvaluateSpec()
    """Which images judge."""
    seed: Seed = 0
    """Seed of everything random: weights, order, augmentation, dropout. Of a question `seeds` sets
    it."""

    @property
    def judging_mask(self) -> MaskName:
        """What is hidden of the images that give the final scores."""
        return self.data.mask if self.evaluate.mask is None else self.evaluate.mask

    @model_validator(mode="after")
    def _streams_fit(self) -> "RunSpec":
        streams, inputs = self.train.init_streams, self.data.inputs
        if not streams:
            return self
        if self.train.init_from is not None:
            raise ValueError("give train.init_from or train.init_streams, not both")
        if self.model.input_fusion != "late" or len(streams) != len(inputs) or len(inputs) < 2:
            raise ValueError(
                f"train.init_streams names {len(streams)} variants; it is for model.input_fusion "
                f"late, and names one for each of data.inputs ({', '.join(inputs)})"
            )
        return self


S = TypeVar("S", bound=Schema)


def parse(schema: type[S], values: Mapping[str, Any], *, where: str, stored: bool = False) -> S:
    """Validate plain values.

    Args:
        schema: The schema to validate against.
        values: Nested plain values.
        where: What is being read (a file, a variant), put in front of each message.
        stored: The values were accepted before and lie in a store, which stays readable.

    Raises:
        InputError: A key is unknown, or a value is of the wrong type or out of range.
    """
    try:
        taken = schema.model_validate(dict(values), context=STORED if stored else None)
    except ValidationError as error:
        details = drop_idle(error.errors(include_url=False))
        messages = dict.fromkeys(explain(schema, e) for e in details)
        raise InputError(f"{where}: {'; '.join(messages)}") from None
    if not stored and (wrong := list(truths_for_numbers(values, taken))):
        raise InputError(f"{where}: {'; '.join(wrong)}")
    return taken


def parse_value(key: str, value: Any, *, where: str) -> Any:
    """Validate one value of a run: what a `RunSpec` holds under a dotted key that is given it.

    Raises:
        InputError: There is no such key, or it does not take the value.
    """
    try:
        taken = _adapter(key).validate_python(value)
    except ValidationError as error:
        details = drop_idle(error.errors(include_url=False))
        messages = dict.fromkeys(explain(RunSpec, e, at=key.split(".")) for e in details)
        raise InputError(f"{where}: {'; '.join(messages)}") from None
    except InputError as error:
        raise InputError(f"{where}: {key}: {error}") from None
    if wrong := list(truths_for_numbers(value, taken, key)):
        raise InputError(f"{where}: {'; '.join(wrong)}")
    return taken


def override(settings: Mapping[str, Any], differences: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's `settings` with `differences` on top; the duration given last wins."""
    result = set_keys(settings, differences)
    given = set_keys({}, differences).get("train", {})
    for key, other in (("steps", "epochs"), ("epochs", "steps")):
        if isinstance(given, Mapping) and given.get(key) is not None and other not in given:
            result["train"] = {**result["train"], other: None}
    return result


@lru_cache(maxsize=256)
def _adapter(key: str) -> TypeAdapter[Any]:
    """Return what validates a run's setting by its dotted key, with its limits."""
    annotation: Any = RunSpec
    for part in key.split("."):
        if isinstance(annotation, type) and issubclass(annotation, Schema):
            if part not in annotation.model_fields:
                raise InputError(unknown_name("key", part, annotation.model_fields))
            annotation = annotation.model_fields[part].rebuild_annotation()
        elif get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        else:
            raise InputError(f"what stands before {part!r} has no keys of its own")
    return TypeAdapter(annotation)
