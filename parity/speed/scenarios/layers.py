"""Each layer and Flax's, in training: the output, the gradients of parameters and input, and what the layer keeps."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxtrain import nn
from parity.speed.scenario import Program, Scenario
from parity.speed.scenarios import _plain_layers as plain

Layer = Callable[[nnx.Rngs], nnx.Module]


class Row(NamedTuple):
    """A layer and its counterpart.

    Attributes:
        component: ours.
        configuration: arguments and shapes that matter.
        counterpart: Flax's, or a plain expression if it has none.
        ours: makes ours.
        theirs: makes the counterpart.
        shape: shape of the input, the batch first.
        integers: for an input of integers, below which number they are drawn.
        classes: for a second argument of one class an example, their number.
        training: the mode.
    """

    component: str
    configuration: str
    counterpart: str
    ours: Layer
    theirs: Layer
    shape: tuple[int, ...]
    integers: int = 0
    classes: int = 0
    training: bool = True


def scenario(row: Row, *, small: bool) -> Scenario:
    """What is measured of a row; batches of two if `small`."""
    return Scenario(
        f"nn.{row.component}",
        row.configuration,
        row.counterpart,
        partial(_program, row, row.ours, small),
        partial(_program, row, row.theirs, small),
    )


def _program(row: Row, make: Layer, small: bool) -> Program:
    layer = make(nnx.Rngs(0))
    layer.train() if row.training else layer.eval()
    inputs = _inputs(row, small)
    graph, params, rest = nnx.split(layer, nnx.Param, ...)
    # Plain lists: flattening the state of a module takes longer than some layers.
    leaves, structure = jax.tree.flatten(params)
    other_leaves, other_structure = jax.tree.flatten(rest)

    def forward(leaves: list[Any], others: list[Any], *inputs: jax.Array) -> tuple[Any, list[Any]]:
        module: Any = nnx.merge(
            graph, jax.tree.unflatten(structure, leaves), jax.tree.unflatten(other_structure, others)
        )
        return module(*inputs), jax.tree.leaves(nnx.state(module, nnx.Not(nnx.Param)))

    def forward_and_backward(
        leaves: list[Any], others: list[Any], cotangent: Any, *inputs: jax.Array
    ) -> tuple[Any, Any, list[Any]]:
        floating = [jnp.issubdtype(array.dtype, jnp.floating) for array in inputs]

        def of_floats(leaves: list[Any], *floats: jax.Array) -> tuple[Any, list[Any]]:
            given = iter(floats)
            chosen = [next(given) if is_float else array for is_float, array in zip(floating, inputs, strict=True)]
            return forward(leaves, others, *chosen)

        floats = [array for is_float, array in zip(floating, inputs, strict=True) if is_float]
        output, pull, kept = jax.vjp(of_floats, leaves, *floats, has_aux=True)
        return output, pull(cotangent), kept

    output, _ = jax.eval_shape(forward, leaves, other_leaves, *inputs)
    cotangent = jax.tree.map(lambda array: jnp.ones(array.shape, array.dtype), output)
    return Program(forward_and_backward, (leaves, other_leaves, cotangent, *inputs))


def _inputs(row: Row, small: bool) -> list[jax.Array]:
    generator = np.random.default_rng(0)
    shape = (2, *row.shape[1:]) if small else row.shape
    if row.integers:
        return [jnp.asarray(generator.integers(row.integers, size=shape), jnp.int32)]
    inputs = [jnp.asarray(generator.normal(size=shape), jnp.float32)]
    if row.classes:
        inputs.append(jnp.asarray(generator.integers(row.classes, size=shape[0]), jnp.int32))
    return inputs


IMAGES = (16, 16, 16, 32)
FEATURES = (512, 256)

ROWS = [
    Row(
        "Linear",
        "256 to 256",
        "nnx.Linear",
        lambda rngs: nn.Linear(256, 256, rngs=rngs),
        lambda rngs: nnx.Linear(256, 256, rngs=rngs),
        FEATURES,
    ),
    Row(
        "Conv",
        "3x3, padding=1",
        "nnx.Conv",
        lambda rngs: nn.Conv(32, 32, (3, 3), padding=1, rngs=rngs),
        lambda rngs: nnx.Conv(32, 32, (3, 3), padding=1, rngs=rngs),
        IMAGES,
    ),
    Row(
        "Conv",
        "3x3, stride=2, padding=1",
        "nnx.Conv",
        lambda rngs: nn.Conv(32, 64, (3, 3), stride=2, padding=1, rngs=rngs),
        lambda rngs: nnx.Conv(32, 64, (3, 3), strides=2, padding=1, rngs=rngs),
        IMAGES,
    ),
    Row(
        "Conv",
        "3x3, depthwise, padding=1",
        "nnx.Conv",
        lambda rngs: nn.Conv(32, 32, (3, 3), padding=1, groups=32, rngs=rngs),
        lambda rngs: nnx.Conv(32, 32, (3, 3), padding=1, feature_group_count=32, rngs=rngs),
        IMAGES,
    ),
    Row(
        "Conv",
        "1x1",
        "nnx.Conv",
        lambda rngs: nn.Conv(32, 64, (1, 1), rngs=rngs),
        lambda rngs: nnx.Conv(32, 64, (1, 1), rngs=rngs),
        IMAGES,
    ),
    Row(
        "Conv",
        "5, padding=2",
        "nnx.Conv",
        lambda rngs: nn.Conv(32, 32, 5, padding=2, rngs=rngs),
        lambda rngs: nnx.Conv(32, 32, 5, padding=2, rngs=rngs),
        (16, 128, 32),
    ),
    Row(
        "ConvTranspose",
        "3x3, stride=2, padding=1, output_padding=1",
        "nnx.ConvTranspose, SAME",
        lambda rngs: nn.ConvTranspose(32, 16, (3, 3), stride=2, padding=1, output_padding=1, rngs=rngs),
        lambda rngs: nnx.ConvTranspose(32, 16, (3, 3), strides=2, padding="SAME", transpose_kernel=True, rngs=rngs),
        (16, 8, 8, 32),
    ),
    Row(
        "BatchNorm",
        "images",
        "nnx.BatchNorm",
        lambda rngs: nn.BatchNorm(32),
        lambda rngs: nnx.BatchNorm(32, momentum=0.9, rngs=rngs),
        IMAGES,
    ),
    Row(
        "BatchNorm",
        "features",
        "nnx.BatchNorm",
        lambda rngs: nn.BatchNorm(256),
        lambda rngs: nnx.BatchNorm(256, momentum=0.9, rngs=rngs),
        FEATURES,
    ),
    Row(
        "BatchNorm",
        "images, evaluation",
        "nnx.BatchNorm",
        lambda rngs: nn.BatchNorm(32),
        lambda rngs: nnx.BatchNorm(32, momentum=0.9, rngs=rngs),
        IMAGES,
        training=False,
    ),
    Row(
        "GroupNorm",
        "8 groups",
        "nnx.GroupNorm",
        lambda rngs: nn.GroupNorm(8, 32),
        lambda rngs: nnx.GroupNorm(32, 8, epsilon=1e-5, rngs=rngs),
        IMAGES,
    ),
    Row(
        "InstanceNorm",
        "affine",
        "nnx.InstanceNorm",
        lambda rngs: nn.InstanceNorm(32, affine=True),
        lambda rngs: nnx.InstanceNorm(32, epsilon=1e-5, rngs=rngs),
        IMAGES,
    ),
    Row(
        "LayerNorm",
        "",
        "nnx.LayerNorm",
        lambda rngs: nn.LayerNorm(256),
        lambda rngs: nnx.LayerNorm(256, epsilon=1e-5, rngs=rngs),
        FEATURES,
    ),
    Row(
        "RMSNorm",
        "",
        "nnx.RMSNorm",
        lambda rngs: nn.RMSNorm(256, eps=1e-6),
        lambda rngs: nnx.RMSNorm(256, rngs=rngs),
        FEATURES,
    ),
    Row(
        "LocalResponseNorm",
        "5 channels",
        "x / (1 + 1e-4 * energy / 5) ** 0.75, energy from lax.reduce_window",
        lambda rngs: nn.LocalResponseNorm(5),
        lambda rngs: plain.LocalResponseNorm(5),
        IMAGES,
    ),
    Row(
        "Dropout",
        "p=0.5",
        "nnx.Dropout",
        lambda rngs: nn.Dropout(0.5, rngs=rngs),
        lambda rngs: nnx.Dropout(0.5, rngs=rngs),
        FEATURES,
    ),
    Row(
        "FeatureDropout",
        "p=0.5",
        "nnx.Dropout, broadcast_dims=(1, 2)",
        lambda rngs: nn.FeatureDropout(0.5, rngs=rngs),
        lambda rngs: nnx.Dropout(0.5, broadcast_dims=(1, 2), rngs=rngs),
        IMAGES,
    ),
    Row(
        "AlphaDropout",
        "p=0.5",
        "a * jnp.where(keep, x, s) + b, keep from jax.random.bernoulli",
        lambda rngs: nn.AlphaDropout(0.5, rngs=rngs),
        lambda rngs: plain.AlphaDropout(0.5, rngs=rngs),
        FEATURES,
    ),
    Row(
        "FeatureAlphaDropout",
        "p=0.5",
        "a * jnp.where(keep, x, s) + b, keep from jax.random.bernoulli",
        lambda rngs: nn.FeatureAlphaDropout(0.5, rngs=rngs),
        lambda rngs: plain.AlphaDropout(0.5, channels=True, rngs=rngs),
        IMAGES,
    ),
    Row(
        "Embedding",
        "10,000 rows",
        "nnx.Embed",
        lambda rngs: nn.Embedding(10_000, 64, rngs=rngs),
        lambda rngs: nnx.Embed(10_000, 64, rngs=rngs),
        (32, 128),
        integers=10_000,
    ),
    Row(
        "AdaptiveLogSoftmaxWithLoss",
        "2,000 classes",
        "nnx.Linear, jax.nn.log_softmax and jnp.take_along_axis, cluster by cluster",
        lambda rngs: nn.AdaptiveLogSoftmaxWithLoss(128, 2000, [100, 500], rngs=rngs),
        lambda rngs: plain.AdaptiveLogSoftmax(128, 2000, [100, 500], rngs=rngs),
        (128, 128),
        classes=2000,
    ),
]
