"""Mixed precision: the dtypes of a run, and the scale that keeps small gradients of float16 above zero."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Bool, Float, Int, PyTree

from jaxtrain._ground.checks import check_integer, check_number
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


@dataclasses.dataclass(frozen=True)
class Precision:
    """The dtypes of a run: those of the parameters, of the network's arithmetic, and of its output.

    The network gets copies of its parameters in the dtype `compute`, and `model(...)` casts the float arrays that it is
    called with to `compute` and its result to `output`. The optimizer sees the parameters and their gradients in the
    parameters' dtype. Running statistics keep theirs, and the norms and losses of jaxtrain compute in float32 inside.

    Args:
        compute: "bfloat16" or "float16", for instance.
        output: the dtype in which results reach the loss. Default float32.
        parameters: the dtype in which parameters are kept. Default None: the one they were made in.
        scaler: the scaling of the loss. Default None: `GradScaler()` if `compute` is float16, otherwise no scaling.

    Raises:
        TypeError: if something is not a floating-point dtype, or `scaler` is not a `GradScaler`.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from jaxtrain import nn, train
        >>> from flax import nnx
        >>> model = nn.Linear(2, 1, rngs=nnx.Rngs(0))
        >>> state = train.TrainState.create(model, optax.sgd(0.1), precision=train.Precision("bfloat16"))
        >>> def loss_fn(model, x):
        ...     print(model.kernel.dtype, model(x).dtype)
        ...     return (model(x) ** 2).mean()
        >>> state, _ = train.make_train_step(loss_fn)(state, jnp.ones((4, 2)))
        bfloat16 float32
        >>> state.params["kernel"].dtype
        dtype('float32')

    PyTorch: `torch.autocast(device, dtype)`, which decides for each operation; and `torch.amp.GradScaler`.

    Source: Micikevicius et al., "Mixed Precision Training", 2018, https://arxiv.org/abs/1710.03740
    """

    compute: DTypeLike
    output: DTypeLike = "float32"
    parameters: DTypeLike | None = None
    scaler: GradScaler | None = None

    def __post_init__(self) -> None:
        for name in ("compute", "output", "parameters"):
            dtype = getattr(self, name)
            if name == "parameters" and dtype is None:
                continue
            try:
                known = jnp.issubdtype(jnp.dtype(dtype), jnp.floating)
            except TypeError:
                known = False
            if not known:
                raise TypeError(f"Precision: {name} must be a floating-point dtype such as 'bfloat16', got {dtype!r}")
            object.__setattr__(self, name, jnp.dtype(dtype))
        if self.scaler is None and self.compute == jnp.float16:
            object.__setattr__(self, "scaler", GradScaler())
        if not isinstance(self.scaler, GradScaler | None):
            raise TypeError(f"Precision: scaler must be a GradScaler, got {self.scaler!r}")

    def prepared(self, model: nnx.Module) -> nnx.Module:
        """`model`, changed in place: its parameters in `compute`, its calls as this class says."""
        parameters = nnx.state(model, nnx.Param)
        nnx.update(model, cast_floats(parameters, self.compute))
        model.__class__ = _casting(type(model), self)
        return model


def cast_floats(tree: PyTree, dtype: DTypeLike) -> PyTree:
    """The tree with its floating-point arrays in `dtype`."""

    def cast(leaf: Any) -> Any:
        is_float = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)
        return jnp.asarray(leaf, dtype) if is_float else leaf

    return jax.tree.map(cast, tree)


def all_finite(tree: PyTree) -> Bool[Array, ""]:
    """Whether all numbers of a tree are finite."""
    return jnp.all(jnp.array([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]))


@functools.lru_cache(maxsize=64)
def _casting(kind: type[nnx.Module], precision: Precision) -> type[nnx.Module]:
    """A subclass of a module's class whose calls cast what goes in and what comes out."""
    original: Any = kind.__call__

    @functools.wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = cast_floats((args, kwargs), precision.compute)
        return cast_floats(original(self, *args, **kwargs), precision.output)

    return type(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__, "__doc__": kind.__doc__})
