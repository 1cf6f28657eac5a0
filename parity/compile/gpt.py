"""A GPT whose layers are one loop: a large program that compiles quickly."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import PartitionSpec

from jaxtrain import losses, optim
from jaxtrain.train import TrainState
from parity.compile.step import Step


@dataclass(frozen=True)
class Size:
    """The size of a GPT.

    Attributes:
        layers: its blocks.
        width: numbers for each token between the blocks.
        heads: heads of attention.
        vocabulary: tokens that it knows.
        length: tokens in a sequence.
    """

    layers: int
    width: int
    heads: int
    vocabulary: int = 50304
    length: int = 1024


SIZES = {"tiny": Size(2, 128, 8, 512, 128), "1.3b": Size(24, 2048, 16), "7b": Size(32, 4096, 32)}

TENSOR_RULES = {
    "attend_in": PartitionSpec(None, None, None, "model"),
    "attend_out": PartitionSpec(None, "model"),
    "widen": PartitionSpec(None, None, "model"),
    "narrow": PartitionSpec(None, "model"),
    "embedding": PartitionSpec("model"),
}
"""Heads, hidden features and tokens are split over the axis "model"; each block then needs two sums over it."""


class GPT(nnx.Module):
    """A decoder with pre-normalized blocks; parameters of all blocks are stacked, and arithmetic is in bfloat16."""

    def __init__(self, size: Size, rngs: nnx.Rngs) -> None:
        layers, width, heads = size.layers, size.width, size.heads

        def param(*shape: int) -> nnx.Param:
            return nnx.Param(0.02 * jax.random.normal(rngs.params(), shape))

        self.embedding = param(size.vocabulary, width)
        self.positions = param(size.length, width)
        self.scales = nnx.Param(jnp.ones((layers, 2, width)))
        self.attend_in = param(layers, width, 3, heads, width // heads)
        self.attend_out = param(layers, heads, width // heads, width)
        self.widen = param(layers, width, 4 * width)
        self.narrow = param(layers, 4 * width, width)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        """Logits, (sequences, length, vocabulary)."""
        embedding = self.embedding[...].astype(jnp.bfloat16)
        x = embedding[tokens] + self.positions[...].astype(jnp.bfloat16)
        blocks = [self.scales, self.attend_in, self.attend_out, self.widen, self.narrow]
        stacked = [block[...].astype(jnp.bfloat16) for block in blocks]
        x, _ = jax.lax.scan(jax.checkpoint(lambda x, block: (_by_rows(_block(x, *block)), None)), _by_rows(x), stacked)
        return _normalized(x) @ embedding.T


def _by_rows(x: jax.Array) -> jax.Array:
    """Activations stay split by rows: otherwise XLA may exchange them where it should gather the smaller parameters."""
    return jax.lax.with_sharding_constraint(x, PartitionSpec("data"))


def _block(
    x: jax.Array, scales: jax.Array, attend_in: jax.Array, attend_out: jax.Array, widen: jax.Array, narrow: jax.Array
) -> jax.Array:
    query, key, value = jnp.moveaxis(jnp.einsum("blw,wkhd->blkhd", _normalized(x) * scales[0], attend_in), 2, 0)
    x += jnp.einsum("blhd,hdw->blw", jax.nn.dot_product_attention(query, key, value, is_causal=True), attend_out)
    return x + jax.nn.gelu((_normalized(x) * scales[1]) @ widen) @ narrow


def _normalized(x: jax.Array) -> jax.Array:
    wide = x.astype(jnp.float32)
    return (wide * jax.lax.rsqrt(jnp.mean(wide**2, -1, keepdims=True) + 1e-6)).astype(x.dtype)


def new(size: Size) -> TrainState:
    """The state before the first step, with AdamW."""
    return TrainState.create(GPT(size, nnx.Rngs(0)), optim.adamw(3e-4))


def loss_fn(model: nnx.Module, tokens: jax.Array) -> jax.Array:
    """Predict each next token; `tokens` has one more than a sequence."""
    return losses.cross_entropy(model(tokens[:, :-1]).astype(jnp.float32), tokens[:, 1:])


def step(size: str, sequences: int) -> Step:
    """The train step of a GPT of one of the `SIZES`, with this many sequences for each device."""
    length = SIZES[size].length + 1

    def batch(rows: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((rows, length), jnp.int32)

    return Step(f"GPT {size}", lambda: new(SIZES[size]), loss_fn, batch, sequences, TENSOR_RULES)
