"""The base of the recurrent layers: parameters of all layers and directions, the initial state, ragged batches."""

import math
from abc import abstractmethod
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from jax.typing import ArrayLike, DTypeLike

from jaxtrain._ground.arrays import as_array
from jaxtrain._ground.checks import check_integer, check_scalar, is_concrete, is_zero
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.nn import initializers
from jaxtrain.nn._arrays import as_floating, check_dtypes, check_flags, check_rngs, value
from jaxtrain.nn._recurrence import State, Step, Weights, repeated
from jaxtrain.nn.dropout import Dropout

WEIGHTS = Weights._fields


class RecurrentLayer(nnx.Module):
    """Layers that run along a sequence, one above the other, each in one or both directions."""

    gates: ClassVar[int]
    """How many gates a step has."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int,
        bias: bool,
        dropout: float,
        bidirectional: bool,
        proj_size: int = 0,
        *,
        dtype: DTypeLike | None,
        param_dtype: DTypeLike,
        rngs: nnx.Rngs,
    ):
        where = type(self).__name__
        check_integer(where, "input_size", input_size, 1)
        check_integer(where, "hidden_size", hidden_size, 1)
        check_integer(where, "num_layers", num_layers, 1)
        check_flags(where, bias=bias, bidirectional=bidirectional)
        check_scalar(where, "dropout", dropout, 0.0, 1.0)
        check_dtypes(where, param_dtype=param_dtype, dtype=dtype)
        check_rngs(where, rngs)
        if not is_zero(dropout) and num_layers == 1:
            raise ValueError(f"{where}: dropout acts between layers, but num_layers is 1; use nn.Dropout on the output")
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self.dtype = dtype
        self.dropout = nnx.data(None if is_zero(dropout) else Dropout(dropout, rngs=rngs))

        for layer, direction in self._places():
            inputs = self.output_size * len(self.suffixes) if layer else input_size
            shapes = parameter_shapes(self.gates, inputs, hidden_size, proj_size)
            set_parameters(self, shapes, f"_l{layer}{direction}", hidden_size, bias, param_dtype, rngs)

    @property
    def suffixes(self) -> tuple[str, ...]:
        """How the names of the parameters of each direction end."""
        return ("", "_reverse") if self.bidirectional else ("",)

    @property
    def output_size(self) -> int:
        """The number of features of one direction's output."""
        return self.proj_size or self.hidden_size

    @abstractmethod
    def _step(self) -> Step:
        """One step of this kind of layer."""

    def _places(self) -> list[tuple[int, str]]:
        return [(layer, direction) for layer in range(self.num_layers) for direction in self.suffixes]

    def _run(
        self,
        input: ArrayLike,
        initial: tuple[ArrayLike, ...] | None,
        lengths: ArrayLike | None,
        deterministic: bool | None,
    ) -> tuple[jax.Array, State]:
        """The output and the final states, each of shape (layers · directions, batch, size)."""
        where = type(self).__name__
        input = as_floating(where, input)
        if input.ndim not in (2, 3) or input.shape[-1] != self.input_size:
            raise ValueError(
                f"{where}: expected an input of shape (batch, time, {self.input_size}), or without the batch, got "
                f"{input.shape}; the batch comes first"
            )
        is_batched = input.ndim == 3
        states = self._initial(input, initial)
        if not is_batched:
            if lengths is not None:
                raise ValueError(f"{where}: lengths need a batch, got an input of shape {input.shape}")
            input, states = input[None], [state[:, None] for state in states]
        is_inside = None if lengths is None else _inside(where, lengths, *input.shape[:2])

        names = [f"{name}_l{layer}{suffix}" for layer, suffix in self._places() for name in WEIGHTS]
        input, *promoted = promote_dtype(
            (input, *states, *(value(getattr(self, n, None)) for n in names)), dtype=self.dtype
        )
        dtype, wide = input.dtype, at_least_float32(input.dtype)
        arrays: list[Any] = [None if array is None else array.astype(wide) for array in promoted]
        states, parameters = arrays[: len(states)], arrays[len(states) :]

        sequence, finals = jnp.swapaxes(input, 0, 1).astype(wide), []
        if is_inside is not None:
            sequence = jnp.where(is_inside, sequence, 0)  # A NaN in the padding would reach the gradients.
        directions = len(self.suffixes)
        for layer in range(self.num_layers):
            if layer and self.dropout is not None:
                sequence = self.dropout(sequence, deterministic=deterministic)
            outputs = []
            for direction in range(directions):
                place = layer * directions + direction
                weights = Weights(*parameters[place * len(WEIGHTS) : (place + 1) * len(WEIGHTS)])
                start = tuple(state[place] for state in states)
                output, final = repeated(self._step(), sequence, start, weights, is_inside, backwards=direction == 1)
                outputs.append(output)
                finals.append(final)
            sequence = outputs[0] if directions == 1 else jnp.concatenate(outputs, axis=-1)

        output = jnp.swapaxes(sequence, 0, 1).astype(dtype)
        final = tuple(jnp.stack(states).astype(dtype) for states in zip(*finals, strict=True))
        return (output, final) if is_batched else (output[0], tuple(state[:, 0] for state in final))

    def _state_sizes(self) -> tuple[int, ...]:
        """The number of features of each array of the state."""
        return (self.output_size,)

    def _initial(self, input: jax.Array, given: tuple[ArrayLike, ...] | None) -> list[jax.Array]:
        """The state before the first step: what is given, or zeros."""
        where = type(self).__name__
        batch = input.shape[:-2]
        shapes = [(self.num_layers * len(self.suffixes), *batch, size) for size in self._state_sizes()]
        if given is None:
            # They lie on the devices like the examples.
            nothing = jnp.zeros_like(jnp.sum(input[..., :1], axis=-2))
            return [jnp.broadcast_to(nothing, shape) for shape in shapes]
        states = [as_floating(where, state, "hx") for state in given]
        if [state.shape for state in states] != shapes:
            raise ValueError(
                f"{where}: expected hx of shape {' and '.join(map(str, shapes))}, (layers · directions, batch, size), "
                f"got {' and '.join(str(state.shape) for state in states)}"
            )
        return states


def parameter_shapes(gates: int, inputs: int, hidden_size: int, proj_size: int = 0) -> dict[str, tuple[int, ...]]:
    """The shapes of the parameters of one layer in one direction."""
    shapes: dict[str, tuple[int, ...]] = {
        "kernel_ih": (inputs, gates * hidden_size),
        "kernel_hh": (proj_size or hidden_size, gates * hidden_size),
        "bias_ih": (gates * hidden_size,),
        "bias_hh": (gates * hidden_size,),
    }
    return shapes | ({"kernel_hr": (hidden_size, proj_size)} if proj_size else {})


def set_parameters(
    module: Any,
    shapes: dict[str, tuple[int, ...]],
    suffix: str,
    hidden_size: int,
    bias: bool,
    param_dtype: DTypeLike,
    rngs: nnx.Rngs,
) -> None:
    """Set parameters of these shapes, uniform in [-1/√hidden_size, 1/√hidden_size), as attributes of a module."""
    bound = 1 / math.sqrt(hidden_size)
    init = initializers.uniform(-bound, bound)
    for name, shape in shapes.items():
        is_wanted = bias or not name.startswith("bias")
        parameter = nnx.Param(init(rngs.params(), shape, param_dtype)) if is_wanted else None
        setattr(module, f"{name}{suffix}", nnx.data(parameter))


def _inside(where: str, lengths: ArrayLike, batch: int, time: int) -> jax.Array:
    """Of shape (time, batch, 1): whether an example has not ended yet."""
    lengths = as_array(where, "lengths", lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(f"{where}: lengths must hold integers, got {lengths.dtype}")
    if lengths.shape != (batch,):
        raise ValueError(f"{where}: expected lengths of shape {(batch,)}, one for each example, got {lengths.shape}")
    if is_concrete(lengths) and not np.all((np.asarray(lengths) >= 0) & (np.asarray(lengths) <= time)):
        raise ValueError(f"{where}: lengths must lie in [0, {time}], the length of the input, got {lengths}")
    return jnp.arange(time, dtype=jnp.int32)[:, None, None] < lengths[None, :, None].astype(jnp.int32)
