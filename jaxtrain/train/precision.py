"""Mixed precision: the dtypes of a run."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import PyTree

from jaxtrain.train.grad_scaler import GradScaler


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


@functools.lru_cache(maxsize=64)
def _casting(kind: type[nnx.Module], precision: Precision) -> type[nnx.Module]:
    """A subclass of a module's class whose calls cast what goes in and what comes out."""
    original: Any = kind.__call__

    @functools.wraps(original)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        args, kwargs = cast_floats((args, kwargs), precision.compute)
        return cast_floats(original(self, *args, **kwargs), precision.output)

    return type(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__, "__doc__": kind.__doc__})
