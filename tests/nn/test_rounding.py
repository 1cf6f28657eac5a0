"""How often layers round: sums of gradients over many positions, and half-precision products with a bias."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain import nn


@pytest.mark.parametrize("shape", [(2, 6, 6, 6, 8), (16, 5, 8, 16)], ids=["small", "large"])
def test_the_gradient_of_a_norms_bias_is_off_by_less_than_one_rounding(shape):
    x, gradient = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    ones, zeros = jnp.ones(shape[-1]), jnp.zeros(shape[-1])

    def output(bias):
        return nn.batch_norm(jnp.asarray(x), zeros, ones, ones, bias)[0]

    (found,) = jax.jit(lambda gradient: jax.vjp(output, zeros)[1](gradient))(gradient)
    true = gradient.astype(np.float64).sum(tuple(range(x.ndim - 1)))
    error = np.sqrt(np.mean(np.square(found - true)))
    assert error < 0.5 * np.spacing(np.float32(np.abs(true).max()))


@pytest.mark.usefixtures("promotion")
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_a_half_precision_product_and_its_bias_are_rounded_once(dtype):
    draw = np.random.default_rng(0)
    x, kernel, bias = (jnp.asarray(draw.normal(size=size), dtype) for size in ((64, 3), (3, 32), (32,)))
    exact = np.asarray(x, np.float64) @ np.asarray(kernel, np.float64) + np.asarray(bias, np.float64)
    output = nn.linear(x, kernel, bias)
    assert output.dtype == dtype
    # The float32 sum may itself be rounded to a tie, hence not 1.
    assert np.mean(np.asarray(output) == np.asarray(exact.astype(dtype))) > 0.99
    assert np.mean(np.asarray((x @ kernel) + bias) == np.asarray(exact.astype(dtype))) < 0.95


@pytest.mark.usefixtures("promotion")
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.float32])
def test_forward_and_reverse_mode_agree_through_a_product_with_its_own_derivative(dtype):
    x, kernel, bias = jnp.ones((2, 5, 4), dtype), jnp.full((3, 2, 4), 0.5, dtype), jnp.ones(4, dtype)

    def loss(kernel):
        return jnp.sum(nn.conv(x, kernel, bias, groups=2).astype(jnp.float32))

    tangent = jax.jvp(loss, (kernel,), (kernel,))[1]
    assert tangent == jnp.vdot(jax.grad(loss)(kernel), kernel) == 72
