"""Recurrent layers: initial values, ragged batches, dropout, dtypes, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from scipy import stats

from jaxtrain import nn

X = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)


def parameters(layer):
    return {name: array[...] for name, array in vars(layer).items() if isinstance(array, nnx.Param)}


def test_initial_values_are_distributed_as_in_torch():
    ours = parameters(nn.LSTM(30, 25, num_layers=2, proj_size=5, rngs=nnx.Rngs(0)))
    torch.manual_seed(0)
    theirs = dict(torch.nn.LSTM(30, 25, num_layers=2, proj_size=5).named_parameters())
    assert len(ours) == len(theirs) == 10
    for name, array in ours.items():
        expected = theirs[name.replace("kernel", "weight")].detach().numpy()
        assert array.shape == expected.T.shape
        assert stats.ks_2samp(np.ravel(array), expected.ravel()).pvalue > 0.01, name
        assert 0.18 < np.abs(array).max() <= 0.2


def test_what_follows_the_end_of_an_example_is_without_effect():
    layer = nn.GRU(4, 3, num_layers=2, bidirectional=True, rngs=nnx.Rngs(0))
    lengths = jnp.array([5, 2, 0])
    output, final = layer(X, lengths=lengths)
    other, other_final = layer(
        jnp.where(jnp.arange(5)[None, :, None] < lengths[:, None, None], X, jnp.nan), lengths=lengths
    )
    np.testing.assert_array_equal(output, other)
    np.testing.assert_array_equal(final, other_final)
    alone, alone_final = layer(X[1, :2])
    np.testing.assert_allclose(output[1, :2], alone, atol=1e-6)
    np.testing.assert_allclose(final[:, 1], alone_final, atol=1e-6)
    assert not np.any(output[1, 2:])
    assert not np.any(final[:, 2])


def test_no_gradient_comes_from_behind_the_end():
    layer, lengths = nn.GRU(4, 3, bidirectional=True, rngs=nnx.Rngs(0)), jnp.array([5, 2, 0])
    padded = jnp.where(jnp.arange(5)[None, :, None] < lengths[:, None, None], X, jnp.nan)
    of_layer, of_input = nnx.grad(lambda layer, x: jnp.sum(layer(x, lengths=lengths)[0]), argnums=(0, 1))(layer, padded)
    assert all(np.all(np.isfinite(gradient)) for gradient in jax.tree.leaves((of_layer, of_input)))
    assert not np.any(of_input[1, 2:])
    assert np.all(of_input[1, :2] != 0)


def test_dropout_acts_between_the_layers_in_training_only():
    layer = nn.RNN(4, 64, num_layers=2, dropout=0.5, nonlinearity="relu", rngs=nnx.Rngs(0))
    first, second = layer(X)[0], layer(X)[0]
    assert not np.array_equal(first, second)
    layer.eval()
    np.testing.assert_array_equal(layer(X)[0], layer(X)[0])
    assert not np.array_equal(layer(X, deterministic=False)[0], layer(X)[0])


def test_dropout_acts_before_every_layer_but_the_first():
    """Where everything is dropped, no layer but the first multiplies anything by its kernel."""
    layer = nn.GRU(4, 2, num_layers=3, dropout=1.0, rngs=nnx.Rngs(0))
    before, _ = layer(X)
    for number in (1, 2):
        kernel = getattr(layer, f"kernel_ih_l{number}")
        kernel[...] = kernel[...] + 1
    np.testing.assert_array_equal(layer(X)[0], before)
    layer.eval()
    assert np.any(layer(X)[0] != before)


def test_dropout_leaves_the_input_of_the_first_layer_and_the_final_states_alone():
    layer = nn.GRU(4, 16, num_layers=3, dropout=0.5, rngs=nnx.Rngs(0))
    (_, final), (_, whole) = layer(X), layer(X, deterministic=True)
    np.testing.assert_array_equal(final[0], whole[0])
    assert np.all(np.any(final[1:] != whole[1:], axis=(1, 2)))
    layer.eval()
    np.testing.assert_array_equal(layer(X)[1], whole)


@pytest.mark.usefixtures("promotion")
def test_dtypes_are_flax_s():
    half = nn.LSTM(4, 3, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    assert {array.dtype for array in parameters(half).values()} == {jnp.dtype(jnp.bfloat16)}
    assert half(X)[0].dtype == jnp.float32
    assert half(X.astype(jnp.bfloat16))[1][1].dtype == jnp.bfloat16
    output, _ = nn.GRU(4, 3, dtype=jnp.float16, rngs=nnx.Rngs(0))(X)
    assert output.dtype == jnp.float16
    assert nn.LSTMCell(4, 3, dtype=jnp.float16, rngs=nnx.Rngs(0))(X[0])[1].dtype == jnp.float16


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.LSTM(4, 3, rngs=0), TypeError, "LSTM: rngs must be random streams, got 0"),
        (
            lambda: nn.LSTM(4, 3, proj_size=3, rngs=nnx.Rngs(0)),
            ValueError,
            "LSTM: proj_size must be from 0 to 2, got 3",
        ),
        (lambda: nn.GRU(4, 0, rngs=nnx.Rngs(0)), ValueError, "GRU: hidden_size must be at least 1, got 0"),
        (lambda: nn.RNN(4, 3, nonlinearity="elu", rngs=nnx.Rngs(0)), ValueError, "RNN: nonlinearity must be one of"),
        (lambda: nn.RNN(4, 3, dropout=0.5, rngs=nnx.Rngs(0)), ValueError, "RNN: dropout acts between layers"),
        (lambda: nn.GRU(4, 3, dtype=None, bias="no", rngs=nnx.Rngs(0)), TypeError, "GRU: bias must be True or False"),
        (lambda: GRU(X[..., :3]), ValueError, r"GRU: expected an input of shape \(batch, time, 4\).*got \(3, 5, 3\)"),
        (lambda: GRU(X.astype(int)), TypeError, "GRU: input must be floating-point"),
        (lambda: GRU(X, X), ValueError, r"GRU: expected hx of shape \(1, 3, 3\).*got \(3, 5, 4\)"),
        (lambda: GRU(X, lengths=[1, 2]), ValueError, r"GRU: expected lengths of shape \(3,\).*got \(2,\)"),
        (lambda: GRU(X, lengths=[1, 2, 6]), ValueError, r"GRU: lengths must lie in \[0, 5\]"),
        (lambda: GRU(X, lengths=[1.0, 2.0, 3.0]), TypeError, "GRU: lengths must hold integers, got float32"),
        (lambda: GRU(X[0], lengths=[1]), ValueError, "GRU: lengths need a batch"),
        (lambda: CELL(X), ValueError, r"LSTMCell: expected an input of shape \(batch, 4\)"),
        (lambda: CELL(X[0], (X[0], X[0])), ValueError, r"LSTMCell: expected hx of shape \(5, 3\) and \(5, 3\), got"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


GRU = nn.GRU(4, 3, rngs=nnx.Rngs(0))
CELL = nn.LSTMCell(4, 3, rngs=nnx.Rngs(0))
