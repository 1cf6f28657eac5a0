"""Calls of a port that are made to return other arrays, with other gradients of their inputs."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from parity.diff.jax_arrays import to_jax
from parity.diff.ports import is_float
from parity.diff.records import Place
from parity.diff.walk import Passing, split

Forced = Mapping[Place, tuple[list[np.ndarray], list[np.ndarray | None]]]
"""What calls return, and the gradients of their inputs."""


def forcing(outputs: Sequence[np.ndarray], gradients: Sequence[np.ndarray | None], dtype: str) -> Any:
    """What a call is to return, and the gradients of its inputs, as JAX's arrays."""
    back = [None if g is None else to_jax(g, dtype) for g in gradients]
    return [to_jax(y, dtype) for y in outputs], back


def forced_call(passing: Passing, shape: Any) -> Any:
    """What a call is made to return, while the gradients of its inputs are made to be others."""
    outputs, gradients = passing.given
    floats = [x for x in split((passing.args, passing.kwargs))[1] if is_float(x)]
    back = [
        jnp.zeros_like(x) if g is None or g.size != x.size else jnp.asarray(g, x.dtype).reshape(x.shape)
        for x, g in zip(floats, [*gradients, *[None] * len(floats)], strict=False)
    ]
    return shape.filled(_constant(floats, outputs, back))


@jax.custom_vjp
def _constant(floats: list[Any], outputs: list[Any], back: list[Any]) -> list[Any]:
    return outputs


def _constant_forward(floats: list[Any], outputs: list[Any], back: list[Any]) -> Any:
    return outputs, (outputs, back)


def _constant_backward(kept: Any, cotangents: Any) -> Any:
    outputs, back = kept
    return back, jax.tree.map(_zero, outputs), jax.tree.map(jnp.zeros_like, back)


def _zero(value: Any) -> Any:
    floating = jnp.issubdtype(value.dtype, jnp.floating)
    return jnp.zeros_like(value) if floating else np.zeros(value.shape, jax.dtypes.float0)


_constant.defvjp(_constant_forward, _constant_backward)
