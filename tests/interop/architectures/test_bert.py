"""BERT: norms last, two kinds of words, padded sentences, and the first word's features for a class."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from transformers import BertConfig, BertForSequenceClassification

from jaxtrain import nn

LABELS = {"num_labels": 3}
CONFIG = BertConfig(
    vocab_size=40,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=12,
    **LABELS,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
WIDTH = CONFIG.hidden_size
NAMES = {
    r"^(?!classifier)": "bert.",
    r"embeddings\.(\w+)\.weight": r"embeddings.\1_embeddings.weight",
    r"norm_embeddings\.": "norm.",
    r"blocks\.": "encoder.layer.",
    r"(query|key|value)\.": r"attention.self.\1.",
    r"\.out\.": ".attention.output.dense.",
    r"\.out_norm\.": ".attention.output.LayerNorm.",
    r"\.up\.": ".intermediate.dense.",
    r"\.down\.": ".output.dense.",
    r"\.down_norm\.": ".output.LayerNorm.",
    r"embeddings\.norm\.": "embeddings.LayerNorm.",
    r"pooler\.": "pooler.dense.",
}


def norm() -> nn.LayerNorm:
    return nn.LayerNorm(WIDTH, CONFIG.layer_norm_eps, param_dtype=jnp.float64)


class Embeddings(nnx.Module):
    def __init__(self, **given: Any) -> None:
        self.word = nn.Embedding(CONFIG.vocab_size, WIDTH, padding_idx=0, **given)
        self.position = nn.Embedding(CONFIG.max_position_embeddings, WIDTH, **given)
        self.token_type = nn.Embedding(CONFIG.type_vocab_size, WIDTH, **given)
        self.norm = norm()

    def __call__(self, words: jax.Array, types: jax.Array) -> jax.Array:
        return self.norm(self.word(words) + self.position(jnp.arange(words.shape[1])) + self.token_type(types))


class Block(nnx.Module):
    def __init__(self, **given: Any) -> None:
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH, **given) for _ in range(4))
        self.out_norm = norm()
        self.up = nn.Linear(WIDTH, CONFIG.intermediate_size, **given)
        self.down = nn.Linear(CONFIG.intermediate_size, WIDTH, **given)
        self.down_norm = norm()

    def __call__(self, x: jax.Array, mask: jax.Array) -> jax.Array:
        batch, length, _ = x.shape
        query, key, value = (
            layer(x).reshape(batch, length, CONFIG.num_attention_heads, -1).swapaxes(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        heads = nn.scaled_dot_product_attention(query, key, value, mask)
        x = self.out_norm(x + self.out(heads.swapaxes(1, 2).reshape(x.shape)))
        return self.down_norm(x + self.down(jax.nn.gelu(self.up(x), approximate=False)))


class Bert(nnx.Module):
    def __init__(self, **given: Any) -> None:
        self.embeddings = Embeddings(**given)
        self.blocks = nnx.List([Block(**given) for _ in range(CONFIG.num_hidden_layers)])
        self.pooler = nn.Linear(WIDTH, WIDTH, **given)
        self.classifier = nn.Linear(WIDTH, CONFIG.num_labels, **given)

    def __call__(self, input_ids: jax.Array, token_type_ids: jax.Array, attention_mask: jax.Array) -> jax.Array:
        x = self.embeddings(input_ids, token_type_ids)
        for block in self.blocks:
            x = block(x, attention_mask[:, None, None, :] == 1)
        return self.classifier(jnp.tanh(self.pooler(x[:, 0])))


@pytest.mark.long
def test_bert(assert_same_run) -> None:
    random = np.random.default_rng(0)
    is_word = np.arange(12) < np.array([12, 7, 3, 1])[:, None]
    given = {
        "input_ids": np.where(is_word, random.integers(1, CONFIG.vocab_size, size=(4, 12)), 0),
        "token_type_ids": random.integers(2, size=(4, 12)),
        "attention_mask": is_word.astype(np.int64),
    }
    ours = Bert(param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    assert_same_run(BertForSequenceClassification(CONFIG), ours, given, np.array([0, 1, 2, 1]), names=NAMES)
