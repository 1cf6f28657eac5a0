"""Where a program loses digits."""

import jax
import jax.numpy as jnp
import pytest

from parity.diff.casts import casts_of

# Schedules divide the number of a step by another integer.
pytestmark = pytest.mark.usefixtures("promotion")


@pytest.mark.parametrize(
    ("function", "counts", "dtypes"),
    [
        (lambda x, step: x * x + step.astype(x.dtype), True, []),
        (lambda x, step: x.astype(jnp.float32) * 2, False, ["float32"]),
        (lambda x, step: x * (0.1 * ((step + 1) / 4)).astype(x.dtype), False, []),
        (lambda x, step: x * (0.1 * ((step + 1) / 4)).astype(x.dtype), True, ["float32"]),
        (lambda x, step: jax.jit(lambda x: x.astype(jnp.bfloat16))(x), True, ["bfloat16"]),
    ],
)
def test_a_cast_to_fewer_digits_is_found(function, counts, dtypes):
    with jax.enable_x64(True):
        program = jax.make_jaxpr(function)(jnp.ones(3), jnp.int32(1))
    assert [dtype for dtype, _ in casts_of(program.jaxpr, counts=counts)] == dtypes
