"""Cases of the recurrent layers and their cells."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import torch
from flax import nnx
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.subjects.layer import LayerCase

BATCH, TIME, FEATURES, HIDDEN = 12, 6, 5, 4
LENGTHS = (6, 4, 1, 5) * 3
SPREADS = [(0.0, 1.0), (0.5, 0.5)]


def first_states(input: Any, layer: Any) -> list[Any]:
    """States taken from the input, so that its gradient shows theirs; batch first."""
    places = layer.num_layers * (2 if layer.bidirectional else 1)
    sizes = [layer.proj_size or HIDDEN, HIDDEN] if isinstance(layer, nn.LSTM | torch.nn.LSTM) else [HIDDEN]
    return [input[:, start : start + places, :size] for start, size in enumerate(sizes)]


def joined_reference(kind: type[torch.nn.Module], *, ragged: bool, **options: Any) -> torch.nn.Module:
    """PyTorch's layer, which returns its output and final states in one vector."""

    class Joined(kind):
        def forward(self, input):
            states = [state.transpose(0, 1).contiguous() for state in first_states(input, self)]
            states = states[0] if len(states) == 1 else tuple(states)
            if ragged:
                packed = pack_padded_sequence(input, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
                packed, final = super().forward(packed, states)
                output, _ = pad_packed_sequence(packed, batch_first=True, total_length=TIME)
            else:
                output, final = super().forward(input, states)
            final = final if isinstance(final, tuple) else (final,)
            return torch.cat([array.flatten() for array in (output, *final)])

    return Joined(FEATURES, HIDDEN, batch_first=True, **options)


def joined(kind: Any, rngs: nnx.Rngs, *, lengths: tuple[int, ...] | None = None, **options: Any):
    """Our layer, which does the same."""

    class Joined(kind):
        def __call__(self, input):
            states = [jnp.swapaxes(state, 0, 1) for state in first_states(input, self)]
            states = states[0] if len(states) == 1 else tuple(states)
            ends = None if lengths is None else jnp.array(lengths)
            output, final = super().__call__(input, states, lengths=ends)
            return jnp.concatenate([array.ravel() for array in jax.tree.leaves((output, final))])

    return Joined(FEATURES, HIDDEN, rngs=rngs, **options)


def case(
    kind: type[nnx.Module], configuration: str, defects: dict[str, Callable], *, ragged: bool = False, **options: Any
) -> Case:
    lengths = LENGTHS if ragged else None
    return LayerCase(
        component=f"nn.{kind.__name__}",
        configuration=configuration,
        ours=partial(joined, kind, lengths=lengths, **options),
        reference=partial(joined_reference, getattr(torch.nn, kind.__name__), ragged=ragged, **options),
        inputs=normal((BATCH, TIME, FEATURES), SPREADS),
        defects={bug: partial(joined, wrong, **{"lengths": lengths, **options}) for bug, wrong in defects.items()},
        centre=0.0,
        centre_of_vectors=0.0,
        amplifies=options.get("nonlinearity") == "relu",  # A relu bounds no state, unlike tanh.
    )


def swapped_gates(kind: type[nnx.Module], gates: int, first: int, second: int) -> type[nnx.Module]:
    """The layer with two gates in each other's place."""

    class Swapped(kind):
        def __call__(self, *args, **kwargs):
            for name, variable in vars(self).items():
                if name.startswith(("kernel_ih", "kernel_hh", "bias")):
                    parts = jnp.split(variable[...], gates, axis=-1)
                    parts[first], parts[second] = parts[second], parts[first]
                    variable[...] = jnp.concatenate(parts, axis=-1)
            return super().__call__(*args, **kwargs)

    Swapped.__name__ = kind.__name__
    return Swapped


class OneBias(nn.GRU):
    """Both biases outside the reset gate."""

    def __call__(self, *args, **kwargs):
        for suffix in ("_l0", "_l1"):
            if hasattr(self, f"bias_hh{suffix}"):
                ih, hh = getattr(self, f"bias_ih{suffix}"), getattr(self, f"bias_hh{suffix}")
                ih[...], hh[...] = ih[...] + hh[...], jnp.zeros_like(hh[...])
        return super().__call__(*args, **kwargs)


class WithoutLengths(nn.GRU):
    """A ragged batch as if it were full."""

    def __call__(self, input, hx, *, lengths=None):
        return super().__call__(input, hx)


class FlippedWhole(nn.LSTM):
    """The other direction starts at the end of the array, not of the example."""

    def __call__(self, input, hx, *, lengths):
        output, (h, c) = super().__call__(input, hx, lengths=lengths)
        wrong, (wrong_h, wrong_c) = super().__call__(input, hx)
        backwards = jnp.arange(output.shape[-1]) >= output.shape[-1] // 2
        odd = (jnp.arange(len(h)) % 2 == 1)[:, None, None]
        return jnp.where(backwards, wrong, output), (jnp.where(odd, wrong_h, h), jnp.where(odd, wrong_c, c))


class StartsAtZero(nn.RNN):
    def __call__(self, input, hx, **options):
        return super().__call__(input, None, **options)


class Relu(nn.RNN):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs | {"nonlinearity": "relu"})


class ReluCell(nn.RNNCell):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs | {"nonlinearity": "relu"})


def cell_case(kind: type[nnx.Module], configuration: str, defects: dict[str, Callable], **options: Any) -> Case:
    """A cell that makes two steps, the first from zeros."""
    theirs = getattr(torch.nn, kind.__name__)

    class TorchTwice(theirs):
        def forward(self, input):
            state = super().forward(input, super().forward(input))
            return torch.cat(state if isinstance(state, tuple) else (state,), -1)

    def twice(kind: Any, rngs: nnx.Rngs) -> nnx.Module:
        class Twice(kind):
            def __call__(self, input):
                return jnp.concatenate(jax.tree.leaves(super().__call__(input, super().__call__(input))), axis=-1)

        return Twice(FEATURES, HIDDEN, rngs=rngs, **options)

    return LayerCase(
        component=f"nn.{kind.__name__}",
        configuration=configuration,
        ours=partial(twice, kind),
        reference=lambda: TorchTwice(FEATURES, HIDDEN, **options),
        inputs=normal((BATCH, FEATURES), SPREADS),
        defects={bug: partial(twice, wrong) for bug, wrong in defects.items()},
        centre=0.0,
        centre_of_vectors=0.0,
    )


CASES: list[Case] = [
    case(nn.RNN, "defaults", {"starts at zero": StartsAtZero, "relu": Relu}),
    case(
        nn.RNN,
        "relu, two layers, both directions, lengths",
        {"starts at zero": StartsAtZero},
        ragged=True,
        num_layers=2,
        bidirectional=True,
        nonlinearity="relu",
    ),
    case(
        nn.LSTM,
        "defaults",
        {
            "input and forget gate swapped": swapped_gates(nn.LSTM, 4, 0, 1),
            "cell and output gate swapped": swapped_gates(nn.LSTM, 4, 2, 3),
        },
    ),
    case(
        nn.LSTM,
        "two layers, both directions, projection, lengths",
        {"flipped whole": FlippedWhole},
        ragged=True,
        num_layers=2,
        bidirectional=True,
        proj_size=3,
    ),
    case(
        nn.GRU,
        "defaults",
        {"one bias": OneBias, "reset and update gate swapped": swapped_gates(nn.GRU, 3, 0, 1)},
    ),
    case(
        nn.GRU,
        "two layers, both directions, no bias, lengths",
        {"without lengths": WithoutLengths},
        ragged=True,
        num_layers=2,
        bidirectional=True,
        bias=False,
    ),
    cell_case(nn.RNNCell, "defaults", {"relu": ReluCell}),
    cell_case(nn.LSTMCell, "defaults", {"input and forget gate swapped": swapped_gates(nn.LSTMCell, 4, 0, 1)}),
    cell_case(nn.GRUCell, "defaults", {"reset and update gate swapped": swapped_gates(nn.GRUCell, 3, 0, 1)}),
]
