"""A Llama: grouped queries, rotated positions, gated linear units, root-mean-square norms, an untied head."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm, LlamaRotaryEmbedding

from jaxtrain import nn

SHARED_HEADS = 2
CONFIG = LlamaConfig(
    vocab_size=40,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=SHARED_HEADS,
    max_position_embeddings=12,
)
WIDTH = CONFIG.hidden_size
HEAD = WIDTH // CONFIG.num_attention_heads
FREQUENCIES = 10_000.0 ** -(np.arange(0, HEAD, 2) / HEAD)
NAMES = {"^(?!lm_head)": "model.", r"([qkvo])_proj": r"self_attn.\1_proj", "(gate|up|down)_proj": r"mlp.\g<0>"}


def rotated(x: jax.Array) -> jax.Array:
    """Pairs of features (first half, second half) turned by angles that grow with the position."""
    angles = np.concatenate([np.arange(x.shape[-2])[:, None] * FREQUENCIES] * 2, axis=-1)
    first, second = jnp.split(x, 2, axis=-1)
    return x * np.cos(angles) + jnp.concatenate([-second, first], axis=-1) * np.sin(angles)


class Block(nnx.Module):
    def __init__(self, **given: Any) -> None:
        shared = SHARED_HEADS * HEAD
        given["bias"] = False
        self.input_layernorm = nn.RMSNorm(WIDTH, CONFIG.rms_norm_eps, param_dtype=jnp.float64)
        self.q_proj, self.o_proj = (nn.Linear(WIDTH, WIDTH, **given) for _ in range(2))
        self.k_proj, self.v_proj = (nn.Linear(WIDTH, shared, **given) for _ in range(2))
        self.post_attention_layernorm = nn.RMSNorm(WIDTH, CONFIG.rms_norm_eps, param_dtype=jnp.float64)
        self.gate_proj, self.up_proj = (nn.Linear(WIDTH, CONFIG.intermediate_size, **given) for _ in range(2))
        self.down_proj = nn.Linear(CONFIG.intermediate_size, WIDTH, **given)

    def __call__(self, x: jax.Array) -> jax.Array:
        batch, length, _ = x.shape
        normed = self.input_layernorm(x)
        query, key, value = (
            layer(normed).reshape(batch, length, -1, HEAD).swapaxes(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        heads = nn.scaled_dot_product_attention(rotated(query), rotated(key), value, is_causal=True, enable_gqa=True)
        x += self.o_proj(heads.swapaxes(1, 2).reshape(x.shape))
        normed = self.post_attention_layernorm(x)
        return x + self.down_proj(jax.nn.silu(self.gate_proj(normed)) * self.up_proj(normed))


class Llama(nnx.Module):
    def __init__(self, **given: Any) -> None:
        self.embed_tokens = nn.Embedding(CONFIG.vocab_size, WIDTH, **given)
        self.layers = nnx.List([Block(**given) for _ in range(CONFIG.num_hidden_layers)])
        self.norm = nn.RMSNorm(WIDTH, CONFIG.rms_norm_eps, param_dtype=jnp.float64)
        self.lm_head = nn.Linear(WIDTH, CONFIG.vocab_size, bias=False, **given)

    def __call__(self, input_ids: jax.Array) -> jax.Array:
        x = self.embed_tokens(input_ids)
        for layer in self.layers:
            x = layer(x)
        return self.lm_head(self.norm(x))


def norm(self: LlamaRMSNorm, x: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.rms_norm(x, x.shape[-1:], self.weight, self.variance_epsilon)


def angles(self: LlamaRotaryEmbedding, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, ...]:
    turned = position_ids[..., None] * torch.from_numpy(np.concatenate([FREQUENCIES] * 2))
    return turned.cos(), turned.sin()


@pytest.mark.long
def test_llama(assert_same_run, monkeypatch: pytest.MonkeyPatch) -> None:
    # transformers rounds both to float32, whatever the dtype of the model.
    monkeypatch.setattr(LlamaRMSNorm, "forward", norm)
    monkeypatch.setattr(LlamaRotaryEmbedding, "forward", angles)
    words = np.random.default_rng(0).integers(CONFIG.vocab_size, size=(4, 12))
    ours = Llama(param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    assert_same_run(LlamaForCausalLM(CONFIG), ours, {"input_ids": words}, np.roll(words, -1, axis=1), names=NAMES)
