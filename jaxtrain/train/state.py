"""The state of a training run: one pytree of plain arrays, and the module to which they belong."""

import dataclasses
import math
from typing import Any, ClassVar, Self
from weakref import WeakValueDictionary

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.core import Tracer
from jaxtyping import Array, Int, Key, PyTree

Variables = dict[Any, Any]
"""A nested dict of arrays, whose keys are the names of the module's attributes."""


def _is_hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


class Blueprint:
    """What a step must know but not trace: how the module and the optimizer are built.

    It is compared by identity, as objects of a plain Python class are, so that finding the compiled step does not take
    longer the more leaves the state has. `of` gives equal modules with the same optimizer one blueprint, and with it
    one compiled step.
    """

    _known: ClassVar[WeakValueDictionary[Any, "Blueprint"]] = WeakValueDictionary()

    @classmethod
    def of(cls, graphdef: nnx.GraphDef, streams: nnx.State, optimizer: optax.GradientTransformation) -> "Blueprint":
        """The blueprint of a module and an optimizer, the same one as before if they are."""
        new = cls(graphdef, streams, optax.with_extra_args_support(optimizer))
        built = graphdef, tuple(new.streams), optimizer
        # An attribute of the module that cannot be hashed, a list of numbers for instance, cannot be compared either.
        return cls._known.setdefault(built, new) if _is_hashable(built) else new

    def __init__(
        self, graphdef: nnx.GraphDef, streams: nnx.State, optimizer: optax.GradientTransformationExtraArgs
    ) -> None:
        self.graphdef = graphdef
        self.streams = [(path, type(leaf), leaf.get_raw_value().shape) for path, leaf in nnx.to_flat_state(streams)]
        self.optimizer = optimizer

    def module(
        self, params: Variables, model_state: Variables, key: Key[Array, ""], step: Int[Array, ""], *, train: bool
    ) -> nnx.Module:
        """Build the NNX module around these values, its random streams restarted for this step."""
        streams = nnx.from_flat_state(self._streams_at(key, step))
        model = nnx.merge(self.graphdef, params, model_state, streams)
        model.train() if train else model.eval()
        return model

    def _streams_at(self, key: Key[Array, ""], step: Int[Array, ""]) -> list[tuple[Any, Array]]:
        """The variables of the random streams at a step: slices of one vector of keys, and counts of zero.

        Keys derived one by one would cost a TPU a chain of scalar instructions for every layer.
        """
        if not self.streams:
            return []
        sizes = [math.prod(shape) for _, kind, shape in self.streams if issubclass(kind, nnx.RngKey)]
        keys = iter(jnp.split(jax.random.split(jax.random.fold_in(key, step), sum(sizes)), np.cumsum(sizes[:-1])))
        return [
            (path, next(keys).reshape(shape) if issubclass(kind, nnx.RngKey) else jnp.zeros(shape, jnp.uint32))
            for path, kind, shape in self.streams
        ]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a training run carries from one step to the next, as one pytree.

    The leaves are plain arrays in plain dicts, so a state can be mapped over, saved, sharded, donated and scanned like
    any pytree. `create` takes the NNX module apart, and the compiled step puts it together again.

    Random numbers, such as dropout masks, are not part of the state that changes: at every step the random streams of
    the module restart from `jax.random.split(jax.random.fold_in(key, step), number of streams)`. A run resumed at
    step k therefore draws what the uninterrupted run drew.

    Attributes:
        step: the number of updates so far, int32 scalar.
        params: the values of the module's `nnx.Param` variables.
        model_state: the values of all its other variables, running statistics for instance.
        opt_state: the state of the optimizer.
        key: the random key of the run. It never changes.
        blueprint: static; the structure of the module, and the optimizer.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> state = train.TrainState.create(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), optax.sgd(0.1), key=42)
        >>> jax.tree.map(jnp.shape, state.params)
        {'bias': (2,), 'kernel': (3, 2)}
        >>> state.model()(jnp.zeros((1, 3))).shape
        (1, 2)

    PyTorch: none; model, optimizer and the global generator each hold a part of it. The nearest is
    `{"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}`.
    """

    step: Int[Array, ""]
    params: Variables
    model_state: Variables
    opt_state: PyTree
    key: Key[Array, ""]
    blueprint: Blueprint = dataclasses.field(metadata={"static": True}, repr=False)

    @classmethod
    def create(cls, model: nnx.Module, optimizer: optax.GradientTransformation, key: int | Key[Array, ""] = 0) -> Self:
        """Take a module and an optimizer apart into the state before the first step.

        Every leaf is a copy with a separate buffer: the module stays usable when a step consumes the state, and two
        moments that the optimizer starts from the same zeros can both be donated.

        Args:
            model: the network. It does not change.
            optimizer: any Optax transformation.
            key: seed or key of all randomness during training. Default 0.

        Returns:
            The state at step 0.

        Raises:
            TypeError: if `model` is not an NNX module, `optimizer` not an Optax transformation, `key` neither a seed
                nor a key, a variable of the module not an array, or a parameter not a float array.

        Example:
            >>> import optax
            >>> from flax import nnx
            >>> from jaxtrain import train
            >>> state = train.TrainState.create(nnx.BatchNorm(4, rngs=nnx.Rngs(0)), optax.adam(1e-3))
            >>> sorted(state.params), sorted(state.model_state), int(state.step)
            (['bias', 'scale'], ['mean', 'var'], 0)

        PyTorch: `model = Net(); optimizer = torch.optim.Adam(model.parameters())`.
        """
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
        model = nnx.clone(model)
        nnx.pop(model, nnx.Intermediate)
        graphdef, params, streams, model_state = nnx.split(model, nnx.Param, nnx.RngState, ...)
        values = _values(params, trained=True), _values(model_state, trained=False), _as_key(key)

        @jax.jit
        def start(params: Variables, model_state: Variables, key: Key[Array, ""]) -> tuple:
            return _own((jnp.zeros((), jnp.int32), params, model_state, optimizer.init(params), key))

        return cls(*start(*values), blueprint=Blueprint.of(graphdef, streams, optimizer))

    def model(self, *, train: bool = False) -> nnx.Module:
        """Put the NNX module together again, with the values of this state.

        Args:
            train: True for training mode, False for evaluation mode. Default False.

        Returns:
            A module with copies of the values, which stay when a step consumes the state.

        Example:
            >>> import jax.numpy as jnp
            >>> import optax
            >>> from flax import nnx
            >>> from jaxtrain import train
            >>> state = train.TrainState.create(nnx.Dropout(0.5, rngs=nnx.Rngs(0)), optax.sgd(0.1))
            >>> state.model()(jnp.ones(3))
            Array([1., 1., 1.], dtype=float32)

        PyTorch: `model.eval()`, or `model.train()`.
        """
        check_state("TrainState.model", self)
        params, model_state = copied((self.params, self.model_state))
        return self.blueprint.module(params, model_state, self.key, self.step, train=train)


def _own(tree: PyTree) -> PyTree:
    """A copy of every leaf with a separate buffer and a firm dtype (a weak one would retrace the second step)."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, dtype=jnp.asarray(leaf).dtype, copy=True), tree)


copied = jax.jit(_own)
"""Copy every leaf of a pytree in one compiled program."""


def check_state(where: str, state: Any) -> None:
    """Raise unless `state` is a training state whose arrays are still there."""
    if not isinstance(state, TrainState):
        raise TypeError(f"{where}: state must be a TrainState, see TrainState.create, got {state!r}")
    arrays = [leaf for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array)]
    if any(array.is_deleted() for array in arrays if not isinstance(array, Tracer)):
        raise ValueError(
            f"{where}: expected a state whose arrays exist, got one that a train step has consumed (donated); continue "
            "with the state that the step returned, or give the step a copy, jax.tree.map(jnp.copy, state)"
        )


def variables(state: nnx.State) -> Variables:
    """The values in `state` as a plain nested dict."""
    return nnx.to_pure_dict(state, lambda leaf: leaf.get_raw_value() if isinstance(leaf, nnx.Variable) else leaf)


def _values(state: nnx.State, *, trained: bool) -> Variables:
    """The values of new variables; raise unless they are arrays, and float arrays if they are trained."""
    values = variables(state)
    for path, leaf in jax.tree.leaves_with_path(values):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int):
            raise TypeError(f"TrainState.create: variable {name} must hold an array, got {leaf!r}")
        if trained and not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            raise TypeError(
                f"TrainState.create: parameter {name} must hold floats to be trained, got {jnp.result_type(leaf)}; "
                f"keep it in an nnx.Variable instead of an nnx.Param"
            )
    return values


def _as_key(key: int | Key[Array, ""]) -> Key[Array, ""]:
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jax.random.key(int(key))
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and key.shape == ():
        return key
    raise TypeError(f"TrainState.create: key must be an integer seed or one key from jax.random.key, got {key!r}")
