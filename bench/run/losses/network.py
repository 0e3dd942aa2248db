"""The loss of a network: scores and target to one number, over all of its targets."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from bench.data.layers import Target
from bench.run.losses.aux_score import aux_upsampling
from bench.run.losses.kinds import Labels
from bench.run.losses.sliced import Scores, sliced_loss
from bench.run.losses.terms import CROSS_ENTROPY, Reduction, Term
from bench.run.losses.upsampled import is_served, upsampled_cross_entropy
from bench.spec import AuxSpec
from fcn.alignment import FixedUpsampling
from fcn.model import FCN, Network
from fcn.targets import split_targets


def network_loss(
    model: Network,
    images: Tensor,
    target: Tensor,
    *,
    targets: Sequence[Target],
    terms: Sequence[Term] = CROSS_ENTROPY,
    reduction: Reduction = "mean",
    class_weights: Sequence[Tensor | None] = (),
    target_weights: Sequence[float] = (),
    aux: AuxSpec | None = None,
    add_up: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Loss of a network over labelled pixels; see `pixel_loss`.

    Args:
        model: The network.
        images: (N, K, H, W), normalised.
        target: (N, H, W), int64, classes or `ignore_index`; (N, T, H, W) of several targets,
            whose losses are added up.
        targets: The targets.
        terms: The losses that are added up, with their weights; each is taken of each target.
        reduction: Mean or sum over pixels.
        class_weights: For each target the weight of each class, (C,), by which its mean is
            weighted, or None; none for no weights.
        target_weights: Factor on each target's loss; none for 1 each, as in the reference.
        aux: An earlier score whose loss is added.
        add_up: Adds up a number over the processes that share the batch.

    Returns:
        The loss, (), float32.
    """
    labels = [target] if len(targets) == 1 else list(target.unbind(1))

    def loss_of(scores: Tensor, upsampling: nn.Module) -> Tensor:
        classes = [len(one.class_names) for one in targets]
        losses = [
            pixel_loss(
                own_scores,
                own,
                own_upsampling,
                ignore_index=one.ignore_index,
                terms=terms,
                reduction=reduction,
                class_weights=weights,
                add_up=add_up,
            )
            for (own_scores, own_upsampling), own, one, weights in zip(
                split_targets(scores, upsampling, classes),
                labels,
                targets,
                class_weights or [None] * len(targets),
                strict=True,
            )
        ]
        if target_weights:
            losses = [weight * loss for weight, loss in zip(target_weights, losses, strict=True)]
        total, *others = losses
        for loss in others:
            total = total + loss
        return total

    if aux is None:
        return loss_of(model.score(images), model.upsampling)
    upsampling = aux_upsampling(model, aux)
    assert isinstance(model, FCN)
    scores, earlier = model.score_with(images, aux.stride)
    return loss_of(scores, model.upsampling) + aux.weight * loss_of(earlier, upsampling)


def pixel_loss(
    scores: Tensor,
    target: Tensor,
    upsampling: nn.Module,
    *,
    ignore_index: int,
    terms: Sequence[Term] = CROSS_ENTROPY,
    reduction: Reduction = "mean",
    class_weights: Tensor | None = None,
    add_up: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Sum of losses over labelled pixels; zero (with zero gradient) where none is labelled.

    Full-size logits exist for a slice of the images at a time, see `bench.run.losses.sliced`; or
    not at all, see `bench.run.losses.upsampled`.

    Args:
        scores: Logits on a coarse grid, (N, C, h, w), any floating type.
        target: (N, H, W), int64, classes or `ignore_index`.
        upsampling: (scores, (H, W)) -> logits (n, C, H, W).
        ignore_index: Target value that is not counted.
        terms: The losses that are added up; cross-entropy alone by default.
        reduction: Mean or sum over pixels, of losses of single pixels.
        class_weights: Weight of each class, (C,); the mean is weighted by them.
        add_up: Adds up a number over the processes that share the batch. The sum of losses of this
            process's pixels is divided by what the whole batch weighs: the losses of all processes
            add up to the batch's mean, however unevenly its void pixels fall to them.

    Returns:
        The loss, (), float32.
    """
    if is_served(scores, upsampling, terms):
        assert isinstance(upsampling, FixedUpsampling)
        return upsampled_cross_entropy(
            scores,
            target,
            upsampling,
            ignore_index=ignore_index,
            reduction=reduction,
            weight=terms[0].weight,
            class_weights=class_weights,
            add_up=add_up or (lambda number: number),
        )
    labelled = target != ignore_index
    labels = Labels(target.where(labelled, 0), labelled, class_weights)
    return sliced_loss(
        Scores(scores, upsampling, labels), terms, reduction, add_up or (lambda number: number)
    )
