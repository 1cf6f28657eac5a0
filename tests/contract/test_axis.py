"""Every layer with an `axis` gives the same numbers wherever the channels lie, and refuses axes that do not exist."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxtrain import nn

X = np.random.default_rng(0).normal(size=(2, 7, 5, 4)).astype(np.float32)


def conv(**options):
    return lambda axis: nn.Conv(4, 6, (3, 2), axis=axis, rngs=nnx.Rngs(0), **options)


def conv_transpose(axis):
    return nn.ConvTranspose(4, 6, (3, 2), stride=(3, 2), padding=(1, 0), groups=2, axis=axis, rngs=nnx.Rngs(0))


def affine(make):
    """The layer with weights and biases that differ from channel to channel."""

    def made(axis):
        layer = make(axis)
        numbers = np.random.default_rng(1)
        for variable in jax.tree.leaves(
            nnx.state(layer, (nnx.Param, nnx.BatchStat)), is_leaf=lambda v: isinstance(v, nnx.Variable)
        ):
            if jnp.issubdtype(variable.dtype, jnp.floating):
                variable[...] = jnp.asarray(numbers.uniform(0.5, 1.5, variable.shape), variable.dtype)
        return layer

    return made


LAYERS = {
    "Conv": conv(stride=(2, 1), padding=(1, 0), dilation=(1, 2)),
    "Conv, same": conv(padding="same", groups=2),
    "Conv, reflect": conv(padding=(2, 1), padding_mode="reflect"),
    "Conv, replicate": conv(padding=(2, 9), padding_mode="replicate"),
    "Conv, circular": conv(padding=(7, 5), padding_mode="circular"),
    "ConvTranspose": conv_transpose,
    "ConvTranspose, output_size": conv_transpose,
    "BatchNorm": affine(lambda axis: nn.BatchNorm(4, axis=axis)),
    "BatchNorm, evaluation": affine(lambda axis: nn.BatchNorm(4, axis=axis)),
    "InstanceNorm": affine(lambda axis: nn.InstanceNorm(4, affine=True, track_running_stats=True, axis=axis)),
    "InstanceNorm, evaluation": affine(
        lambda axis: nn.InstanceNorm(4, affine=True, track_running_stats=True, axis=axis)
    ),
    "GroupNorm": affine(lambda axis: nn.GroupNorm(2, 4, axis=axis)),
    "LocalResponseNorm": lambda axis: nn.LocalResponseNorm(3, alpha=5.0, axis=axis),
}
MASKS = {
    "FeatureDropout": lambda axis: nn.FeatureDropout(0.5, axis=axis, rngs=nnx.Rngs(0)),
    "FeatureAlphaDropout": lambda axis: nn.FeatureAlphaDropout(0.5, axis=axis, rngs=nnx.Rngs(0)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_the_channels_may_lie_on_any_axis(name):
    def results(axis):
        layer = LAYERS[name](axis)
        layer.eval() if "evaluation" in name else layer.train()
        size = ((20, 11),) if "output_size" in name else ()
        output = layer(jnp.moveaxis(X, -1, axis), *size)
        return jnp.moveaxis(output, axis, -1), nnx.to_pure_dict(nnx.state(layer, nnx.BatchStat))

    expected, *others = jax.jit(lambda: [results(axis) for axis in (-1, 1, 2, -2)])()
    for other in others:
        jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5), other, expected)


@pytest.mark.parametrize("name", MASKS)
def test_whole_channels_are_dropped_on_any_axis(name):
    for axis in (-1, 1, 2):
        layer = MASKS[name](axis)
        layer.train()
        output = jnp.moveaxis(layer(jnp.moveaxis(jnp.asarray(X), -1, axis)), axis, -1)
        dropped = np.ptp(np.asarray(output), axis=(1, 2)) == 0
        assert 0 < dropped.sum() < dropped.size, axis


@pytest.mark.parametrize("name", [*LAYERS, *MASKS])
def test_axes_that_do_not_exist_are_refused(name):
    make = (LAYERS | MASKS)[name]
    for axis in (4, -5):
        with pytest.raises(ValueError, match=f"axis {axis} does not exist in an input of shape"):
            make(axis)(X)
    if "BatchNorm" not in name:
        with pytest.raises(ValueError, match=r"expected (the examples along axis 0|. channels along axis)"):
            make(0)(X)
        with pytest.raises(ValueError, match="expected the examples along axis 0"):
            make(-4)(np.moveaxis(X, -1, 0))
