"""Half precision is rounded once: inputs and results have few digits, the arithmetic between them has float32's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxtrain import nn, optim, regularization

X = (0.3 * np.random.default_rng(0).normal(size=(4, 7, 6))).astype(np.float32)
INDEX = np.arange(30, dtype=np.int32).reshape(5, 6)
LAYERS = {
    "AlphaDropout": (lambda dtype: nn.AlphaDropout(0.3, rngs=nnx.Rngs(0)), X),
    "BatchNorm": (lambda dtype: nn.BatchNorm(6, param_dtype=dtype), X),
    "BatchNorm, mean of all": (lambda dtype: nn.BatchNorm(6, momentum=None, param_dtype=dtype), X),
    "Dropout": (lambda dtype: nn.Dropout(0.3, rngs=nnx.Rngs(0)), X),
    "Embedding": (lambda dtype: nn.Embedding(30, 9, max_norm=1.5, param_dtype=dtype, rngs=nnx.Rngs(0)), INDEX),
    "EmbeddingBag, mean": (lambda dtype: nn.EmbeddingBag(30, 9, param_dtype=dtype, rngs=nnx.Rngs(0)), INDEX),
    "EmbeddingBag, sum": (lambda dtype: nn.EmbeddingBag(30, 9, mode="sum", param_dtype=dtype, rngs=nnx.Rngs(0)), INDEX),
    "FeatureAlphaDropout": (lambda dtype: nn.FeatureAlphaDropout(0.3, rngs=nnx.Rngs(0)), X),
    "FeatureDropout": (lambda dtype: nn.FeatureDropout(0.3, rngs=nnx.Rngs(0)), X),
    "GroupNorm": (lambda dtype: nn.GroupNorm(2, 6, param_dtype=dtype), X),
    "InstanceNorm": (
        lambda dtype: nn.InstanceNorm(6, affine=True, track_running_stats=True, param_dtype=dtype),
        X,
    ),
    "LayerNorm": (lambda dtype: nn.LayerNorm(6, param_dtype=dtype), X),
    "LocalResponseNorm": (lambda dtype: nn.LocalResponseNorm(3, alpha=20.0), X),
    "PReLU": (lambda dtype: nn.PReLU(6, param_dtype=dtype), X),
    "RMSNorm": (lambda dtype: nn.RMSNorm(6, param_dtype=dtype), X),
    **{
        function.__name__: (lambda dtype, f=function, given=given: nnx.Sequential(lambda x: f(x, *given)), X)
        for function, *given in [
            (nn.adaptive_avg_pool, 3),
            (nn.avg_pool, 3, 2),
            (nn.gelu,),
            (nn.glu,),
            (nn.interpolate, 10, None, "linear"),
            (nn.lp_pool, 2.0, 3, 2),
            (nn.mish,),
            (nn.normalize,),
            (nn.softmax,),
        ]
    },
}
MODES = {name: (True, False) if "BatchNorm" in name or "InstanceNorm" in name else (True,) for name in LAYERS}


def in_dtype(tree, dtype):
    return jax.tree.map(lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree)


def assert_rounded_once(half, wide, where=""):
    """Nearly all of `half` is `wide`, rounded; two roundings to half precision would differ in a tenth and more."""
    for narrow, exact in zip(jax.tree.leaves(half), jax.tree.leaves(wide), strict=True):
        same = np.asarray(narrow == exact.astype(narrow.dtype))
        assert same.size * 0.98 <= same.sum(), f"{where}: {same.mean():.0%} of {same.size} are rounded once"


@pytest.mark.parametrize(("dtype", "param_dtype"), [(jnp.bfloat16, jnp.bfloat16), (jnp.float16, jnp.float32)])
@pytest.mark.parametrize("name", LAYERS)
def test_layers(name, dtype, param_dtype):
    make, input = LAYERS[name]
    graph, state = nnx.split(make(param_dtype))
    numbers = np.random.default_rng(1)
    state = jax.tree.map(
        lambda leaf: (
            jnp.asarray(numbers.uniform(0.5, 1.5, leaf.shape), leaf.dtype) if leaf.dtype == param_dtype else leaf
        ),
        state,
    )
    input = in_dtype(jnp.asarray(input), dtype)

    @jax.jit
    def results(state, input):
        found = []
        for training in MODES[name]:
            layer = nnx.merge(graph, state, copy=True)
            layer.train() if training else layer.eval()
            found.append((layer(input), nnx.to_pure_dict(nnx.state(layer, nnx.BatchStat))))
        return found

    half = results(state, input)
    wide = results(in_dtype(state, jnp.float32), in_dtype(input, jnp.float32))
    assert half[0][0].dtype == (param_dtype if name.startswith("Embedding") else dtype)
    for training, narrow, exact in zip(MODES[name], half, wide, strict=True):
        assert_rounded_once(narrow, exact, f"training {training}")


def test_the_adaptive_softmax_takes_its_logarithms_in_float32():
    layer: Any = nn.AdaptiveLogSoftmaxWithLoss(
        6, 40, [4, 12], div_value=1.5, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0)
    )
    input = jnp.asarray(30 * X[0], jnp.bfloat16)
    head = jax.nn.log_softmax(layer.head(input).astype(jnp.float32))
    tails = [jax.nn.log_softmax(classes(first(input)).astype(jnp.float32)) for first, classes in layer.tail]
    expected = jnp.concatenate([head[:, :4], head[:, 4:5] + tails[0], head[:, 5:] + tails[1]], -1)
    found = layer.log_prob(input)
    assert found.dtype == jnp.bfloat16
    assert_rounded_once(found, expected)
    target = jnp.arange(0, 35, 5)
    output, loss = layer(input, target)
    picked = jnp.take_along_axis(expected, target[:, None], -1)[:, 0]
    assert_rounded_once((output, loss), (picked, -picked.mean()))


@pytest.mark.parametrize(
    "make",
    [nn.initializers.uniform(-0.1, 0.3), nn.initializers.normal(0.5, 0.2), nn.initializers.trunc_normal(std=0.7)],
    ids=["uniform", "normal", "trunc_normal"],
)
def test_initial_values_are_drawn_in_float32(make):
    key = jax.random.key(0)
    for dtype in (jnp.bfloat16, jnp.float16):
        np.testing.assert_array_equal(make(key, (50, 40), dtype), make(key, (50, 40), jnp.float32).astype(dtype))


TREE = {"kernel": jnp.asarray(X.reshape(28, 6), jnp.bfloat16), "bias": jnp.asarray(X[0, 0], jnp.bfloat16)}
OTHER = jax.tree.map(lambda leaf: jnp.flip(leaf, 0), TREE)


@pytest.mark.parametrize(
    "transformation",
    [
        optim.clip_grad_norm(0.7),
        optim.clip_grad_norm(0.7, 3.0),
        optax.masked(regularization.max_norm(0.9), regularization.decay_mask),
        optax.masked(regularization.max_norm(1.9, 1.0, axis=0), regularization.decay_mask),
        optax.masked(regularization.unit_norm(), regularization.decay_mask),
        regularization.non_negative(),
    ],
    ids=["clip", "clip, p=3", "max_norm", "max_norm, p=1", "unit_norm", "non_negative"],
)
def test_transformations(transformation):
    def updated(updates, params):
        return transformation.update(updates, transformation.init(params), params)[0]

    wide = updated(in_dtype(OTHER, jnp.float32), in_dtype(TREE, jnp.float32))
    assert_rounded_once(updated(OTHER, TREE), wide)


@pytest.mark.parametrize(
    "penalty",
    [
        lambda params: regularization.l1_penalty(params, 0.3),
        lambda params: regularization.l2_penalty(params, 0.3),
        lambda params: regularization.elastic_net_penalty(params, 0.3, 0.2),
    ],
    ids=["l1", "l2", "elastic net"],
)
def test_penalties(penalty):
    value, gradient = jax.value_and_grad(penalty)(TREE)
    wide_value, wide_gradient = jax.value_and_grad(penalty)(in_dtype(TREE, jnp.float32))
    assert value.dtype == jnp.float32
    assert value == wide_value
    assert_rounded_once(gradient, wide_gradient)


@pytest.mark.parametrize("average", [optim.get_swa_avg_fn(), optim.get_ema_avg_fn(0.9)], ids=["swa", "ema"])
def test_averaged_models(average):
    model = optim.averaged_model(average)
    first = model.update_parameters(model.init(TREE), TREE)
    half, wide = (
        model.update_parameters(first._replace(module=in_dtype(first.module, dtype)), in_dtype(OTHER, dtype)).module
        for dtype in (jnp.bfloat16, jnp.float32)
    )
    assert half["kernel"].dtype == jnp.bfloat16
    assert_rounded_once(half, wide)
