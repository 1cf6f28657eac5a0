"""How a module and an optimizer are built: the part of a training state that is not arrays."""

import copy
import dataclasses
import math
import re
from collections.abc import Callable
from typing import Any, ClassVar, Protocol, Self
from weakref import WeakValueDictionary

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Int, Key

from jaxtrain._ground.epochs import Told
from jaxtrain.train.grad_scaler import GradScaler
from jaxtrain.train.precision import Precision, cast_floats
from jaxtrain.train.recomputation import recomputing

Variables = dict[Any, Any]
"""A nested dict of arrays, whose keys are the names of the module's attributes."""


class Averaging(Protocol):
    """What averages the parameters of a run, `jaxtrain.optim.averaged_model` for instance: two pure functions.

    Their state has the fields `module`, the averages of the parameters, and `buffers`, the other variables.
    """

    @property
    def init(self) -> Callable[..., Any]: ...

    @property
    def update_parameters(self) -> Callable[..., Any]: ...


@dataclasses.dataclass(frozen=True)
class Options:
    """What a training state may have besides a module and an optimizer, see `TrainState.create`."""

    trainable: str | None = None
    precision: Precision | None = None
    average: Averaging | None = None
    skip_non_finite: int = 0
    remat: str | None = None
    steps_per_epoch: int | None = None
    """For schedules in the optimizer that ask for it. `fit` fills it in."""

    @property
    def scaler(self) -> GradScaler | None:
        """How the loss is scaled, None if it is not."""
        return self.precision.scaler if self.precision else None

    @property
    def most_skipped(self) -> int:
        """How many steps in a row may be skipped because their gradients are not finite; 0: none is."""
        return self.skip_non_finite or (_SEARCH if self.scaler else 0)


_SEARCH = 100
"""Steps in which the scale of a loss finds its size: it halves at each."""


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
    def of(
        cls, model: nnx.Module, optimizer: optax.GradientTransformation, options: Options
    ) -> tuple[Self, Variables, Variables]:
        """Take a module apart: its blueprint, the values of its trained parameters, and those of its other variables.

        The blueprint is the same one as before if module, optimizer and options are.
        """
        nnx.pop(model, nnx.Intermediate)
        graphdef, params, streams, others = nnx.split(model, _trained(options.trainable), nnx.RngState, ...)
        if options.precision and options.precision.parameters:
            params = cast_floats(params, options.precision.parameters)
        frozen = frozenset(path for path, leaf in nnx.to_flat_state(others) if isinstance(leaf, nnx.Param))
        new = cls(graphdef, streams, optimizer, options, frozen)
        built = graphdef, tuple(new.streams), optimizer, options
        # An attribute of the module that cannot be hashed, a set for instance, cannot be compared either.
        blueprint: Any = cls._known.setdefault(built, new) if _is_hashable(built) else new
        return blueprint, variables(params), variables(others)

    def __init__(
        self,
        graphdef: nnx.GraphDef,
        streams: nnx.State,
        optimizer: optax.GradientTransformation,
        options: Options,
        frozen: frozenset[Any],
    ) -> None:
        self.graphdef = graphdef
        self.options = options
        self._frozen = frozen
        self.streams = [(path, type(leaf), leaf.get_raw_value().shape) for path, leaf in nnx.to_flat_state(streams)]
        self.optimizer = optax.with_extra_args_support(optimizer)
        self.schedules = Told()
        """What the schedules in the optimizer said when it made its first state."""
        self._by_steps_per_epoch: dict[int | None, Blueprint] = {None: self}

    def with_steps_per_epoch(self, steps: int) -> "Blueprint":
        """The blueprint whose schedules know how many steps an epoch has; for one number always the same."""
        if steps not in self._by_steps_per_epoch:
            new = copy.copy(self)
            new.options = dataclasses.replace(self.options, steps_per_epoch=steps)
            self._by_steps_per_epoch[steps] = new
        return self._by_steps_per_epoch[steps]

    def module(
        self, params: Variables, model_state: Variables, key: Key[Array, ""], step: Int[Array, ""], *, train: bool
    ) -> nnx.Module:
        """Build the NNX module around these values, its random streams restarted for this step."""
        streams = nnx.from_flat_state(self._streams_at(key, step))
        model = nnx.merge(self.graphdef, params, model_state, streams)
        model.train() if train else model.eval()
        return model

    def computing(
        self, params: Variables, model_state: Variables, key: Key[Array, ""], step: Int[Array, ""], *, train: bool
    ) -> nnx.Module:
        """`module` as a loss function gets it: in the precision of the run, some of its modules computing twice."""
        model = self.module(params, model_state, key, step, train=train)
        if train and self.options.remat is not None:
            model = recomputing(model, self.options.remat)
        return self.options.precision.prepared(model) if self.options.precision else model

    def with_frozen_of(self, old: Variables, new: Variables) -> Variables:
        """`new` with the frozen parameters of `old`: a loss may see them rounded, and does not change them."""
        if not self._frozen:
            return new
        kept = {path: leaf for path, leaf in nnx.traversals.flatten_mapping(old).items() if path in self._frozen}
        return nnx.traversals.unflatten_mapping({**nnx.traversals.flatten_mapping(new), **kept})

    def values(self, model: nnx.Module) -> tuple[Variables, Variables]:
        """The values of a module's trained parameters, and those of its other variables."""
        nnx.pop(model, nnx.Intermediate)
        _, params, _, others = nnx.split(model, _trained(self.options.trainable), nnx.RngState, ...)
        return variables(params), variables(others)

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


def variables(state: nnx.State) -> Variables:
    """The values in `state` as a plain nested dict."""
    return nnx.to_pure_dict(state, lambda leaf: leaf.get_raw_value() if isinstance(leaf, nnx.Variable) else leaf)


def check_trainable(where: str, model: nnx.Module, trainable: str | None) -> None:
    """Raise unless `trainable` is None or a pattern that matches the path of a parameter."""
    paths = ["/".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Param))]
    try:
        found = trainable is None or any(re.search(trainable, path) for path in paths)
    except (re.error, TypeError):
        raise ValueError(f"{where}: expected trainable to be a regular expression, got {trainable!r}") from None
    if not found:
        raise ValueError(
            f"{where}: expected trainable to match a parameter, got {trainable!r}; there are {', '.join(paths)}"
        )


def _trained(trainable: str | None) -> Any:
    """A filter of the variables that are trained."""
    if trainable is None:
        return nnx.Param
    return nnx.All(nnx.Param, lambda path, _: re.search(trainable, "/".join(map(str, path))) is not None)
