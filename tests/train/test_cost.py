"""What is read from a step's program: its multiplications, and convolutions that are slow in a loop on a CPU."""

import jax
import jax.numpy as jnp
import pytest

from jaxtrain import nn
from jaxtrain.train.cost import cost

IMAGES = jax.ShapeDtypeStruct((2, 8, 9, 4), jnp.float32)
KERNEL = jax.ShapeDtypeStruct((3, 3, 4, 4), jnp.float32)


def gradients(function, **options):
    def summed(x, kernel):
        return jnp.sin(function(x, kernel, padding=1, **options)).sum()

    return jax.grad(summed, (0, 1))


def test_multiplications_of_matrices_count_once_a_loop():
    def product(x, y):
        return jax.lax.map(lambda x: jnp.einsum("bij,bjk->bik", x, y), jnp.stack([x] * 9))

    program = jax.make_jaxpr(product)(jnp.ones((2, 3, 5)), jnp.ones((2, 5, 7)))
    assert cost(program, "cpu") == (2 * 3 * 5 * 7, False)


@pytest.mark.parametrize(("groups", "per_group"), [(1, 4), (2, 2)])
def test_multiplications_of_convolutions(groups, per_group):
    kernel = jax.ShapeDtypeStruct((3, 3, per_group, 6), jnp.float32)
    program = jax.make_jaxpr(lambda x, kernel: nn.conv(x, kernel, groups=groups))(IMAGES, kernel)
    assert cost(program, "cpu") == (2 * 6 * 7 * 6 * 9 * per_group, False)


@pytest.mark.parametrize("function", [nn.conv, nn.conv_transpose])
@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"dilation": 2}])
def test_gradients_of_convolutions_are_fast_in_loops(function, options):
    program = jax.make_jaxpr(jax.jit(gradients(function, **options)))(IMAGES, KERNEL)
    assert not cost(program, "cpu")[1]


def test_other_layouts_are_slow_in_loops_on_a_cpu():
    images = jax.ShapeDtypeStruct((2, 4, 8, 9), jnp.float32)
    depthwise = jax.ShapeDtypeStruct((3, 3, 1, 4), jnp.float32)
    for options, x, kernel in (({"axis": 1}, images, KERNEL), ({"groups": 4}, IMAGES, depthwise)):
        program = jax.make_jaxpr(gradients(nn.conv, **options))(x, kernel)
        assert cost(program, "cpu")[1]
        assert not cost(program, "cuda")[1]
