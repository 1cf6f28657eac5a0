"""Single steps of the recurrent layers, for loops of your own."""

from typing import Any, ClassVar, Literal

import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_choice, check_integer
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain.nn._arrays import as_floating, check_dtypes, check_flags, check_rngs, value
from jaxtrain.nn._named import named
from jaxtrain.nn._recurrence import ACTIVATIONS, State, Step, Weights, gru_step, lstm_step, of_input, rnn_step
from jaxtrain.nn._recurrent_layer import parameter_shapes, set_parameters

Input = Float[Array, "*batch input_size"]
Hidden = Float[Array, "*batch hidden_size"]


class _Cell(nnx.Module):
    """One step of a recurrent layer."""

    gates: ClassVar[int]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        where = type(self).__name__
        check_integer(where, "input_size", input_size, 1)
        check_integer(where, "hidden_size", hidden_size, 1)
        check_flags(where, bias=bias)
        check_dtypes(where, param_dtype=param_dtype, dtype=dtype)
        check_rngs(where, rngs)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.dtype = dtype
        set_parameters(
            self, parameter_shapes(self.gates, input_size, hidden_size), "", hidden_size, bias, param_dtype, rngs
        )

    def _next(self, step: Step, input: ArrayLike, given: tuple[ArrayLike, ...] | None, states: int = 1) -> State:
        """The state after a step."""
        where = type(self).__name__
        input = as_floating(where, input)
        if input.ndim not in (1, 2) or input.shape[-1] != self.input_size:
            raise ValueError(
                f"{where}: expected an input of shape (batch, {self.input_size}), or without the batch, got "
                f"{input.shape}"
            )
        shape = (*input.shape[:-1], self.hidden_size)
        state = (
            [jnp.broadcast_to(jnp.zeros_like(input[..., :1]), shape)] * states
            if given is None
            else [as_floating(where, array, "hx") for array in given]
        )
        if [array.shape for array in state] != [shape] * states:
            raise ValueError(
                f"{where}: expected hx of shape {' and '.join([str(shape)] * states)}, got "
                f"{' and '.join(str(array.shape) for array in state)}"
            )
        parameters = [value(getattr(self, name)) for name in Weights._fields[:4]]
        input, *promoted = promote_dtype((input, *state, *parameters), dtype=self.dtype)
        wide = at_least_float32(input.dtype)
        arrays: list[Any] = [None if array is None else array.astype(wide) for array in promoted]
        weights = Weights(*arrays[states:])
        new = step(of_input(input.astype(wide), weights, step), tuple(arrays[:states]), weights)
        return tuple(array.astype(input.dtype) for array in new)


class RNNCell(_Cell):
    """Make one step of an Elman network.

        h ← tanh(x · kernel_ih + bias_ih + h · kernel_hh + bias_hh)

    All parameters start uniform in [-1/√hidden_size, 1/√hidden_size).

    Args:
        input_size: number of features of the input.
        hidden_size: number of features of the hidden state.
        bias: whether to add the two biases. Default True.
        nonlinearity: "tanh" or "relu". Default "tanh".
        dtype: dtype of the computation. Default None: the promoted dtype of input, state and parameters.
        param_dtype: dtype of the parameters. Default float32.
        rngs: random streams; the parameters are drawn from `params`.

    Attributes:
        kernel_ih: parameter of shape (input_size, hidden_size).
        kernel_hh: parameter of shape (hidden_size, hidden_size).
        bias_ih: parameter of shape (hidden_size,), or None.
        bias_hh: parameter of shape (hidden_size,), or None.

    Returns:
        When called with an input of shape (batch, input_size), or without the batch, and a hidden state `hx` of shape
        (batch, hidden_size), zeros by default: the next hidden state.

    Raises:
        TypeError: if the input or hx is not floating-point.
        ValueError: if a size is below 1, or a shape does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> cell = nn.RNNCell(3, 4, rngs=nnx.Rngs(0))
        >>> h = cell(jnp.ones((5, 3)))
        >>> print(cell(jnp.ones((5, 3)), h).shape)
        (5, 4)

    PyTorch: `torch.nn.RNNCell`. Its weights are these kernels transposed.

    Source: Elman, "Finding Structure in Time", 1990, https://doi.org/10.1207/s15516709cog1402_1
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_choice("RNNCell", "nonlinearity", nonlinearity, ACTIVATIONS)
        self.nonlinearity = nonlinearity
        super().__init__(input_size, hidden_size, bias, dtype=dtype, param_dtype=param_dtype, rngs=rngs)

    @named
    def __call__(self, input: Input, hx: Hidden | None = None) -> Hidden:
        (hidden,) = self._next(rnn_step(self.nonlinearity), input, None if hx is None else (hx,))
        return hidden


class LSTMCell(_Cell):
    """Make one step of an LSTM.

        i, f, g, o = x · kernel_ih + bias_ih + h · kernel_hh + bias_hh, in four equal parts
        c ← σ(f) · c + σ(i) · tanh(g)
        h ← σ(o) · tanh(c)

    All parameters start uniform in [-1/√hidden_size, 1/√hidden_size).

    Args:
        input_size: number of features of the input.
        hidden_size: number of features of the hidden state and of the cell state.
        bias: whether to add the two biases. Default True.
        dtype: dtype of the computation. Default None: the promoted dtype of input, state and parameters.
        param_dtype: dtype of the parameters. Default float32.
        rngs: random streams; the parameters are drawn from `params`.

    Attributes:
        kernel_ih: parameter of shape (input_size, 4 · hidden_size).
        kernel_hh: parameter of shape (hidden_size, 4 · hidden_size).
        bias_ih: parameter of shape (4 · hidden_size,), or None.
        bias_hh: parameter of shape (4 · hidden_size,), or None.

    Returns:
        When called with an input of shape (batch, input_size), or without the batch, and a pair `hx` of hidden state
        and cell state, each of shape (batch, hidden_size), zeros by default: the next pair.

    Raises:
        TypeError: if the input or hx is not floating-point.
        ValueError: if a size is below 1, or a shape does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> cell = nn.LSTMCell(3, 4, rngs=nnx.Rngs(0))
        >>> h, c = cell(jnp.ones((5, 3)))
        >>> h, c = cell(jnp.ones((5, 3)), (h, c))
        >>> print(h.shape, c.shape)
        (5, 4) (5, 4)

    PyTorch: `torch.nn.LSTMCell`. Its weights are these kernels transposed.

    Source: Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997, https://doi.org/10.1162/neco.1997.9.8.1735
    """

    gates = 4

    @named
    def __call__(self, input: Input, hx: tuple[Hidden, Hidden] | None = None) -> tuple[Hidden, Hidden]:
        hidden, cell = self._next(lstm_step, input, hx, states=2)
        return hidden, cell


class GRUCell(_Cell):
    """Make one step of a GRU.

        input_r, input_z, input_n = x · kernel_ih + bias_ih, in three equal parts
        hidden_r, hidden_z, hidden_n = h · kernel_hh + bias_hh, in three equal parts
        r = σ(input_r + hidden_r), z = σ(input_z + hidden_z), n = tanh(input_n + r · hidden_n)
        h ← (1 - z) · n + z · h

    All parameters start uniform in [-1/√hidden_size, 1/√hidden_size).

    Args:
        input_size: number of features of the input.
        hidden_size: number of features of the hidden state.
        bias: whether to add the two biases. Default True.
        dtype: dtype of the computation. Default None: the promoted dtype of input, state and parameters.
        param_dtype: dtype of the parameters. Default float32.
        rngs: random streams; the parameters are drawn from `params`.

    Attributes:
        kernel_ih: parameter of shape (input_size, 3 · hidden_size).
        kernel_hh: parameter of shape (hidden_size, 3 · hidden_size).
        bias_ih: parameter of shape (3 · hidden_size,), or None.
        bias_hh: parameter of shape (3 · hidden_size,), or None.

    Returns:
        When called with an input of shape (batch, input_size), or without the batch, and a hidden state `hx` of shape
        (batch, hidden_size), zeros by default: the next hidden state.

    Raises:
        TypeError: if the input or hx is not floating-point.
        ValueError: if a size is below 1, or a shape does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> cell = nn.GRUCell(3, 4, rngs=nnx.Rngs(0))
        >>> print(cell(jnp.ones(3)).shape)
        (4,)

    PyTorch: `torch.nn.GRUCell`. Its weights are these kernels transposed.

    Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
    Translation", 2014, https://arxiv.org/abs/1406.1078
    """

    gates = 3

    @named
    def __call__(self, input: Input, hx: Hidden | None = None) -> Hidden:
        (hidden,) = self._next(gru_step, input, None if hx is None else (hx,))
        return hidden
