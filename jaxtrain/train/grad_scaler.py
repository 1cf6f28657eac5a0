"""The scale of a loss, which keeps small gradients of float16 above zero."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxtrain._ground.checks import check_integer, check_number
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.float64 import as_float64, in_float64


class GradScalerState(NamedTuple):
    """State of a `GradScaler`.

    Attributes:
        scale: what the loss is multiplied by, float32.
        growth_tracker: steps since the scale last changed, int32.
    """

    scale: Float[Array, ""]
    growth_tracker: Int[Array, ""]


@dataclasses.dataclass(frozen=True)
class GradScaler:
    """The scale of a loss: it shrinks when gradients overflow, and grows when they have not for long.

    float16 has no numbers between 0 and 6e-8, and none above 65504. The loss is multiplied by a scale before
    its gradients are computed, and the gradients are divided by it afterwards. A step whose gradients are not finite
    changes neither the parameters nor the optimizer.

    Args:
        init_scale: the first scale, above 0. Default 65536.
        growth_factor: what the scale is multiplied by after `growth_interval` finite steps, above 1. Default 2.
        backoff_factor: what it is multiplied by after a step that is not finite, between 0 and 1. Default 0.5.
        growth_interval: finite steps in a row before the scale grows, at least 1. Default 2000.

    Raises:
        ValueError: if a number is out of range.

    Example:
        >>> from jaxtrain import train
        >>> scaler = train.GradScaler(init_scale=8.0, growth_interval=2)
        >>> state = scaler.init()
        >>> for finite in (True, True, False):
        ...     state = scaler.update(state, finite)
        ...     print(float(state.scale))
        8.0
        16.0
        8.0

    PyTorch: `torch.amp.GradScaler`, whose `scale`, `unscale_`, `step` and `update` are parts of the train step here.

    Source: Micikevicius et al., "Mixed Precision Training", 2018, https://arxiv.org/abs/1710.03740
    """

    init_scale: float = 65536.0
    growth_factor: float = 2.0
    backoff_factor: float = 0.5
    growth_interval: int = 2000

    def __post_init__(self) -> None:
        check_number("GradScaler", "init_scale", self.init_scale, 0.0, open_low=True)
        check_number("GradScaler", "growth_factor", self.growth_factor, 1.0, open_low=True)
        check_number("GradScaler", "backoff_factor", self.backoff_factor, 0.0, 1.0, open_low=True, open_high=True)
        check_integer("GradScaler", "growth_interval", self.growth_interval, 1)

    def init(self) -> GradScalerState:
        """The state before the first step."""
        return GradScalerState(jnp.float32(self.init_scale), jnp.int32(0))

    def update(self, state: GradScalerState, finite: ArrayLike) -> GradScalerState:
        """The state after a step whose gradients were finite, or not."""

        def times(factor: float) -> Array:
            return in_float64(lambda: as_float64(state.scale) * factor, dtype=jnp.float32)

        grown, tracker = times(self.growth_factor), state.growth_tracker + 1
        due = tracker == self.growth_interval
        scale = jnp.where(due & jnp.isfinite(grown), grown, state.scale)
        return GradScalerState(
            jnp.where(finite, scale, times(self.backoff_factor)),
            jnp.where(jnp.asarray(finite) & ~due, tracker, jnp.int32(0)),
        )


def scaled(loss: Float[Array, ""], scaler: GradScalerState | None) -> Float[Array, ""]:
    """The loss, in at least float32, times the scale of the run if it has one."""
    return loss if scaler is None else loss.astype(at_least_float32(loss.dtype)) * scaler.scale


def unscaled(gradients: PyTree, scaler: GradScalerState | None) -> PyTree:
    """The gradients of the loss from those of the scaled loss."""
    if scaler is None:
        return gradients
    dtypes = {at_least_float32(leaf.dtype) for leaf in jax.tree.leaves(gradients)}
    inverses = {dtype: _inverse(scaler.scale, dtype) for dtype in dtypes}

    def unscale(leaf: Array) -> Array:
        wide = at_least_float32(leaf.dtype)
        return (leaf.astype(wide) * inverses[wide]).astype(leaf.dtype)

    return jax.tree.map(unscale, gradients)


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether all numbers of a tree are finite."""
    return jnp.all(jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))


def _inverse(scale: jax.Array, dtype: DTypeLike) -> jax.Array:
    """1 / scale, rounded to float32 as PyTorch does it, in `dtype`.

    On a GPU a division in float32 may be a unit in the last place off, so it is one in float64. To float64 the float32
    number goes by `reduce_precision`, as XLA drops a cast to float32 and back; TPUs have it for narrower numbers only.
    """
    if dtype == jnp.float64:
        return in_float64(lambda: lax.reduce_precision(1 / as_float64(scale), 8, 23), dtype=dtype)
    return in_float64(lambda: 1 / as_float64(scale), dtype=dtype)
