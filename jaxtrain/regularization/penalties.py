"""Penalties: numbers to add to the loss."""

import operator
from collections.abc import Callable
from functools import reduce

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxtrain._checks import check_range
from jaxtrain._float64 import default_float
from jaxtrain.regularization._paths import parameters_only

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
        0.90000004

    Torch counterpart: none; scripts write `strength * sum(p.abs().sum() for p in model.parameters())`.

    Paper: Tibshirani, "Regression shrinkage and selection via the lasso", 1996.
    """
    check_range("l1_penalty", "strength", strength, 0.0)
    return strength * _total(_absolute, params, mask)


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
    return strength * (_total(jnp.square, params, mask) / 2)


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
    l1, l2 = _total(_absolute, params, mask), _total(jnp.square, params, mask) / 2
    return strength * (l1_ratio * l1 + (1 - l1_ratio) * l2)


def _absolute(x: jax.Array) -> jax.Array:
    """|x|, whose gradient at 0 is 0, not the 1 of `jnp.abs`."""
    return x * jnp.sign(x)


def _total(measure: Callable[[jax.Array], jax.Array], params: PyTree[Array], mask: Mask | None) -> jax.Array:
    """The sum of `measure` over all elements of the masked parameters."""
    params = parameters_only(params)
    if mask is not None:
        marks = mask(params) if callable(mask) else mask
        params = jax.tree.map(lambda marked, part: part if marked else None, marks, params)

    def total(leaf: jax.Array) -> jax.Array:
        return jnp.sum(measure(leaf.astype(jnp.promote_types(leaf.dtype, jnp.float32))))

    sums = [total(jnp.asarray(leaf)) for leaf in jax.tree.leaves(params)]
    return reduce(operator.add, sums) if sums else jnp.zeros((), default_float())
