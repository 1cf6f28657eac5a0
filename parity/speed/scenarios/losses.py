"""Each loss and the expression that one would write without it: the value and its gradients."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.nn import softplus

from jaxtrain import losses
from parity.speed.scenario import Program, Scenario
from parity.speed.scenarios import _plain_losses as plain
from parity.speed.scenarios._loss_inputs import (
    Arrays,
    class_sets,
    classes,
    densities,
    distributions,
    frames,
    many_classes,
    pairs,
    probabilities,
    scored,
    signs,
    triplets,
    vectors,
)


class Row(NamedTuple):
    """A loss and its counterpart.

    Attributes:
        component: ours.
        configuration: arguments that matter.
        counterpart: the expression, or its function in Optax.
        ours: ours.
        theirs: the counterpart.
        inputs: draws the arguments for a batch of a given size.
        batch: number of examples.
        differentiated: how many of the first arguments get a gradient.
    """

    component: str
    configuration: str
    counterpart: str
    ours: Callable[..., jax.Array]
    theirs: Callable[..., jax.Array]
    inputs: Callable[[int], Arrays]
    batch: int = 256
    differentiated: int = 1


def scenarios(small: bool) -> list[Scenario]:
    """Every row; batches of two if `small`."""
    return [
        Scenario(
            f"losses.{row.component}",
            row.configuration,
            row.counterpart,
            partial(_program, row, row.ours, small),
            partial(_program, row, row.theirs, small),
        )
        for row in ROWS
    ]


def _program(row: Row, loss: Callable[..., jax.Array], small: bool) -> Program:
    arguments = row.inputs(2 if small else row.batch)
    return Program(jax.value_and_grad(loss, argnums=tuple(range(row.differentiated))), arguments)


def _ctc(logits: jax.Array, targets: jax.Array, input_lengths: jax.Array, target_lengths: jax.Array) -> jax.Array:
    log_probs = jnp.moveaxis(jax.nn.log_softmax(logits), 1, 0)
    return losses.ctc_loss(log_probs, targets, input_lengths, target_lengths)


ROWS = [
    Row("l1_loss", "", "jnp.mean(jnp.abs(x - y))", losses.l1_loss, lambda x, y: jnp.mean(jnp.abs(x - y)), pairs),
    Row("mse_loss", "", "jnp.mean((x - y) ** 2)", losses.mse_loss, lambda x, y: jnp.mean((x - y) ** 2), pairs),
    Row(
        "rmse_loss",
        "",
        "jnp.sqrt(jnp.mean((x - y) ** 2))",
        losses.rmse_loss,
        lambda x, y: jnp.sqrt(jnp.mean((x - y) ** 2)),
        pairs,
    ),
    Row(
        "smooth_l1_loss",
        "",
        "jnp.mean(optax.huber_loss(x, y))",
        losses.smooth_l1_loss,
        lambda x, y: jnp.mean(optax.huber_loss(x, y)),
        pairs,
    ),
    Row(
        "huber_loss",
        "delta=0.5",
        "jnp.mean(optax.huber_loss(x, y, delta=0.5))",
        partial(losses.huber_loss, delta=0.5),
        lambda x, y: jnp.mean(optax.huber_loss(x, y, delta=0.5)),
        pairs,
    ),
    Row(
        "binary_cross_entropy",
        "",
        "-jnp.mean(y * jnp.log(p) + (1 - y) * jnp.log1p(-p))",
        losses.binary_cross_entropy,
        lambda p, y: -jnp.mean(y * jnp.log(p) + (1 - y) * jnp.log1p(-p)),
        probabilities,
    ),
    Row(
        "binary_cross_entropy_with_logits",
        "",
        "jnp.mean(optax.sigmoid_binary_cross_entropy(x, y))",
        losses.binary_cross_entropy_with_logits,
        lambda x, y: jnp.mean(optax.sigmoid_binary_cross_entropy(x, y)),
        scored,
    ),
    Row(
        "cross_entropy",
        "classes",
        "jnp.mean(optax.softmax_cross_entropy_with_integer_labels(x, y))",
        losses.cross_entropy,
        lambda x, y: jnp.mean(optax.softmax_cross_entropy_with_integer_labels(x, y)),
        classes,
    ),
    Row(
        "cross_entropy",
        "classes, label_smoothing=0.1",
        "jnp.mean(optax.softmax_cross_entropy(x, optax.smooth_labels(jax.nn.one_hot(y, 1000), 0.1)))",
        partial(losses.cross_entropy, label_smoothing=0.1),
        lambda x, y: jnp.mean(optax.softmax_cross_entropy(x, optax.smooth_labels(jax.nn.one_hot(y, 1000), 0.1))),
        classes,
    ),
    Row(
        "cross_entropy",
        "probabilities",
        "jnp.mean(optax.softmax_cross_entropy(x, y))",
        losses.cross_entropy,
        lambda x, y: jnp.mean(optax.softmax_cross_entropy(x, y)),
        distributions,
    ),
    Row(
        "nll_loss",
        "",
        "-jnp.mean(jnp.take_along_axis(x, y[:, None], axis=1))",
        losses.nll_loss,
        lambda x, y: -jnp.mean(jnp.take_along_axis(x, y[:, None], axis=1)),
        classes,
    ),
    Row(
        "linear_cross_entropy",
        "4,000 classes",
        "jnp.mean(optax.softmax_cross_entropy_with_integer_labels(x @ w.T, y)), by jax.checkpoint for chunks",
        lambda x, w, y: losses.linear_cross_entropy(x, w, y),
        plain.linear_cross_entropy,
        many_classes,
        differentiated=2,
    ),
    Row(
        "kl_div",
        "batchmean",
        "jnp.mean(optax.kl_divergence(x, y))",
        partial(losses.kl_div, reduction="batchmean"),
        lambda x, y: jnp.mean(optax.kl_divergence(x, y)),
        distributions,
    ),
    Row(
        "kl_div",
        "batchmean, log_target",
        "jnp.mean(optax.losses.kl_divergence_with_log_targets(x, y))",
        partial(losses.kl_div, reduction="batchmean", log_target=True),
        lambda x, y: jnp.mean(optax.losses.kl_divergence_with_log_targets(x, y)),
        pairs,
    ),
    Row(
        "poisson_nll_loss",
        "",
        "jnp.mean(jnp.exp(x) - y * x)",
        losses.poisson_nll_loss,
        lambda x, y: jnp.mean(jnp.exp(x) - y * x),
        scored,
    ),
    Row(
        "gaussian_nll_loss",
        "",
        "jnp.mean(jnp.log(v) + (x - y) ** 2 / v) / 2",
        lambda x, v, y: losses.gaussian_nll_loss(x, y, v),
        lambda x, v, y: jnp.mean(jnp.log(v) + (x - y) ** 2 / v) / 2,
        densities,
        differentiated=2,
    ),
    Row(
        "hinge_embedding_loss",
        "",
        "jnp.mean(jnp.where(y == 1, x, jnp.maximum(0, 1 - x)))",
        losses.hinge_embedding_loss,
        lambda x, y: jnp.mean(jnp.where(y == 1, x, jnp.maximum(0, 1 - x))),
        signs,
    ),
    Row(
        "soft_margin_loss",
        "",
        "jnp.mean(jax.nn.softplus(-y * x))",
        losses.soft_margin_loss,
        lambda x, y: jnp.mean(softplus(-y * x)),
        signs,
    ),
    Row(
        "margin_ranking_loss",
        "",
        "jnp.mean(jnp.maximum(0, -y * (x1 - x2)))",
        losses.margin_ranking_loss,
        lambda x1, x2, y: jnp.mean(jnp.maximum(0, -y * (x1 - x2))),
        lambda batch: (*pairs(batch), signs(batch)[1]),
        differentiated=2,
    ),
    Row(
        "cosine_embedding_loss",
        "",
        "jnp.mean(jnp.where(y == 1, 1 - c, jnp.maximum(0, c))), c from optax.cosine_similarity",
        losses.cosine_embedding_loss,
        plain.cosine_embedding,
        vectors,
        differentiated=2,
    ),
    Row(
        "triplet_margin_loss",
        "",
        "jnp.mean(jnp.maximum(0, d(a, p) - d(a, n) + 1)), d from jnp.linalg.norm",
        losses.triplet_margin_loss,
        plain.triplet_margin,
        triplets,
        differentiated=3,
    ),
    Row(
        "triplet_margin_with_distance_loss",
        "",
        "jnp.mean(jnp.maximum(0, d(a, p) - d(a, n) + 1)), d from jnp.linalg.norm",
        losses.triplet_margin_with_distance_loss,
        plain.triplet_margin,
        triplets,
        differentiated=3,
    ),
    Row(
        "multi_margin_loss",
        "",
        "jnp.mean((jnp.sum(jnp.maximum(0, 1 - x[y] + x), axis=1) - 1) / 1000)",
        losses.multi_margin_loss,
        plain.multi_margin,
        classes,
    ),
    Row(
        "multilabel_margin_loss",
        "100 classes",
        "jnp.maximum(0, 1 - x[targets] + x[others]), summed over all pairs",
        losses.multilabel_margin_loss,
        plain.multilabel_margin,
        class_sets,
        batch=64,
    ),
    Row(
        "multilabel_soft_margin_loss",
        "",
        "jnp.mean(optax.sigmoid_binary_cross_entropy(x, y))",
        losses.multilabel_soft_margin_loss,
        lambda x, y: jnp.mean(optax.sigmoid_binary_cross_entropy(x, y)),
        scored,
    ),
    Row(
        "ctc_loss",
        "50 frames, 20 classes",
        "jnp.mean(optax.ctc_loss(x, pad, y, pad) / lengths)",
        _ctc,
        plain.ctc,
        frames,
        batch=16,
    ),
]
