"""`dtype` is that of the computation and of the output, `param_dtype` that of every parameter, whatever is inside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxtrain import nn

X = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4)), jnp.float32)
SIZES = {"d_model": 4, "nhead": 2, "dim_feedforward": 4}
STACKS = SIZES | {"num_encoder_layers": 1, "num_decoder_layers": 1}
LAYERS = {
    "Bilinear": (lambda **given: nn.Bilinear(4, 4, 2, **given), (X, X)),
    "Conv": (lambda **given: nn.Conv(4, 2, 2, **given), (X,)),
    "ConvTranspose": (lambda **given: nn.ConvTranspose(4, 2, 2, **given), (X,)),
    "GRU": (lambda **given: nn.GRU(4, 2, **given), (X,)),
    "LSTMCell": (lambda **given: nn.LSTMCell(4, 2, **given), (X[0],)),
    "Linear": (lambda **given: nn.Linear(4, 2, **given), (X,)),
    "MultiheadAttention": (lambda **given: nn.MultiheadAttention(4, 2, add_bias_kv=True, **given), (X, X, X)),
    "Transformer": (lambda **given: nn.Transformer(**STACKS, **given), (X, X)),
    "TransformerDecoderLayer": (lambda **given: nn.TransformerDecoderLayer(**SIZES, **given), (X, X)),
}


def in_half(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float16), tree)


@pytest.mark.parametrize("name", LAYERS)
def test_every_parameter_has_the_dtype_for_parameters(name):
    make, _ = LAYERS[name]
    dtypes = {
        leaf.dtype for leaf in jax.tree.leaves(nnx.state(make(param_dtype=jnp.float16, rngs=nnx.Rngs(0)), nnx.Param))
    }
    assert dtypes == {jnp.dtype(jnp.float16)}


@pytest.mark.parametrize("name", [name for name in LAYERS if not name.startswith("Transformer")])
def test_the_dtype_of_the_computation_is_that_of_inputs_and_parameters_in_it(name):
    make, inputs = LAYERS[name]
    rounded, plain = make(dtype=jnp.float16, rngs=nnx.Rngs(0)), make(rngs=nnx.Rngs(0))
    nnx.update(plain, in_half(nnx.state(plain, nnx.Param)))
    pairs = zip(*(jax.tree.leaves(found) for found in (rounded(*inputs), plain(*in_half(inputs)))), strict=True)
    for found, expected in pairs:
        assert found.dtype == jnp.float16
        np.testing.assert_array_equal(found, expected)
