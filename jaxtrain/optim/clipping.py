"""Gradient clipping with PyTorch's formulas."""

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxtrain._ground.checks import check_range
from jaxtrain._ground.dtypes import at_least_float32


def clip_grad_norm(max_norm: ArrayLike, norm_type: float = 2.0) -> optax.GradientTransformation:
    """Scale all gradients together so that their norm is at most `max_norm`.

        g ← g · min(1, c/(‖g‖ₚ + 1e-6))

    The norm is taken over all gradients as one vector. A norm of exactly `max_norm` still shrinks a little.

    Args:
        max_norm: largest norm c ≥ 0, a number or array.
        norm_type: order p of the norm, which may be infinite. 0 counts the gradients that are not all zero. Default 2.

    Returns:
        A stateless `optax.GradientTransformation`, to be chained before an optimizer. A NaN norm makes every gradient
        NaN; an infinite norm makes infinite elements NaN and all others 0.

    Raises:
        ValueError: if `max_norm` is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> clip = optim.clip_grad_norm(1.0)
        >>> clipped, _ = clip.update({"a": jnp.array([3.0]), "b": jnp.array([4.0])}, clip.init(None))
        >>> round(float(clipped["b"][0]), 7)
        0.7999998

    PyTorch: `torch.nn.utils.clip_grad_norm_`, without `error_if_nonfinite`, because compiled code cannot raise.
    `optax.clip_by_global_norm` does not add 1e-6 and has only the 2-norm.

    Source: Pascanu et al., "On the difficulty of training recurrent neural networks", 2013,
    https://arxiv.org/abs/1211.5063
    """
    check_range("clip_grad_norm", "max_norm", max_norm, 0.0)

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        del params
        leaves = jax.tree.leaves(updates)
        if not leaves:
            return updates, state
        norms = jnp.stack([_norm(leaf.astype(at_least_float32(leaf.dtype)), norm_type) for leaf in leaves])
        scale = jnp.minimum(max_norm / (_norm(norms, norm_type) + 1e-6), 1.0)
        return jax.tree.map(lambda gradient: (gradient * scale).astype(gradient.dtype), updates), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def clip_grad_value(clip_value: ArrayLike) -> optax.GradientTransformation:
    """Limit every element of every gradient to [-c, c].

        g ← min(max(g, -c), c)

    Args:
        clip_value: limit c ≥ 0, a number or array.

    Returns:
        A stateless `optax.GradientTransformation`, to be chained before an optimizer. NaN stays NaN.

    Raises:
        ValueError: if `clip_value` is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> clip = optim.clip_grad_value(0.5)
        >>> clip.update(jnp.array([-2.0, 0.25, 7.0]), clip.init(None))[0].tolist()
        [-0.5, 0.25, 0.5]

    PyTorch: `torch.nn.utils.clip_grad_value_`, which accepts a negative value and sets every element to it.
    """
    check_range("clip_grad_value", "clip_value", clip_value, 0.0)

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        del params
        return jax.tree.map(lambda gradient: _clipped(gradient, clip_value), updates), state

    return optax.GradientTransformation(optax.init_empty_state, update)


@jax.jit  # Traced once for all gradients of one shape and dtype.
def _clipped(gradient: jax.Array, limit: ArrayLike) -> jax.Array:
    return jnp.clip(gradient, jnp.negative(limit), limit)


def _norm(vector: jax.Array, order: float) -> jax.Array:
    return jnp.linalg.norm(vector.ravel(), ord=order)
