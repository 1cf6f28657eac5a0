"""Arguments for the losses, drawn for a batch of a given size."""

import jax
import jax.numpy as jnp
import numpy as np

Arrays = tuple[jax.Array, ...]
FEATURES = 1000


def pairs(batch: int) -> Arrays:
    """Predictions and targets, any numbers."""
    return _normal(0, batch, FEATURES), _normal(1, batch, FEATURES)


def probabilities(batch: int) -> Arrays:
    """Probabilities and targets in [0, 1]."""
    return _uniform(0, batch, FEATURES), _uniform(1, batch, FEATURES)


def scored(batch: int) -> Arrays:
    """Scores and targets in [0, 1]."""
    return _normal(0, batch, FEATURES), _uniform(1, batch, FEATURES)


def signs(batch: int) -> Arrays:
    """Scores, and targets of 1 and -1."""
    return _normal(0, batch, FEATURES), jnp.sign(_normal(1, batch, FEATURES))


def densities(batch: int) -> Arrays:
    """Means, variances and targets."""
    return _normal(0, batch, FEATURES), _uniform(1, batch, FEATURES), _normal(2, batch, FEATURES)


def classes(batch: int) -> Arrays:
    """Scores, and a class for each example."""
    return _normal(0, batch, FEATURES), _integers(1, FEATURES, batch)


def distributions(batch: int) -> Arrays:
    """Scores, and a distribution over the classes for each example."""
    return _normal(0, batch, FEATURES), jax.nn.softmax(_normal(1, batch, FEATURES))


def many_classes(batch: int) -> Arrays:
    """Features, the weights of 4,000 classes, and a class for each example."""
    return _normal(0, batch, 128), _normal(1, 4000, 128), _integers(2, 4000, batch)


def class_sets(batch: int) -> Arrays:
    """Scores of 100 classes, and five classes for each example, ended by -1."""
    generator = np.random.default_rng(1)
    targets = np.full((batch, 100), -1)
    targets[:, :5] = [generator.choice(100, 5, replace=False) for _ in range(batch)]
    return _normal(0, batch, 100), jnp.asarray(targets, jnp.int32)


def vectors(batch: int) -> Arrays:
    """Two vectors for each example, and targets of 1 and -1."""
    return *pairs(batch), jnp.sign(_normal(2, batch))


def triplets(batch: int) -> Arrays:
    """Anchors, positives and negatives."""
    return *pairs(batch), _normal(2, batch, FEATURES)


def frames(batch: int) -> Arrays:
    """Scores of 20 classes in 50 frames, ten targets, and the lengths of both."""
    return (
        _normal(0, batch, 50, 20),
        1 + _integers(1, 19, batch, 10),
        50 - _integers(2, 10, batch),
        10 - _integers(3, 5, batch),
    )


def _normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def _uniform(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).uniform(0.05, 0.95, size=shape), jnp.float32)


def _integers(seed: int, high: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).integers(high, size=shape), jnp.int32)
