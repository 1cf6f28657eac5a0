"""Attention: initial values, masks, dropout, dtypes, bad input; the dropout of transformers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from scipy import stats

from jaxtrain import nn

X = np.random.default_rng(0).normal(size=(2, 5, 8)).astype(np.float32)
LAYER = nn.MultiheadAttention(8, 2, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("options", [{"add_bias_kv": True}, {"kdim": 30, "vdim": 20}])
def test_initial_values_are_distributed_as_in_torch(options):
    ours = nnx.to_flat_state(nnx.state(nn.MultiheadAttention(64, 2, **options, rngs=nnx.Rngs(0)), nnx.Param))
    torch.manual_seed(0)
    theirs = dict(torch.nn.MultiheadAttention(64, 2, **options).named_parameters())
    assert len(ours) == len(theirs)
    for path, variable in ours:
        expected = theirs[".".join(map(str, path)).replace("kernel", "weight")].detach().numpy()
        array = np.asarray(variable.get_value())
        assert array.shape == (expected.T.shape if array.ndim == 2 else expected.shape)
        assert stats.ks_2samp(array.ravel(), expected.ravel()).pvalue > 0.01, path


def test_a_query_that_may_look_at_no_key_gets_zeros_and_no_nan():
    mask = jnp.ones((2, 5), bool).at[0].set(False)

    def loss(x):
        output, weights = LAYER(x, x, x, key_padding_mask=mask)
        return jnp.sum(output) + jnp.sum(weights), weights

    (_, weights), gradient = jax.value_and_grad(loss, has_aux=True)(X)
    assert not np.any(weights[1])
    assert np.all(np.isfinite(gradient))
    function = nn.scaled_dot_product_attention(X, X, X, jnp.zeros((5, 5), bool))
    np.testing.assert_array_equal(function, np.zeros_like(X))
    np.testing.assert_array_equal(function, torch_attention(X, X, X, np.zeros((5, 5), bool)))


def torch_attention(*arrays):
    return torch.nn.functional.scaled_dot_product_attention(*map(torch.from_numpy, arrays)).numpy()


def test_no_keys_give_zeros():
    assert not np.any(nn.scaled_dot_product_attention(X, X[:, :0], X[:, :0], jnp.ones((5, 0), bool)))


def test_the_scale_is_that_of_the_query_if_values_have_another_width():
    np.testing.assert_allclose(
        nn.scaled_dot_product_attention(X, X, X[..., :3]), torch_attention(X, X, X[..., :3]), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("average", [True, False])
def test_one_example_is_a_batch_of_one(average):
    masks = {"attn_mask": ~np.tri(5, dtype=bool), "average_attn_weights": average}
    padding = np.arange(5) == 2
    output, weights = LAYER(X[0], X[0], X[0], padding, **masks)
    of_batch = LAYER(X[:1], X[:1], X[:1], padding[None], **masks)
    np.testing.assert_allclose(output, of_batch[0][0], rtol=1e-6)
    np.testing.assert_allclose(np.asarray(weights), of_batch[1][0], rtol=1e-6)
    assert not np.any(weights[..., 2])


def test_one_array_is_projected_by_one_product():
    def products(*arrays):
        text = str(jax.make_jaxpr(lambda *arrays: LAYER(*arrays)[0])(*arrays))
        return text.count("dot_general")

    assert products(X, X, X) == 3 + 3  # Traced separately, these are three arrays.
    text = str(jax.make_jaxpr(lambda x: LAYER(x, x, x)[0])(X))
    assert text.count("dot_general") == 1 + 3


def test_every_query_of_every_head_and_example_drops_other_weights():
    query, keys, values = jnp.ones((2, 3, 4, 6)), jnp.ones((2, 3, 40, 6)), jnp.eye(40)
    layer = nn.MultiheadAttention(6, 3, dropout=0.5, rngs=nnx.Rngs(0))
    for weights in (
        nn.scaled_dot_product_attention(query, keys, values, dropout_p=0.5, dropout_key=jax.random.key(0)),
        layer(query[:, 0], keys[:, 0], keys[:, 0], average_attn_weights=False)[1],
    ):
        assert len(np.unique(weights.reshape(24, 40) == 0, axis=0)) == 24


def test_dropout_drops_weights_and_keeps_their_mean():
    ones = jnp.ones((1, 200, 4))
    output = nn.scaled_dot_product_attention(ones, ones, ones, dropout_p=0.25, dropout_key=jax.random.key(0))
    assert 0.98 < output.mean() < 1.02
    assert output.std() > 0.01
    layer = nn.MultiheadAttention(8, 2, dropout=0.5, rngs=nnx.Rngs(0))
    weights = layer(X, X, X, average_attn_weights=False)[1]
    assert 0.3 < (weights == 0).mean() < 0.7
    layer.eval()
    np.testing.assert_allclose(layer(X, X, X)[1].sum(-1), 1, rtol=1e-6)
    assert np.any(layer(X, X, X, deterministic=False)[1] != layer(X, X, X)[1])


def test_layers_of_a_stack_start_equal_and_drop_differently():
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, rngs=nnx.Rngs(0))
    first, second = nn.TransformerEncoder(layer, 2).layers
    np.testing.assert_array_equal(first.linear1.kernel[...], second.linear1.kernel[...])
    assert first.linear1.kernel is not second.linear1.kernel
    x = jnp.ones((1, 1000))
    assert np.any(first.dropout(x) != second.dropout(x))
    layer.eval()
    np.testing.assert_array_equal(layer(X), layer(X))


@pytest.mark.parametrize(
    ("kind", "dropouts", "inputs"),
    [
        (nn.TransformerEncoderLayer, {"self_attn.dropout", "dropout", "dropout1", "dropout2"}, (X,)),
        (
            nn.TransformerDecoderLayer,
            {"self_attn.dropout", "multihead_attn.dropout", "dropout", "dropout1", "dropout2", "dropout3"},
            (X, X[:, :3]),
        ),
    ],
)
def test_each_dropout_of_a_layer_acts_by_its_mode_or_as_it_is_told(kind, dropouts, inputs):
    layer = kind(8, 2, 16, dropout=0.5, rngs=nnx.Rngs(0))
    layer.eval()
    whole = layer(*inputs)
    modules = {".".join(map(str, path)): node for path, node in nnx.iter_modules(layer) if isinstance(node, nn.Dropout)}
    assert modules.keys() == dropouts
    for node in modules.values():
        node.deterministic = False
        assert np.any(layer(*inputs) != whole)
        np.testing.assert_array_equal(layer(*inputs, deterministic=True), whole)
        node.deterministic = True
    assert np.any(layer(*inputs, deterministic=False) != whole)


def test_dtypes_are_flax_s():
    assert nn.scaled_dot_product_attention(*[X.astype(jnp.bfloat16)] * 3).dtype == jnp.bfloat16
    half = nn.MultiheadAttention(8, 2, dtype=jnp.float16, rngs=nnx.Rngs(0))
    assert half.in_proj_kernel.dtype == jnp.float32
    output, weights = half(X, X, X)
    assert (output.dtype, weights.dtype) == (jnp.float16, jnp.float16)
    assert nn.TransformerEncoderLayer(8, 2, 16, dtype=jnp.float16, rngs=nnx.Rngs(0))(X).dtype == jnp.float32


FUNCTION = nn.scaled_dot_product_attention


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: FUNCTION(X[0, 0], X, X), ValueError, r"at least two dimensions, \(\.\.\., length, features\)"),
        (lambda: FUNCTION(X, X[..., :3], X), ValueError, "as many features in query and key"),
        (lambda: FUNCTION(X, X, X[:, :3]), ValueError, "as many values as keys"),
        (lambda: FUNCTION(X, X.astype(int), X), TypeError, "key must be floating-point, got int32"),
        (lambda: FUNCTION(X, X, X, np.ones((5, 4), bool)), ValueError, r"attn_mask to broadcast .*\(2, 5, 5\), got"),
        (lambda: FUNCTION(X, X, X, np.ones((5, 5), int)), TypeError, "attn_mask must hold booleans or floats"),
        (
            lambda: FUNCTION(X, X, X, np.ones((5, 5), bool), is_causal=True),
            ValueError,
            "attn_mask or is_causal, got both",
        ),
        (lambda: FUNCTION(X, X, X, dropout_p=0.5), ValueError, r"pass dropout_key=jax.random.key"),
        (lambda: FUNCTION(X, X, X, dropout_p=1.5), ValueError, r"dropout_p must lie in \[0, 1\]"),
        (lambda: FUNCTION(X[0], X[0], X[0], enable_gqa=True), ValueError, "enable_gqa needs an axis of heads"),
        (lambda: FUNCTION(X[:1].repeat(3, 0), X, X, enable_gqa=True), ValueError, "which divides the query's"),
        (
            lambda: nn.MultiheadAttention(8, 3, rngs=nnx.Rngs(0)),
            ValueError,
            "num_heads must divide embed_dim, got 3 and 8",
        ),
        (lambda: LAYER(X, X[:1], X), ValueError, r"expected a query of shape \(batch, queries, 8\)"),
        (
            lambda: LAYER(X, X, X, np.ones((5, 2), bool)),
            ValueError,
            r"key_padding_mask of shape \(2, 5\), got \(5, 2\)",
        ),
        (lambda: LAYER(X, X, X, attn_mask=X), ValueError, r"attn_mask of shape \(5, 5\) or \(4, 5, 5\), got"),
        (
            lambda: nn.TransformerEncoderLayer(8, 2, activation="elu", rngs=nnx.Rngs(0)),
            ValueError,
            "TransformerEncoderLayer: activation must be one of 'relu', 'gelu', got 'elu'",
        ),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("options", [{}, {"is_causal": True}, {"attn_mask": "bool"}, {"attn_mask": "float"}], ids=str)
def test_kernels_of_jax_compute_the_same(options):
    """XLA's in place of cuDNN's, which gets the same arrays."""
    rng = np.random.default_rng(0)
    query, key, value = (rng.normal(size=(2, heads, n, 8)).astype(np.float32) for heads, n in ((4, 3), (2, 5), (2, 5)))
    masks = {"bool": np.arange(5) < np.array([[5], [2], [1]]), "float": rng.normal(size=(4, 1, 5)).astype(np.float32)}
    options = {name: masks.get(value, value) for name, value in options.items()}
    arguments = {"scale": 0.3, "enable_gqa": True, **options}
    truth = nn.scaled_dot_product_attention(query, key, value, **arguments)
    found = nn.scaled_dot_product_attention(query, key, value, **arguments, implementation="xla")
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"implementation": "cudnn"}, "expected bfloat16 or float16 with implementation='cudnn', got float32"),
        ({"implementation": "flash"}, "implementation must be one of 'xla', 'cudnn', got 'flash'"),
        ({"query": np.ones((3, 8), np.float32)}, r"expected arrays of shape \(batch, heads, length, features\) with"),
        ({"dropout_p": 0.5}, "expected a number for scale and no dropout with implementation='xla'"),
        ({"attn_mask": np.ones((7, 5), bool)}, r"to broadcast to the shape \(..., queries, keys\) = \(2, 4, 3, 5\)"),
    ],
)
def test_what_kernels_of_jax_do_not_take(change, message):
    arrays = {"query": np.ones((2, 4, 3, 8), np.float32), "key": np.ones((2, 4, 5, 8), np.float32)}
    arguments = {**arrays, "value": arrays["key"], "implementation": "xla", **change}
    with pytest.raises(ValueError, match=message):
        nn.scaled_dot_product_attention(**arguments)
