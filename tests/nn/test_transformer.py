"""Stacks of transformer layers: every argument reaches the layers, and does what its name says."""

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxtrain import nn

SOURCE, TARGET = np.random.default_rng(0).normal(size=(2, 2, 3, 4)).astype(np.float32)
OPTIONS = {"d_model": 4, "nhead": 2, "dim_feedforward": 4, "dropout": 0.5, "rngs": nnx.Rngs(0)}
ENCODER = nn.TransformerEncoder(nn.TransformerEncoderLayer(**OPTIONS), 2)
DECODER = nn.TransformerDecoder(nn.TransformerDecoderLayer(**OPTIONS), 2)
WHOLE = nn.Transformer(num_encoder_layers=1, num_decoder_layers=1, layer_norm_eps=0.5, norm_first=True, **OPTIONS)


def mask(row: int, column: int) -> jnp.ndarray:
    return jnp.zeros((3, 3), bool).at[row, column].set(True)


def padding(column: int) -> jnp.ndarray:
    return jnp.zeros((2, 3), bool).at[1, column].set(True)


OF_TARGET = {"tgt_mask": mask(2, 1), "tgt_key_padding_mask": padding(1), "tgt_is_causal": True}
OF_MEMORY = {"memory_mask": mask(1, 0), "memory_key_padding_mask": padding(2), "memory_is_causal": True}
OF_SOURCE = {"src_mask": mask(2, 0), "src_key_padding_mask": padding(2), "src_is_causal": True}


def assert_handed_on(call, by_hand, arguments):
    """Given all together the arguments do what they do by hand, and each of them something."""
    everything = call(**arguments, deterministic=True)
    np.testing.assert_allclose(everything, by_hand(**arguments, deterministic=True), rtol=1e-5, atol=1e-6)
    nothing = call(deterministic=True)
    for name, value in arguments.items():
        assert not np.allclose(call(**{name: value}, deterministic=True), nothing, atol=1e-4), name


def test_an_encoder_hands_every_argument_on():
    def call(src_mask=None, src_is_causal=False, **others):
        return ENCODER(SOURCE, mask=src_mask, is_causal=src_is_causal, **others)

    def by_hand(src_is_causal, **others):
        x = SOURCE
        for layer in ENCODER.layers:
            x = layer(x, is_causal=src_is_causal, **others)
        return x

    assert_handed_on(call, by_hand, OF_SOURCE)


def test_a_decoder_hands_every_argument_on():
    def by_hand(**arguments):
        x = TARGET
        for layer in DECODER.layers:
            x = layer(x, SOURCE, **arguments)
        return x

    assert_handed_on(lambda **arguments: DECODER(TARGET, SOURCE, **arguments), by_hand, OF_TARGET | OF_MEMORY)


def test_a_transformer_hands_every_argument_on():
    def by_hand(src_mask, src_key_padding_mask, src_is_causal, deterministic, **others):
        memory = WHOLE.encoder(SOURCE, src_mask, src_key_padding_mask, src_is_causal, deterministic=deterministic)
        return WHOLE.decoder(TARGET, memory, **others, deterministic=deterministic)

    arguments = OF_SOURCE | OF_TARGET | OF_MEMORY
    assert_handed_on(lambda **arguments: WHOLE(SOURCE, TARGET, **arguments), by_hand, arguments)


def test_every_norm_has_the_epsilon():
    norms = [node for _, node in nnx.iter_graph(WHOLE) if isinstance(node, nn.LayerNorm)]
    assert [norm.eps for norm in norms] == [0.5] * 7
