"""Elementwise functions with PyTorch's gradients at ties and zeros, where JAX's own differ."""

import jax
import jax.numpy as jnp
from jax import Array


def absolute(x: Array) -> Array:
    """|x| with gradient 0 at 0, where `jnp.abs` has 1."""
    return x * jnp.sign(x)


def product_or_zero(p: Array, log_q: Array) -> Array:
    """p · log q with 0 · log 0 = 0 in value and gradient, where the plain product has NaN."""
    return p * jnp.where((p == 0) & jnp.isneginf(log_q), 0, log_q)


@jax.custom_jvp
def root(x: Array) -> Array:
    """√x with gradient 0 at 0, where `jnp.sqrt` has infinity."""
    return jnp.sqrt(x)


@root.defjvp
def _root_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    value = root(*primals)
    is_zero = value == 0
    return value, jnp.where(is_zero, 0, tangents[0] / jnp.where(is_zero, 1, 2 * value))


@jax.custom_jvp
def softplus(x: Array) -> Array:
    """log(1 + exp(x)), with the logistic function for its gradient: `jax.nn.softplus` loses digits there."""
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


softplus.defjvps(lambda tangent, _, x: jax.nn.sigmoid(x) * tangent)
