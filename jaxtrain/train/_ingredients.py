"""Errors for what a training state cannot be made from."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Key

from jaxtrain.train.blueprint import Variables


def check_ingredients(model: Any, optimizer: Any, average: Any) -> None:
    """Raise unless they are a module, an optimizer, and an average or None."""
    if average is not None:
        check_average("TrainState.create", average)
    if not isinstance(model, nnx.Module):
        raise TypeError(f"TrainState.create: model must be an nnx.Module, got {model!r}")
    if isinstance(optimizer, optax.MultiSteps):
        raise TypeError(
            "TrainState.create: optimizer must be an optax.GradientTransformation, got an optax.MultiSteps; call "
            "its method .gradient_transformation()"
        )
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"TrainState.create: optimizer must be an optax.GradientTransformation such as jaxtrain.optim.adam(), "
            f"got {optimizer!r}"
        )


def check_average(where: str, average: Any) -> None:
    """Raise unless `average` averages parameters."""
    if not (hasattr(average, "init") and hasattr(average, "update_parameters")):
        raise TypeError(
            f"{where}: average must be a jaxtrain.optim.averaged_model or a train.AveragedEvery, got {average!r}; pass "
            "optim.averaged_model(optim.get_ema_avg_fn(0.999)) for an exponential average"
        )


def check_values(values: Variables, *, trained: bool) -> None:
    """Raise unless the values of new variables are arrays, and float arrays if they are trained."""
    for path, leaf in jax.tree.leaves_with_path(values):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int):
            raise TypeError(f"TrainState.create: variable {name} must hold an array, got {leaf!r}")
        if trained and not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            raise TypeError(
                f"TrainState.create: parameter {name} must hold floats to be trained, got {jnp.result_type(leaf)}; "
                f"keep it in an nnx.Variable instead of an nnx.Param"
            )


def as_key(key: int | Key[Array, ""]) -> Key[Array, ""]:
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jax.random.key(int(key))
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ():
        return key
    raise TypeError(f"TrainState.create: key must be an integer seed or one key from jax.random.key, got {key!r}")
