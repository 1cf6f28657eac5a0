"""Gradient clipping with PyTorch's formulas."""

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from jaxtrain._ground.checks import check_range
from jaxtrain._ground.dtypes import at_least_float32


def clip_grad_norm(max_norm: ArrayLike, norm_type: float = 2.0) -> optax.GradientTransformation:
    r"""Scale all gradients together so that their norm is at most `max_norm`.

    .. math::
        g \leftarrow g \cdot \min\left(1, \frac{c}{\lVert g \rVert_p + 10^{-6}}\right)

    where the norm is that of all gradients as one vector. A norm of exactly `max_norm` still shrinks a little.

    Args:
        max_norm: :math:`c \ge 0`; a number or an array.
        norm_type: :math:`p`, which may be infinite, or 0 for the number of nonzero elements.

    Returns:
        A stateless `optax.GradientTransformation`, to be chained before an optimizer. A NaN or infinite norm reaches
        every gradient, and so the parameters.

    Raises:
        ValueError: if `max_norm` is negative.

    Example:
        >>> from jaxtrain import optim
        >>> import jax.numpy as jnp
        >>> clip = optim.clip_grad_norm(1.0)
        >>> clipped, _ = clip.update({"a": jnp.array([3.0]), "b": jnp.array([4.0])}, clip.init(None))
        >>> round(float(clipped["b"][0]), 7)
        0.7999998

    PyTorch: `torch.nn.utils.clip_grad_norm_`, without `error_if_nonfinite`, which compiled code cannot raise.
    `optax.clip_by_global_norm` has no :math:`10^{-6}` and knows the 2-norm only.

    Source: Pascanu et al., `On the difficulty of training recurrent neural networks
    <https://arxiv.org/abs/1211.5063>`_, 2013.
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
    r"""Limit every element of every gradient to :math:`[-c, c]`.

    Args:
        clip_value: :math:`c`; a number or an array.

    Returns:
        A stateless `optax.GradientTransformation`, to be chained before an optimizer. NaN stays NaN.

    Raises:
        ValueError: if `clip_value` is negative.

    Example:
        >>> from jaxtrain import optim
        >>> import jax.numpy as jnp
        >>> clip = optim.clip_grad_value(0.5)
        >>> clip.update(jnp.array([-2.0, 0.25, 7.0]), clip.init(None))[0].tolist()
        [-0.5, 0.25, 0.5]

    PyTorch: `torch.nn.utils.clip_grad_value_`, which takes a negative value and sets every element to it.
    """
    check_range("clip_grad_value", "clip_value", clip_value, 0.0)

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        del params
        return jax.tree.map(lambda gradient: jnp.clip(gradient, jnp.negative(clip_value), clip_value), updates), state

    return optax.GradientTransformation(optax.init_empty_state, update)


def _norm(vector: jax.Array, order: float) -> jax.Array:
    return jnp.linalg.norm(vector.ravel(), ord=order)
