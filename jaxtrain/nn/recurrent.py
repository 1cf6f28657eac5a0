"""Recurrent layers: Elman network, LSTM and GRU."""

from typing import Literal

import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Integer

from jaxtrain._ground.checks import check_choice, check_integer
from jaxtrain.nn._named import named
from jaxtrain.nn._recurrence import ACTIVATIONS, Step, gru_step, lstm_step, rnn_step
from jaxtrain.nn._recurrent_layer import RecurrentLayer

Sequence = Float[Array, "*batch time features"]
Hidden = Float[Array, "layers *batch size"]
Lengths = Integer[Array, "batch"]


class RNN(RecurrentLayer):
    """Run along a sequence with a hidden state, as an Elman network does.

        h ← tanh(x · kernel_ih + bias_ih + h · kernel_hh + bias_hh)

    `model.train()` and `model.eval()` switch the dropout between the layers. All parameters start uniform in
    [-1/√hidden_size, 1/√hidden_size).

    Args:
        input_size: number of features of the input.
        hidden_size: number of features of the hidden state.
        num_layers: number of layers, each of which runs along the output of the one below. Default 1.
        nonlinearity: "tanh" or "relu". Default "tanh".
        bias: whether to add the two biases. Default True.
        dropout: probability of dropping a feature between the layers in training, in [0, 1]. Default 0.
        bidirectional: whether each layer also runs from the end to the start; the outputs of both directions are
            joined, forwards first. Default False.
        dtype: dtype of the computation. Default None: the promoted dtype of input and parameters.
        param_dtype: dtype of the parameters. Default float32.
        rngs: random streams; the parameters are drawn from `params`, and dropout forks the stream `dropout`.

    Attributes:
        kernel_ih_l0: parameter of shape (input_size, hidden_size): the matrix of the input in layer 0, and so on for
            the layers `_l1`, `_l2`, ...; the names of the other direction end in `_reverse`.
        kernel_hh_l0: parameter of shape (hidden_size, hidden_size): the matrix of the hidden state.
        bias_ih_l0: parameter of shape (hidden_size,), or None.
        bias_hh_l0: parameter of shape (hidden_size,), or None.
        dropout: `nn.Dropout` between the layers, or None.

    Returns:
        When called with an input of shape (batch, time, input_size), or without the batch: the output, of shape
        (batch, time, directions · hidden_size), and the hidden state after the last step, of shape
        (layers · directions, batch, hidden_size). The call also takes

        - `hx`, the hidden state before the first step; zeros by default;
        - `lengths`, of shape (batch,): how long each example is. Its output is zero from there on, its final state is
          the one at its end, and the other direction starts there;
        - `deterministic`, which overrides the mode of the dropout.

    Raises:
        TypeError: if the input or hx is not floating-point, or the lengths are not integers.
        ValueError: if a size is below 1, dropout is out of range or without a second layer, or a shape does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.RNN(3, 4, num_layers=2, bidirectional=True, rngs=nnx.Rngs(0))
        >>> output, h_n = layer(jnp.ones((5, 7, 3)), lengths=jnp.array([7, 7, 4, 2, 1]))
        >>> print(output.shape, h_n.shape, output[4, 1])
        (5, 7, 8) (4, 5, 4) [0. 0. 0. 0. 0. 0. 0. 0.]

    PyTorch: `torch.nn.RNN(batch_first=True)`. Its weights are these kernels transposed. `lengths` takes the place of
    packed sequences. It warns about dropout without a second layer, which is an error here.

    Source: Elman, "Finding Structure in Time", 1990, https://doi.org/10.1207/s15516709cog1402_1
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: Literal["tanh", "relu"] = "tanh",
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_choice("RNN", "nonlinearity", nonlinearity, ACTIVATIONS)
        self.nonlinearity = nonlinearity
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            dropout,
            bidirectional,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )

    @named
    def __call__(
        self,
        input: Sequence,
        hx: Hidden | None = None,
        *,
        lengths: Lengths | None = None,
        deterministic: bool | None = None,
    ) -> tuple[Sequence, Hidden]:
        output, (hidden,) = self._run(input, None if hx is None else (hx,), lengths, deterministic)
        return output, hidden

    def _step(self) -> Step:
        return rnn_step(self.nonlinearity)


class LSTM(RecurrentLayer):
    """Run along a sequence with long short-term memory: a hidden state, and a cell state behind gates.

        i, f, g, o = x · kernel_ih + bias_ih + h · kernel_hh + bias_hh, in four equal parts
        c ← σ(f) · c + σ(i) · tanh(g)
        h ← σ(o) · tanh(c), and if proj_size is not 0, h ← h · kernel_hr

    `model.train()` and `model.eval()` switch the dropout between the layers. All parameters start uniform in
    [-1/√hidden_size, 1/√hidden_size).

    Args:
        input_size: number of features of the input.
        hidden_size: number of features of the cell state, and of the hidden state without a projection.
        num_layers: number of layers, each of which runs along the output of the one below. Default 1.
        bias: whether to add the two biases. Default True.
        dropout: probability of dropping a feature between the layers in training, in [0, 1]. Default 0.
        bidirectional: whether each layer also runs from the end to the start; the outputs of both directions are
            joined, forwards first. Default False.
        proj_size: number of features to which the hidden state is projected, below hidden_size. Default 0: no
            projection.
        dtype: dtype of the computation. Default None: the promoted dtype of input and parameters.
        param_dtype: dtype of the parameters. Default float32.
        rngs: random streams; the parameters are drawn from `params`, and dropout forks the stream `dropout`.

    Attributes:
        kernel_ih_l0: parameter of shape (input_size, 4 · hidden_size): the matrix of the input in layer 0, and so on
            for the layers `_l1`, `_l2`, ...; the names of the other direction end in `_reverse`.
        kernel_hh_l0: parameter of shape (output_size, 4 · hidden_size): the matrix of the hidden state, whose
            output_size features are proj_size or hidden_size.
        bias_ih_l0: parameter of shape (4 · hidden_size,), or None.
        bias_hh_l0: parameter of shape (4 · hidden_size,), or None.
        kernel_hr_l0: parameter of shape (hidden_size, proj_size), if there is a projection.
        dropout: `nn.Dropout` between the layers, or None.

    Returns:
        When called with an input of shape (batch, time, input_size), or without the batch: the output, of shape
        (batch, time, directions · output_size), and the state after the last step, `(h_n, c_n)`, of shapes
        (layers · directions, batch, output_size) and (layers · directions, batch, hidden_size). The call also takes

        - `hx`, the pair of states before the first step; zeros by default;
        - `lengths`, of shape (batch,): how long each example is. Its output is zero from there on, its final state is
          the one at its end, and the other direction starts there;
        - `deterministic`, which overrides the mode of the dropout.

    Raises:
        TypeError: if the input or hx is not floating-point, or the lengths are not integers.
        ValueError: if a size is out of range, dropout is out of range or without a second layer, or a shape does not
            fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.LSTM(3, 4, num_layers=2, rngs=nnx.Rngs(0))
        >>> output, (h_n, c_n) = layer(jnp.ones((5, 7, 3)))
        >>> print(output.shape, h_n.shape, bool(jnp.all(output[:, -1] == h_n[-1])))
        (5, 7, 4) (2, 5, 4) True

    PyTorch: `torch.nn.LSTM(batch_first=True)`. Its weights are these kernels transposed. `lengths` takes the place of
    packed sequences. It warns about dropout without a second layer, which is an error here.

    Source: Hochreiter and Schmidhuber, "Long Short-Term Memory", 1997, https://doi.org/10.1162/neco.1997.9.8.1735
    """

    gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        check_integer("LSTM", "hidden_size", hidden_size, 1)
        check_integer("LSTM", "proj_size", proj_size, 0, hidden_size - 1)
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            dropout,
            bidirectional,
            proj_size,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )

    @named
    def __call__(
        self,
        input: Sequence,
        hx: tuple[Hidden, Hidden] | None = None,
        *,
        lengths: Lengths | None = None,
        deterministic: bool | None = None,
    ) -> tuple[Sequence, tuple[Hidden, Hidden]]:
        if hx is not None and not (isinstance(hx, tuple | list) and len(hx) == 2):
            raise TypeError(f"LSTM: hx must be a pair, the hidden and the cell state, got {type(hx).__name__}")
        output, (hidden, cell) = self._run(input, hx, lengths, deterministic)
        return output, (hidden, cell)

    def _step(self) -> Step:
        return lstm_step

    def _state_sizes(self) -> tuple[int, ...]:
        return self.output_size, self.hidden_size


class GRU(RecurrentLayer):
    """Run along a sequence with gated recurrent units.

        input_r, input_z, input_n = x · kernel_ih + bias_ih, in three equal parts
        hidden_r, hidden_z, hidden_n = h · kernel_hh + bias_hh, in three equal parts
        r = σ(input_r + hidden_r), z = σ(input_z + hidden_z), n = tanh(input_n + r · hidden_n)
        h ← (1 - z) · n + z · h

    `model.train()` and `model.eval()` switch the dropout between the layers. All parameters start uniform in
    [-1/√hidden_size, 1/√hidden_size).

    Args:
        input_size: number of features of the input.
        hidden_size: number of features of the hidden state.
        num_layers: number of layers, each of which runs along the output of the one below. Default 1.
        bias: whether to add the two biases. Default True.
        dropout: probability of dropping a feature between the layers in training, in [0, 1]. Default 0.
        bidirectional: whether each layer also runs from the end to the start; the outputs of both directions are
            joined, forwards first. Default False.
        dtype: dtype of the computation. Default None: the promoted dtype of input and parameters.
        param_dtype: dtype of the parameters. Default float32.
        rngs: random streams; the parameters are drawn from `params`, and dropout forks the stream `dropout`.

    Attributes:
        kernel_ih_l0: parameter of shape (input_size, 3 · hidden_size): the matrix of the input in layer 0, and so on
            for the layers `_l1`, `_l2`, ...; the names of the other direction end in `_reverse`.
        kernel_hh_l0: parameter of shape (hidden_size, 3 · hidden_size): the matrix of the hidden state.
        bias_ih_l0: parameter of shape (3 · hidden_size,), or None.
        bias_hh_l0: parameter of shape (3 · hidden_size,), or None.
        dropout: `nn.Dropout` between the layers, or None.

    Returns:
        When called with an input of shape (batch, time, input_size), or without the batch: the output, of shape
        (batch, time, directions · hidden_size), and the hidden state after the last step, of shape
        (layers · directions, batch, hidden_size). The call also takes

        - `hx`, the hidden state before the first step; zeros by default;
        - `lengths`, of shape (batch,): how long each example is. Its output is zero from there on, its final state is
          the one at its end, and the other direction starts there;
        - `deterministic`, which overrides the mode of the dropout.

    Raises:
        TypeError: if the input or hx is not floating-point, or the lengths are not integers.
        ValueError: if a size is below 1, dropout is out of range or without a second layer, or a shape does not fit.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import nnx
        >>> from jaxtrain import nn
        >>> layer = nn.GRU(3, 4, bidirectional=True, rngs=nnx.Rngs(0))
        >>> output, h_n = layer(jnp.ones((5, 7, 3)))
        >>> print(output.shape, h_n.shape)
        (5, 7, 8) (2, 5, 4)

    PyTorch: `torch.nn.GRU(batch_first=True)`. Its weights are these kernels transposed. `lengths` takes the place of
    packed sequences. It warns about dropout without a second layer, which is an error here.

    Source: Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine
    Translation", 2014, https://arxiv.org/abs/1406.1078
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        dropout: float = 0.0,
        bidirectional: bool = False,
        *,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        rngs: nnx.Rngs,
    ):
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            dropout,
            bidirectional,
            dtype=dtype,
            param_dtype=param_dtype,
            rngs=rngs,
        )

    @named
    def __call__(
        self,
        input: Sequence,
        hx: Hidden | None = None,
        *,
        lengths: Lengths | None = None,
        deterministic: bool | None = None,
    ) -> tuple[Sequence, Hidden]:
        output, (hidden,) = self._run(input, None if hx is None else (hx,), lengths, deterministic)
        return output, hidden

    def _step(self) -> Step:
        return gru_step
