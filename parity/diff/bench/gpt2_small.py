"""The shape of GPT-2 small, which shows what a diff of a large model needs: 12 layers, width 768, 50257 words.

`python -m parity diff parity.diff.bench.gpt2_small:right` compares a right port, `:wrong` one with a wrong ε.
"""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch.nn import functional as F

from jaxtrain import interop, losses, nn
from parity.diff.comparison import compare
from parity.diff.report import Report

LAYERS, WIDTH, HEADS, WORDS, POSITIONS, LENGTH = 12, 768, 12, 50257, 1024, 64


class TorchGPT(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = torch.nn.Embedding(WORDS, WIDTH), torch.nn.Embedding(POSITIONS, WIDTH)
        self.h = torch.nn.ModuleList(
            torch.nn.TransformerEncoderLayer(
                WIDTH, HEADS, 4 * WIDTH, dropout=0.0, activation=_gelu, batch_first=True, norm_first=True
            )
            for _ in range(LAYERS)
        )
        self.ln_f = torch.nn.LayerNorm(WIDTH)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        later = torch.ones(2 * ids.shape[1:], dtype=torch.bool).triu(1)
        for block in self.h:
            x = block(x, src_mask=later)
        return self.ln_f(x) @ self.wte.weight.T


def _gelu(x: torch.Tensor) -> torch.Tensor:
    return F.gelu(x, approximate="tanh")


class Block(nnx.Module):
    def __init__(self, epsilon: float, rngs: nnx.Rngs):
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nnx.LayerNorm(WIDTH, epsilon=epsilon, rngs=rngs)
        self.self_attn = nnx.MultiHeadAttention(HEADS, WIDTH, decode=False, rngs=rngs)
        self.linear1, self.linear2 = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs), nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x):
        x = x + self.self_attn(self.norm1(x), mask=nnx.make_causal_mask(x[..., 0]))
        return x + self.linear2(jax.nn.gelu(self.linear1(self.norm2(x))))


class GPT(nnx.Module):
    def __init__(self, wrong: bool, rngs: nnx.Rngs):
        self.wte, self.wpe = nnx.Embed(WORDS, WIDTH, rngs=rngs), nnx.Embed(POSITIONS, WIDTH, rngs=rngs)
        given = (1e-6 if wrong and at == LAYERS // 2 else 1e-5 for at in range(LAYERS))
        self.h = nnx.List([Block(epsilon, rngs) for epsilon in given])
        self.ln_f = nn.LayerNorm(WIDTH)

    def __call__(self, ids):
        x = self.wte(ids) + self.wpe(jnp.arange(ids.shape[1]))
        for block in self.h:
            x = block(x)
        return self.ln_f(x) @ self.wte.embedding[...].T


def right() -> Report:
    """The diff of the right port."""
    return _compared(wrong=False)


def wrong() -> Report:
    """The diff of a port in which one norm has Flax's ε."""
    return _compared(wrong=True)


def _compared(*, wrong: bool) -> Report:
    torch.manual_seed(0)
    theirs = TorchGPT()
    ours = interop.load_state_dict(GPT(wrong, nnx.Rngs(0)), theirs.state_dict())
    words = np.random.default_rng(0).integers(WORDS, size=(1, LENGTH + 1))
    return compare(
        theirs,
        ours,
        (words[:, :-1], words[:, 1:]),
        loss=(
            lambda module, x, y: F.cross_entropy(module(x).flatten(0, 1), y.flatten()),
            lambda module, x, y: losses.cross_entropy(module(x).reshape(-1, WORDS), y.reshape(-1)),
        ),
    )
