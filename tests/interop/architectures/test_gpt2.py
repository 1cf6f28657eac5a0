"""GPT-2: norms first, packed projections stored as inputs by outputs, a head that is tied to the table of words."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from transformers import GPT2Config, GPT2LMHeadModel

from jaxtrain import nn

CONFIG = GPT2Config(
    vocab_size=40, n_positions=12, n_embd=32, n_layer=2, n_head=4, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0
)


class Attention(nnx.Module):
    def __init__(self, **given) -> None:
        width = CONFIG.n_embd
        self.c_attn = nn.Linear(width, 3 * width, **given)
        self.c_proj = nn.Linear(width, width, **given)

    def __call__(self, x: jax.Array) -> jax.Array:
        batch, length, _ = x.shape
        query, key, value = self.c_attn(x).reshape(batch, length, 3, CONFIG.n_head, -1).transpose(2, 0, 3, 1, 4)
        heads = nn.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.c_proj(heads.swapaxes(1, 2).reshape(x.shape))


class Mlp(nnx.Module):
    def __init__(self, **given) -> None:
        self.c_fc = nn.Linear(CONFIG.n_embd, 4 * CONFIG.n_embd, **given)
        self.c_proj = nn.Linear(4 * CONFIG.n_embd, CONFIG.n_embd, **given)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.c_proj(jax.nn.gelu(self.c_fc(x), approximate=True))


class Block(nnx.Module):
    def __init__(self, **given) -> None:
        self.ln_1 = nn.LayerNorm(CONFIG.n_embd, param_dtype=jnp.float64)
        self.attn = Attention(**given)
        self.ln_2 = nn.LayerNorm(CONFIG.n_embd, param_dtype=jnp.float64)
        self.mlp = Mlp(**given)

    def __call__(self, x: jax.Array) -> jax.Array:
        x += self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt2(nnx.Module):
    def __init__(self, **given) -> None:
        self.wte = nn.Embedding(CONFIG.vocab_size, CONFIG.n_embd, **given)
        self.wpe = nn.Embedding(CONFIG.n_positions, CONFIG.n_embd, **given)
        self.h = nnx.List([Block(**given) for _ in range(CONFIG.n_layer)])
        self.ln_f = nn.LayerNorm(CONFIG.n_embd, param_dtype=jnp.float64)

    def __call__(self, input_ids: jax.Array) -> jax.Array:
        x = self.wte(input_ids) + self.wpe(jnp.arange(input_ids.shape[1]))
        for block in self.h:
            x = block(x)
        return self.ln_f(x) @ self.wte.embedding[...].T


def test_gpt2(assert_same_run) -> None:
    words = np.random.default_rng(0).integers(CONFIG.vocab_size, size=(4, 12))
    assert_same_run(
        GPT2LMHeadModel(CONFIG),
        Gpt2(param_dtype=jnp.float64, rngs=nnx.Rngs(0)),
        {"input_ids": words},
        np.roll(words, -1, axis=1),
        names={"^": "transformer."},
        as_is=(r"c_\w+\.weight$",),
        tied={"lm_head.weight": "transformer.wte.weight"},
    )
