"""The mathematics of recurrent layers: one step of each kind, and its repetition over a sequence."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxtrain.nn._arrays import add_bias
from jaxtrain.nn._products import affine
from jaxtrain.nn._tanh import tanh

State = tuple[jax.Array, ...]
"""What a recurrent layer remembers: the hidden state, and the cell state of an LSTM."""


class Weights(NamedTuple):
    """The parameters of one layer in one direction.

    Attributes:
        kernel_ih: matrix of the input, of shape (input_size, gates · hidden_size).
        kernel_hh: matrix of the hidden state, of shape (output_size, gates · hidden_size).
        bias_ih: of shape (gates · hidden_size,), or None.
        bias_hh: of shape (gates · hidden_size,), or None.
        kernel_hr: projection of the hidden state, of shape (hidden_size, output_size), or None.
    """

    kernel_ih: jax.Array
    kernel_hh: jax.Array
    bias_ih: jax.Array | None
    bias_hh: jax.Array | None
    kernel_hr: jax.Array | None = None


Step = Callable[[jax.Array, State, Weights], State]
"""From what `of_input` gives, the state and the parameters to the next state."""

ACTIVATIONS = {"tanh": tanh, "relu": jax.nn.relu}


def rnn_step(nonlinearity: str) -> Step:
    """The step of an Elman network."""
    activation = ACTIVATIONS[nonlinearity]

    def step(inputs: jax.Array, state: State, weights: Weights) -> State:
        return (activation(inputs + jnp.matmul(state[0], weights.kernel_hh)),)

    return step


def lstm_step(inputs: jax.Array, state: State, weights: Weights) -> State:
    """The step of an LSTM; the gates are input, forget, cell and output, in this order."""
    i, f, g, o = jnp.split(inputs + jnp.matmul(state[0], weights.kernel_hh), 4, axis=-1)
    cell = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * tanh(g)
    hidden = jax.nn.sigmoid(o) * tanh(cell)
    return hidden if weights.kernel_hr is None else jnp.matmul(hidden, weights.kernel_hr), cell


def gru_step(inputs: jax.Array, state: State, weights: Weights) -> State:
    """The step of a GRU; the gates are reset, update and new, in this order."""
    input_r, input_z, input_n = jnp.split(inputs, 3, axis=-1)
    hidden_r, hidden_z, hidden_n = jnp.split(jnp.matmul(state[0], weights.kernel_hh), 3, axis=-1)
    r, z = jax.nn.sigmoid(input_r + hidden_r), jax.nn.sigmoid(input_z + hidden_z)
    bias_n = None if weights.bias_hh is None else weights.bias_hh[2 * r.shape[-1] :]
    new = tanh(input_n + r * add_bias(hidden_n, bias_n, -1))
    return (new + z * (state[0] - new),)


def of_input(input: jax.Array, weights: Weights, step: Step) -> jax.Array:
    """The part of the gates that does not depend on the hidden state, for all positions at once."""
    output, bias = affine(jnp.matmul, input, weights.kernel_ih, weights.bias_ih), weights.bias_hh
    if bias is not None and step is gru_step:
        # The reset gate multiplies the new gate's bias, too, so the step adds that.
        bias = jnp.where(jnp.arange(bias.size) < bias.size // 3 * 2, bias, 0)
    return add_bias(output, bias, -1)


def repeated(
    step: Step, input: jax.Array, state: State, weights: Weights, is_inside: jax.Array | None, *, backwards: bool
) -> tuple[jax.Array, State]:
    """Run along a sequence.

    Args:
        step: one step.
        input: array of shape (time, batch, features).
        state: before the first step; arrays of shape (batch, size).
        weights: the parameters.
        is_inside: of shape (time, batch, 1): whether an example has not ended yet; None if all are equally long.
        backwards: whether to run from the end of each example to its start.

    Returns:
        The hidden state at each time, zero after the end of an example, and the state after the last step.
    """

    def move(state: State, at_time: tuple[jax.Array, jax.Array | None]) -> tuple[State, jax.Array]:
        inputs, inside = at_time
        new = step(inputs, state, weights)
        if inside is None:
            return new, new[0]
        kept = tuple(jnp.where(inside, after, before) for after, before in zip(new, state, strict=True))
        return kept, jnp.where(inside, new[0], 0)

    state, output = lax.scan(move, state, (of_input(input, weights, step), is_inside), reverse=backwards)
    return output, state
