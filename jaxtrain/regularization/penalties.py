"""Penalties: numbers to add to the loss."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxtrain._ground.checks import check_range
from jaxtrain._ground.dtypes import default_float
from jaxtrain._ground.float64 import as_float64, in_float64
from jaxtrain._ground.paths import parameters_only

Mask = PyTree[bool] | Callable[[PyTree[Array]], PyTree[bool]]


def l1_penalty(
    params: PyTree[Float[Array, "..."]], strength: float | jax.Array, *, mask: Mask | None = None
) -> Float[Array, ""]:
    """The sum of absolute values, which drives parameters to zero.

    penalty = strength · Σ|p|

    The gradient is strength · sign(p), and 0 at p = 0.

    Args:
        params: parameters, in any pytree; of an NNX module only its `nnx.Param`s count.
        strength: factor, at least 0.
        mask: tree of booleans, or a function from the parameters to one (`decay_mask`); only parameters marked True
            count. Default None: all do.

    Returns:
        Scalar, in the widest dtype of the parameters, at least float32.

    Raises:
        ValueError: if the strength is negative.

    Example:
        >>> from jaxtrain import regularization
        >>> print(regularization.l1_penalty({"kernel": jnp.array([[1.0, -3.0]]), "bias": jnp.array([5.0])}, 0.1))
        0.9

    Torch counterpart: none; scripts write `strength * sum(p.abs().sum() for p in model.parameters())`.

    Paper: Tibshirani, "Regression shrinkage and selection via the lasso", 1996.
    """
    check_range("l1_penalty", "strength", strength, 0.0)
    return _penalty(lambda p, strength: strength * _absolute(p), params, mask, strength)


def l2_penalty(
    params: PyTree[Float[Array, "..."]], strength: float | jax.Array, *, mask: Mask | None = None
) -> Float[Array, ""]:
    """Half the sum of squares, which shrinks parameters in proportion to their size.

    penalty = strength / 2 · Σp²

    The half makes the gradient strength · p: the same as `weight_decay=strength` of `optim.sgd` and `optim.adam`.

    Args:
        params: parameters, in any pytree; of an NNX module only its `nnx.Param`s count.
        strength: factor, at least 0.
        mask: tree of booleans, or a function from the parameters to one (`decay_mask`); only parameters marked True
            count. Default None: all do.

    Returns:
        Scalar, in the widest dtype of the parameters, at least float32.

    Raises:
        ValueError: if the strength is negative.

    Example:
        >>> from jaxtrain import regularization
        >>> params = {"kernel": jnp.array([[1.0, -3.0]]), "bias": jnp.array([5.0])}
        >>> print(regularization.l2_penalty(params, 0.1, mask=regularization.decay_mask))
        0.5

    Torch counterpart: the L2 `weight_decay` of `torch.optim.SGD` and `torch.optim.Adam`, which adds the gradient of
    this penalty.

    Paper: Hoerl and Kennard, "Ridge regression: biased estimation for nonorthogonal problems", 1970.
    """
    check_range("l2_penalty", "strength", strength, 0.0)
    return _penalty(lambda p, strength: strength / 2 * jnp.square(p), params, mask, strength)


def elastic_net_penalty(
    params: PyTree[Float[Array, "..."]],
    strength: float | jax.Array,
    l1_ratio: float | jax.Array = 0.5,
    *,
    mask: Mask | None = None,
) -> Float[Array, ""]:
    """A blend of the L1 and the L2 penalty.

    penalty = strength · (l1_ratio · Σ|p| + (1 - l1_ratio) / 2 · Σp²)

    Args:
        params: parameters, in any pytree; of an NNX module only its `nnx.Param`s count.
        strength: factor, at least 0.
        l1_ratio: share of the L1 penalty, in [0, 1]. Default 0.5.
        mask: tree of booleans, or a function from the parameters to one (`decay_mask`); only parameters marked True
            count. Default None: all do.

    Returns:
        Scalar, in the widest dtype of the parameters, at least float32.

    Raises:
        ValueError: if the strength is negative, or l1_ratio lies outside [0, 1].

    Example:
        >>> from jaxtrain import regularization
        >>> print(regularization.elastic_net_penalty({"kernel": jnp.array([1.0, -3.0])}, 2.0, l1_ratio=0.25))
        9.5

    Torch counterpart: none. The arguments are those of `sklearn.linear_model.ElasticNet`.

    Paper: Zou and Hastie, "Regularization and variable selection via the elastic net", 2005.
    """
    check_range("elastic_net_penalty", "strength", strength, 0.0)
    check_range("elastic_net_penalty", "l1_ratio", l1_ratio, 0.0, 1.0)

    def measure(p: jax.Array, strength: jax.Array, l1_ratio: jax.Array) -> jax.Array:
        return strength * (l1_ratio * _absolute(p) + (1 - l1_ratio) / 2 * jnp.square(p))

    return _penalty(measure, params, mask, strength, l1_ratio)


def _penalty(
    measure: Callable[..., jax.Array],
    params: PyTree[Array],
    mask: Mask | None,
    *coefficients: float | jax.Array,
) -> jax.Array:
    """The sum of `measure(element, *coefficients)` over all elements of the masked parameters.

    It runs in float64, so that the penalty of a million parameters is as near the truth as that of one.
    """
    params = parameters_only(params)
    if mask is not None:
        marks = mask(params) if callable(mask) else mask
        params = jax.tree.map(lambda marked, part: part if marked else None, marks, params)
    leaves = jax.tree.leaves(params)
    dtype = jnp.result_type(*leaves, jnp.float32) if leaves else default_float()

    def total(*coefficients: float | jax.Array) -> jax.Array:
        numbers = [as_float64(coefficient) for coefficient in coefficients]
        return sum((jnp.sum(measure(as_float64(leaf), *numbers)) for leaf in leaves), start=jnp.zeros(()))

    return in_float64(total, *coefficients, dtype=dtype)


def _absolute(x: jax.Array) -> jax.Array:
    """|x|, whose gradient at 0 is 0, not the 1 of `jnp.abs`."""
    return x * jnp.sign(x)
