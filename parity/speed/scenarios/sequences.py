"""Recurrent layers, attention and transformers beside Flax's, in training."""

from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from jaxtrain import nn
from parity.speed.scenarios.layers import Row

Expression = Callable[..., jax.Array]

SEQUENCES = (16, 64, 128)
STEP = (512, 128)


class Applied(nnx.Module):
    """What an expression makes of a layer and its input."""

    def __init__(self, layer: Any, expression: Expression):
        self.layer, self.expression = layer, expression

    def __call__(self, *inputs: jax.Array) -> jax.Array:
        return self.expression(self.layer, *inputs)


def _first(layer: Any, x: jax.Array) -> jax.Array:
    """The output, without the final state."""
    return layer(x)[0]


def _recurrent(component: str, counterpart: Any) -> Row:
    def ours(rngs: nnx.Rngs) -> nnx.Module:
        return Applied(getattr(nn, component)(128, 128, rngs=rngs), _first)

    def theirs(rngs: nnx.Rngs) -> nnx.Module:
        return nnx.RNN(counterpart(128, 128, rngs=rngs))

    return Row(component, "64 steps", f"nnx.RNN of nnx.{counterpart.__name__}", ours, theirs, SEQUENCES)


def _from_zeros(cell: Any, x: jax.Array) -> jax.Array:
    """One step of a cell of Flax's."""
    return cell(cell.initialize_carry(x.shape, nnx.Rngs(0)), x)[1]


def _cell(component: str, counterpart: Any, expression: Expression) -> Row:
    def ours(rngs: nnx.Rngs) -> nnx.Module:
        return Applied(getattr(nn, component)(128, 128, rngs=rngs), expression)

    def theirs(rngs: nnx.Rngs) -> nnx.Module:
        return Applied(counterpart(128, 128, rngs=rngs), _from_zeros)

    return Row(component, "one step", f"nnx.{counterpart.__name__}", ours, theirs, STEP)


class _Block(nnx.Module):
    """A layer of a transformer in Flax, its norms last; a decoder's looks at a memory, too."""

    def __init__(self, rngs: nnx.Rngs, *, decoder: bool = False):
        sublayers = [nnx.MultiHeadAttention(4, 128, decode=False, rngs=rngs) for _ in range(1 + decoder)]
        self.attention = nnx.List(sublayers)
        self.wide, self.narrow = nnx.Linear(128, 512, rngs=rngs), nnx.Linear(512, 128, rngs=rngs)
        self.norms = nnx.List([nnx.LayerNorm(128, epsilon=1e-5, rngs=rngs) for _ in range(2 + decoder)])

    def __call__(self, x: jax.Array, *memory: jax.Array) -> jax.Array:
        for attention, norm, other in zip(self.attention, self.norms, ((), memory), strict=False):
            x = norm(x + attention(x, *other))
        return self.norms[-1](x + self.narrow(jax.nn.relu(self.wide(x))))


ROWS = [
    _recurrent("RNN", nnx.SimpleCell),
    _recurrent("LSTM", nnx.OptimizedLSTMCell),
    _recurrent("GRU", nnx.GRUCell),
    _cell("RNNCell", nnx.SimpleCell, lambda cell, x: cell(x)),
    _cell("LSTMCell", nnx.OptimizedLSTMCell, _first),
    _cell("GRUCell", nnx.GRUCell, lambda cell, x: cell(x)),
    Row(
        "MultiheadAttention",
        "4 heads, no weights returned",
        "nnx.MultiHeadAttention",
        lambda rngs: Applied(
            nn.MultiheadAttention(128, 4, rngs=rngs), lambda layer, x: layer(x, x, x, need_weights=False)[0]
        ),
        lambda rngs: nnx.MultiHeadAttention(4, 128, decode=False, rngs=rngs),
        SEQUENCES,
    ),
    Row(
        "TransformerEncoderLayer",
        "4 heads, 512 hidden features",
        "nnx.MultiHeadAttention, nnx.LayerNorm, nnx.Linear",
        lambda rngs: nn.TransformerEncoderLayer(128, 4, 512, 0.0, rngs=rngs),
        _Block,
        SEQUENCES,
    ),
    Row(
        "TransformerDecoderLayer",
        "4 heads, 512 hidden features",
        "nnx.MultiHeadAttention, nnx.LayerNorm, nnx.Linear",
        lambda rngs: Applied(nn.TransformerDecoderLayer(128, 4, 512, 0.0, rngs=rngs), lambda layer, x: layer(x, x)),
        lambda rngs: Applied(_Block(rngs, decoder=True), lambda layer, x: layer(x, x)),
        SEQUENCES,
    ),
]
