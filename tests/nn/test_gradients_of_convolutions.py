"""Gradients that are written out for CPUs are those that JAX finds, in forward mode and twice as well."""

import re
from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxtrain import nn
from jaxtrain.nn._convolve import Window

LAYOUTS = {1: ("NWC", "WIO", "NWC"), 2: ("NHWC", "HWIO", "NHWC"), 3: ("NDHWC", "DHWIO", "NDHWC")}
WINDOWS = [  # stride, padding, dilation, spread
    (1, (0, 0), 1, 1),
    (2, (1, 1), 1, 1),
    (3, (2, 0), 2, 1),
    (2, (0, 3), 1, 2),
    (1, (-1, 2), 2, 3),
    (1, (2, 3), 1, 1),
]


def drawn(positions, size):
    draws = np.random.default_rng(0)
    x, kernel = draws.normal(size=(3, *positions, 4)), draws.normal(size=(*size, 4, 5))
    return [(x, kernel), (draws.normal(size=x.shape), draws.normal(size=kernel.shape))]


@pytest.mark.parametrize("positions", [(9,), (8, 7), (6, 5, 7)], ids=["1 axis", "2 axes", "3 axes"])
@pytest.mark.parametrize(("size", "window"), list(product([2, 3], WINDOWS)))
def test_derivatives_in_float64(positions, size, window):
    axes = len(positions)
    stride, padding, dilation, spread = window
    with jax.enable_x64(True):
        arguments, tangents = jax.tree.map(jnp.asarray, drawn(positions, (size,) * axes))
        numbers = lax.conv_dimension_numbers(arguments[0].shape, arguments[1].shape, LAYOUTS[axes])
        made = Window((stride,) * axes, (padding,) * axes, (dilation,) * axes, 1, numbers, (spread,) * axes)

        @jax.jit
        def derivatives(arguments, tangents):
            def of(product):
                def curved(x, kernel):
                    return jnp.sin(product(x, kernel)).sum()

                gradient = jax.grad(curved, (0, 1))
                return gradient(*arguments), jax.jvp(gradient, arguments, tangents)[1]

            return of(lambda x, kernel: made.apply(x, kernel, None, -1)), of(made.convolve)

        ours, expected = derivatives(arguments, tangents)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
        assert one.dtype == jnp.float64
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("function", [nn.conv, nn.conv_transpose])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [0, 1, 2])
def test_a_compiled_gradient_has_convolutions_in_one_layout(function, stride, padding):
    """XLA may move a transposition into a convolution, which is then slow in a loop."""

    def loss(x, kernel):
        return jnp.sin(function(x, kernel, padding=padding, stride=stride)).sum()

    x, kernel = jnp.ones((8, 16, 16, 4)), jnp.ones((3, 3, 4, 4))
    program = str(jax.jit(jax.grad(loss, (0, 1))).lower(x, kernel).compile().as_text())
    layouts = re.findall(r" convolution\(.*dim_labels=(\S+?)[,\s]", program)
    assert layouts == ["b01f_01io->b01f"] * 3


def test_gradients_of_examples_and_of_symbolic_sizes():
    def loss(kernel, x):
        return jnp.sin(nn.conv(x[None], kernel, padding=1, stride=2)).sum()

    (x, kernel), _ = jax.tree.map(jnp.float32, drawn((8, 7), (3, 3)))
    by_example = jax.jit(jax.vmap(jax.grad(loss), (None, 0)))(kernel, x)
    one_by_one = jnp.stack([jax.grad(loss)(kernel, example) for example in x])
    np.testing.assert_allclose(by_example, one_by_one, rtol=2e-5, atol=2e-6)

    sizes = jax.export.symbolic_shape("n, h, w, 4")
    gradient = jax.jit(jax.grad(lambda kernel, x: jnp.sin(nn.conv(x, kernel, padding=1)).sum()))
    shapes = kernel, jax.ShapeDtypeStruct(sizes, jnp.float32)
    expected = gradient(kernel, x)
    for platforms in (["cpu"], ["cpu", "cuda", "tpu"]):
        exported = jax.export.export(gradient, platforms=platforms)(*shapes)
        np.testing.assert_allclose(exported.call(kernel, x), expected, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(("function", "stride"), [(nn.conv, 1), (nn.conv, 2), (nn.conv_transpose, 1)])
def test_a_kernel_of_one_position_is_a_matrix_product(function, stride):
    (x, kernel), _ = jax.tree.map(jnp.float32, drawn((8, 7), (1, 1)))
    if function is nn.conv_transpose:
        kernel = kernel.swapaxes(-1, -2)
    bias = jnp.arange(5.0)

    def differentiated(function, *arguments):
        output, pull = jax.vjp(function, *arguments)
        return output, *pull(jnp.sin(output))

    ours = partial(differentiated, lambda x, kernel, bias: function(x, kernel, bias, stride=stride))
    assert "conv_general_dilated" not in str(jax.make_jaxpr(ours)(x, kernel, bias))
    letters = "nhwi,aboi->nhwo" if function is nn.conv_transpose else "nhwi,abio->nhwo"
    expected = partial(
        differentiated,
        lambda x, kernel, bias: jnp.einsum(letters, x[:, ::stride, ::stride], kernel) + bias[None, None, None],
    )
    for one, other in zip(jax.jit(ours)(x, kernel, bias), jax.jit(expected)(x, kernel, bias), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-5, atol=2e-5)
