"""Losses as one would write them in plain JAX, where an expression does not fit in a line."""

import jax
import jax.numpy as jnp
import optax


def linear_cross_entropy(x: jax.Array, w: jax.Array, y: jax.Array) -> jax.Array:
    """In chunks: the expression for all rows at once needs memory for all logits, which is what ours avoids."""

    def of_chunk(chunk: tuple[jax.Array, jax.Array]) -> jax.Array:
        rows, labels = chunk
        return optax.softmax_cross_entropy_with_integer_labels(rows @ w.T, labels)

    size = min(64, len(x))
    return jnp.mean(jax.lax.map(jax.checkpoint(of_chunk), (x.reshape(-1, size, x.shape[1]), y.reshape(-1, size))))


def cosine_embedding(x1: jax.Array, x2: jax.Array, y: jax.Array) -> jax.Array:
    cosine = optax.cosine_similarity(x1, x2)
    return jnp.mean(jnp.where(y == 1, 1 - cosine, jnp.maximum(0, cosine)))


def triplet_margin(anchor: jax.Array, positive: jax.Array, negative: jax.Array) -> jax.Array:
    def distance(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.linalg.norm(a - b + 1e-6, axis=-1)

    return jnp.mean(jnp.maximum(0, distance(anchor, positive) - distance(anchor, negative) + 1))


def multi_margin(x: jax.Array, y: jax.Array) -> jax.Array:
    own = jnp.take_along_axis(x, y[:, None], axis=1)
    return jnp.mean((jnp.sum(jnp.maximum(0, 1 - own + x), axis=1) - 1) / x.shape[1])


def multilabel_margin(x: jax.Array, targets: jax.Array) -> jax.Array:
    listed = targets >= 0
    is_target = jnp.any((targets[:, :, None] == jnp.arange(x.shape[1])) & listed[:, :, None], axis=1)
    own = jnp.take_along_axis(x, jnp.where(listed, targets, 0), axis=1)
    pairs = jnp.maximum(0, 1 - own[:, :, None] + x[:, None, :])
    return jnp.mean(jnp.sum(pairs * (listed[:, :, None] & ~is_target[:, None, :]), axis=(1, 2)) / x.shape[1])


def ctc(logits: jax.Array, targets: jax.Array, input_lengths: jax.Array, target_lengths: jax.Array) -> jax.Array:
    padded_frames = (jnp.arange(logits.shape[1]) >= input_lengths[:, None]).astype(logits.dtype)
    padded_targets = (jnp.arange(targets.shape[1]) >= target_lengths[:, None]).astype(logits.dtype)
    return jnp.mean(optax.ctc_loss(logits, padded_frames, targets, padded_targets) / target_lengths)
