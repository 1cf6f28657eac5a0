"""Penalties: numbers to add to the loss."""

from collections.abc import Callable
from typing import TypeGuard

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from jaxtrain._ground.checks import check_flag, check_number
from jaxtrain._ground.dtypes import at_least_float32, default_float
from jaxtrain._ground.float64 import as_float64, in_float64
from jaxtrain._ground.paths import is_parameter

Mask = PyTree[bool] | Callable[[PyTree[Array]], PyTree[bool]]
Total = Callable[[Callable[[jax.Array], jax.Array]], jax.Array]


def l1_penalty(
    params: PyTree[Float[Array, "..."]], strength: float | jax.Array, *, mask: Mask | None = None
) -> Float[Array, ""]:
    """The sum of absolute values, which drives parameters to zero.

        strength · Σ|p|

    The gradient is strength · sign(p), and 0 at p = 0.

    Args:
        params: parameters, in any pytree. Integers do not count, and of an NNX module only its `nnx.Param`s do, each
            once, however many names it has.
        strength: factor, at least 0.
        mask: tree of booleans, or a function that makes one of the parameters, such as `decay_mask`; only parameters
            marked True count. Default None: all do.

    Returns:
        Scalar, in the widest float dtype of the parameters, at least float32.

    Raises:
        ValueError: if `strength` is negative, or `mask` does not fit the parameters.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import regularization
        >>> print(regularization.l1_penalty({"kernel": jnp.array([[1.0, -3.0]]), "bias": jnp.array([5.0])}, 0.1))
        0.9

    PyTorch: none; scripts write `strength * sum(p.abs().sum() for p in model.parameters())`.

    Source: Tibshirani, "Regression shrinkage and selection via the lasso", 1996.
    """
    check_number("l1_penalty", "strength", strength, 0.0)
    return _penalty("l1_penalty", params, mask, lambda total, strength: strength * total(_absolute), strength)


def l2_penalty(
    params: PyTree[Float[Array, "..."]], strength: float | jax.Array, *, mask: Mask | None = None
) -> Float[Array, ""]:
    """Half the sum of squares, which shrinks parameters in proportion to their size.

        strength / 2 · Σp²

    The half makes the gradient strength · p, which `weight_decay=strength` of `optim.sgd` and `optim.adam` adds, too.

    Args:
        params: parameters, in any pytree. Integers do not count, and of an NNX module only its `nnx.Param`s do, each
            once, however many names it has.
        strength: factor, at least 0.
        mask: tree of booleans, or a function that makes one of the parameters, such as `decay_mask`; only parameters
            marked True count. Default None: all do.

    Returns:
        Scalar, in the widest float dtype of the parameters, at least float32.

    Raises:
        ValueError: if `strength` is negative, or `mask` does not fit the parameters.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import regularization
        >>> params = {"kernel": jnp.array([[1.0, -3.0]]), "bias": jnp.array([5.0])}
        >>> print(regularization.l2_penalty(params, 0.1, mask=regularization.decay_mask))
        0.5

    PyTorch: the `weight_decay` of `torch.optim.SGD` and `torch.optim.Adam`, which adds the gradient of this penalty.

    Source: Hoerl and Kennard, "Ridge regression: biased estimation for nonorthogonal problems", 1970.
    """
    check_number("l2_penalty", "strength", strength, 0.0)
    return _penalty("l2_penalty", params, mask, lambda total, strength: strength / 2 * total(_square), strength)


def elastic_net_penalty(
    params: PyTree[Float[Array, "..."]],
    strength: float | jax.Array,
    l1_ratio: float | jax.Array = 0.5,
    *,
    mask: Mask | None = None,
) -> Float[Array, ""]:
    """A blend of the L1 and the L2 penalty.

        strength · (l1_ratio · Σ|p| + (1 - l1_ratio) / 2 · Σp²)

    Args:
        params: parameters, in any pytree. Integers do not count, and of an NNX module only its `nnx.Param`s do, each
            once, however many names it has.
        strength: factor, at least 0.
        l1_ratio: share of the L1 penalty, in [0, 1]. Default 0.5.
        mask: tree of booleans, or a function that makes one of the parameters, such as `decay_mask`; only parameters
            marked True count. Default None: all do.

    Returns:
        Scalar, in the widest float dtype of the parameters, at least float32.

    Raises:
        ValueError: if `strength` is negative, `l1_ratio` outside [0, 1], or `mask` does not fit the parameters.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import regularization
        >>> print(regularization.elastic_net_penalty({"kernel": jnp.array([1.0, -3.0])}, 2.0, l1_ratio=0.25))
        9.5

    PyTorch: none. The arguments have the names of `sklearn.linear_model.ElasticNet`, with `strength` for `alpha`.

    Source: Zou and Hastie, "Regularization and variable selection via the elastic net", 2005.
    """
    check_number("elastic_net_penalty", "strength", strength, 0.0)
    check_number("elastic_net_penalty", "l1_ratio", l1_ratio, 0.0, 1.0)

    def formula(total: Total, strength: jax.Array, l1_ratio: jax.Array) -> jax.Array:
        return strength * (l1_ratio * total(_absolute) + (1 - l1_ratio) / 2 * total(_square))

    return _penalty("elastic_net_penalty", params, mask, formula, strength, l1_ratio)


def _penalty(
    where: str,
    params: PyTree[Array],
    mask: Mask | None,
    formula: Callable[..., jax.Array],
    *coefficients: float | jax.Array,
) -> jax.Array:
    """`formula(total, *coefficients)`, where `total(measure)` is the sum of `measure(p)` over all penalized elements p.

    It is computed in float64, so that a million parameters are summed as exactly as one.
    """
    leaves = _penalized(where, params, mask)
    dtype = jnp.finfo(at_least_float32(*(leaf.dtype for leaf in leaves))).dtype if leaves else default_float()

    def penalty(*numbers: float | jax.Array) -> jax.Array:
        # Converted once for all measures: each conversion would round its part of the gradient.
        wide = [leaf if jnp.iscomplexobj(leaf) else as_float64(leaf) for leaf in leaves]

        def total(measure: Callable[[jax.Array], jax.Array]) -> jax.Array:
            return sum((jnp.sum(measure(leaf)) for leaf in wide), start=jnp.zeros(()))

        return formula(total, *map(as_float64, numbers))

    return in_float64(penalty, *coefficients, dtype=dtype)


def _penalized(where: str, params: PyTree[Array], mask: Mask | None) -> list[jax.Array]:
    """The penalized parameters: of a module its `nnx.Param`s, each once; without integers; only what `mask` marks."""
    counts = is_parameter(params)
    parameters = jax.tree.map(lambda count, leaf: leaf if count else None, counts, params)
    for path, leaf in jax.tree.leaves_with_path(parameters):
        if not hasattr(leaf, "dtype") and not isinstance(leaf, int):
            at = jax.tree_util.keystr(path) or "the root"
            raise TypeError(f"{where}: expected arrays as parameters, got {type(leaf).__name__} at {at}")
    if mask is None:
        marks = [True] * len(jax.tree.leaves(parameters))
    elif _is_function(mask):
        marks = _for_each_leaf(where, mask(parameters), parameters)
    else:
        # It is like `params`, other variables included, or a prefix of it.
        every = zip(_for_each_leaf(where, mask, params), jax.tree.leaves(counts), strict=True)
        marks = [mark for mark, count in every if count]
    for mark in marks:
        check_flag(where, "each element of mask", mark)
    leaves = zip(jax.tree.leaves(parameters), marks, strict=True)
    return [leaf for leaf, mark in leaves if mark and jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)]


def _for_each_leaf(where: str, marks: PyTree[bool], tree: PyTree) -> list[bool]:
    """The mark of every leaf of `tree`; raise `ValueError` unless `marks` is a prefix of it."""
    leaves, structure = jax.tree.flatten(marks)
    try:
        parts = structure.flatten_up_to(tree)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{where}: expected a mask in the tree of the parameters, where one mark may stand for a part; a function "
            f"such as regularization.decay_mask makes one that fits\n  {error}"
        ) from None
    return [mark for mark, part in zip(leaves, parts, strict=True) for _ in jax.tree.leaves(part)]


def _is_function(mask: Mask) -> TypeGuard[Callable[[PyTree[Array]], PyTree[bool]]]:
    """Whether `mask` makes the tree of booleans. A module of booleans may be callable as well, but it has leaves."""
    return callable(mask) and jax.tree_util.treedef_is_leaf(jax.tree.structure(mask))


def _absolute(p: jax.Array) -> jax.Array:
    """|p|, whose gradient at 0 is 0, not the 1 of `jnp.abs`."""
    if not jnp.iscomplexobj(p):
        return p * jnp.sign(p)
    square = _square(p)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def _square(p: jax.Array) -> jax.Array:
    """|p|²."""
    parts = [jnp.real(p), jnp.imag(p)] if jnp.iscomplexobj(p) else [p]
    return sum((jnp.square(as_float64(part)) for part in parts), start=jnp.zeros(()))
