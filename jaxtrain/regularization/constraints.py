"""Constraints: Optax transformations that keep the updated parameters within a set.

They come last in an `optax.chain`, because they change the update so that the updated parameter is an allowed value.
`optax.masked` chooses the parameters:

    optax.chain(optim.sgd(0.1), optax.masked(max_norm(3.0), decay_mask))
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.axes import other_axes
from jaxtrain._ground.checks import check_integer, check_number
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.norms import norm
from jaxtrain._ground.paths import map_with_path


def max_norm(maxnorm: float | jax.Array, p: float | jax.Array = 2.0, *, axis: int = -1) -> optax.GradientTransformation:
    """Keep the norm of each unit's weights at or below a maximum.

        w ← w · maxnorm / (‖w‖ + 1e-7)   where ‖w‖ > maxnorm, after the update

    Args:
        maxnorm: largest norm, at least 0.
        p: order of the norm, above 0; infinity for the largest magnitude. Default 2.
        axis: axis of the units; the norm is over all other axes. Default -1, the outputs of a kernel; 0 is for the
            rows of an embedding.

    Returns:
        An `optax.GradientTransformation` without state, for parameters of at least two dimensions.

    Raises:
        ValueError: if `maxnorm` or `p` is out of range; at `update`, if a parameter has fewer than two dimensions, or
            the parameters are missing.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import regularization
        >>> kernel, update = jnp.array([[0.0, 3.0], [0.0, 0.0]]), jnp.array([[3.0, 0.0], [4.0, 0.0]])
        >>> constraint = regularization.max_norm(2.5)
        >>> update, _ = constraint.update(update, constraint.init(kernel), kernel)
        >>> print(kernel + update)
        [[1.5 2.5]
         [2.  0. ]]

    PyTorch: `torch.renorm(weight, p, dim, maxnorm)` after each step, where `dim` is this `axis`: 0 in
    PyTorch's layout of a kernel.

    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", 2014.
    """
    check_number("max_norm", "maxnorm", maxnorm, 0.0)
    check_number("max_norm", "p", p, 0.0, open_low=True)

    def project(weights: jax.Array) -> jax.Array:
        norm = _norm(weights, p, axis)
        return weights * jnp.where(norm > maxnorm, maxnorm / (norm + 1e-7), 1)

    return _constraint("max_norm", project, axis)


def unit_norm(
    p: float | jax.Array = 2.0, *, axis: int = -1, eps: float | jax.Array = 1e-12
) -> optax.GradientTransformation:
    """Keep the norm of each unit's weights at one.

        w ← w / max(‖w‖, eps)   after the update

    Args:
        p: order of the norm, above 0; infinity for the largest magnitude. Default 2.
        axis: axis of the units; the norm is over all other axes. Default -1, the outputs of a kernel; 0 is for the
            rows of an embedding.
        eps: smallest divisor, above 0, so that zeros stay zeros. Default 1e-12.

    Returns:
        An `optax.GradientTransformation` without state, for parameters of at least two dimensions.

    Raises:
        ValueError: if `p` or `eps` is out of range; at `update`, if a parameter has fewer than two dimensions, or the
            parameters are missing.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import regularization
        >>> kernel, update = jnp.array([[2.0, 0.0], [0.0, 0.5]]), jnp.array([[0.0, 0.0], [0.0, 1.5]])
        >>> constraint = regularization.unit_norm()
        >>> update, _ = constraint.update(update, constraint.init(kernel), kernel)
        >>> print(kernel + update)
        [[1. 0.]
         [0. 1.]]

    PyTorch: `torch.nn.functional.normalize(weight, p, dim, eps)` after each step, where `dim` is the other
    axis of a matrix: 1 in PyTorch's layout of a kernel.
    """
    check_number("unit_norm", "p", p, 0.0, open_low=True)
    check_number("unit_norm", "eps", eps, 0.0, open_low=True)
    return _constraint("unit_norm", lambda weights: weights / jnp.maximum(_norm(weights, p, axis), eps), axis)


def non_negative() -> optax.GradientTransformation:
    """Keep every parameter at or above zero.

        w ← max(w, 0)   after the update

    Returns:
        An `optax.GradientTransformation` without state.

    Raises:
        ValueError: at `update`, if the parameters are missing.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import regularization
        >>> constraint = regularization.non_negative()
        >>> weights = jnp.array([0.25, 2.0])
        >>> update, _ = constraint.update(jnp.array([-1.0, -1.0]), constraint.init(weights), weights)
        >>> print(weights + update)
        [0. 1.]

    PyTorch: `weight.clamp_(min=0)` after each step.
    """
    return _constraint("non_negative", lambda weights: jnp.maximum(weights, 0))


def _norm(weights: jax.Array, p: float | jax.Array, axis: int) -> jax.Array:
    """The p-norm over all axes but `axis`, which it keeps at size one."""
    return norm(weights, p, other_axes(weights.ndim, axis % weights.ndim))


def _constraint(
    name: str, project: Callable[[jax.Array], jax.Array], axis: int | None = None
) -> optax.GradientTransformation:
    """The transformation after which an updated parameter is `project(parameter + update)`."""

    if axis is not None:
        check_integer(name, "axis", axis)

    def check(path: str, parameter: jax.Array) -> None:
        where = f"{path!r} of " if path else ""
        dtype, ndim = getattr(parameter, "dtype", None), jnp.ndim(parameter)
        if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"{name}: expected floating point parameters, got {where}{dtype or type(parameter).__name__}; choose "
                "the parameters by optax.masked"
            )
        if axis is None:
            return
        if ndim < 2:
            raise ValueError(
                f"{name}: expected parameters of at least 2 dimensions, got {where}shape {jnp.shape(parameter)}; "
                "choose the parameters, as in optax.masked(..., regularization.decay_mask)"
            )
        if not -ndim <= axis < ndim:
            raise ValueError(f"{name}: expected parameters that have axis {axis}, got {where}shape {parameter.shape}")

    def constrained(update: jax.Array | None, parameter: jax.Array) -> jax.Array | None:
        if update is None:
            return None
        working = at_least_float32(parameter.dtype)
        old, change = parameter.astype(working), update.astype(working)
        new = project(old + change)
        # An allowed value keeps its update to the last bit.
        return jnp.where(new == old + change, change, new - old).astype(update.dtype)

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        if params is None:
            raise ValueError(f"{name}: expected the parameters, got None; call update(updates, state, params)")
        map_with_path(check, params)
        return jax.tree.map(constrained, updates, params, is_leaf=lambda leaf: leaf is None), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
