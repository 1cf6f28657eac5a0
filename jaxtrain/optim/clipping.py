"""Gradient clipping with PyTorch's formulas."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.typing import ArrayLike

from jaxtrain._ground.checks import check_number
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.norms import joint_norm
from jaxtrain.optim.sparse_rows import SparseRows


def clip_grad_norm(max_norm: ArrayLike, norm_type: ArrayLike = 2.0) -> optax.GradientTransformation:
    """Scale all gradients together so that their norm is at most `max_norm`.

        g ← g · min(1, c/(‖g‖ₚ + 1e-6))

    The norm is taken over all gradients as one vector, those of frozen parameters included: where PyTorch has no
    gradient, put None, or clip within the group that is trained. Of `SparseRows` the values are clipped. A norm of
    exactly `max_norm` still shrinks a little.

    Args:
        max_norm: largest norm c ≥ 0, one number.
        norm_type: order p of the norm, which may be infinite. 0 counts the gradients that are not all zero. Default 2.

    Returns:
        A stateless `optax.GradientTransformation`, to be chained before an optimizer. A NaN norm makes every gradient
        NaN; an infinite norm makes infinite elements NaN and all others 0.

    Raises:
        ValueError: if `max_norm` is negative.
        TypeError: at `update`, if a gradient is not a floating point array.

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
    check_number("clip_grad_norm", "max_norm", max_norm, 0.0)
    check_number("clip_grad_norm", "norm_type", norm_type)

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        del params
        leaves = _values("clip_grad_norm", updates)
        if not leaves:
            return updates, state
        dtype = at_least_float32(*(leaf.dtype for leaf in leaves))
        total = joint_norm([leaf.astype(dtype) for leaf in leaves], norm_type)
        scale = jnp.minimum(jnp.asarray(max_norm, dtype) / (total + 1e-6), 1.0)
        return _mapped(lambda gradient: _scaled(gradient, scale), updates), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def clip_grad_value(clip_value: ArrayLike) -> optax.GradientTransformation:
    """Limit every element of every gradient to [-c, c].

        g ← min(max(g, -c), c)

    Args:
        clip_value: limit c ≥ 0, one number.

    Returns:
        A stateless `optax.GradientTransformation`, to be chained before an optimizer. NaN stays NaN.

    Raises:
        ValueError: if `clip_value` is negative.
        TypeError: at `update`, if a gradient is not a floating point array.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> clip = optim.clip_grad_value(0.5)
        >>> clip.update(jnp.array([-2.0, 0.25, 7.0]), clip.init(None))[0].tolist()
        [-0.5, 0.25, 0.5]

    PyTorch: `torch.nn.utils.clip_grad_value_`, which accepts a negative value and sets every element to it.
    """
    check_number("clip_grad_value", "clip_value", clip_value, 0.0)

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        del params
        _values("clip_grad_value", updates)
        return _mapped(lambda gradient: _clipped(gradient, clip_value), updates), state

    return optax.GradientTransformation(optax.init_empty_state, update)


@jax.jit  # Traced once for all gradients of one shape and dtype.
def _clipped(gradient: jax.Array, limit: ArrayLike) -> jax.Array:
    limit = jnp.asarray(limit, gradient.dtype)
    return lax.clamp(-limit, gradient, limit)


@jax.jit  # Traced once for all gradients of one shape and dtype.
def _scaled(gradient: jax.Array, scale: jax.Array) -> jax.Array:
    return (gradient.astype(scale.dtype) * scale).astype(gradient.dtype)


def _values(name: str, gradients: optax.Updates) -> list[jax.Array]:
    """All gradients, a `SparseRows` by its values; raise unless they are floating point arrays."""
    values = []
    for path, leaf in jax.tree.leaves_with_path(gradients, is_leaf=_is_rows):
        value = leaf.values if _is_rows(leaf) else leaf
        dtype = getattr(value, "dtype", None)
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"{name}: expected floating point gradients, got {dtype or type(value).__name__} at "
                f"{jax.tree_util.keystr(path) or 'the root'}; optax.masked leaves such arrays out"
            )
        values.append(value)
    return values


def _mapped(function: Callable[[jax.Array], jax.Array], gradients: optax.Updates) -> optax.Updates:
    """The gradients with `function` applied to each, of a `SparseRows` to its values."""

    def apply(leaf: Any) -> Any:
        return leaf._replace(values=function(leaf.values)) if _is_rows(leaf) else function(leaf)

    return jax.tree.map(apply, gradients, is_leaf=_is_rows)


def _is_rows(node: Any) -> bool:
    return isinstance(node, SparseRows)
