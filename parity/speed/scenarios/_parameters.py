"""Parameters and gradients for optimizers: many arrays, as a flat dict."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrain.optim import SparseRows

Arrays = dict[str, jax.Array]


def mixed(count: int) -> tuple[Arrays, Arrays]:
    """Matrices and vectors in turns, as kernels and biases."""
    return _drawn([(64, 64) if index % 2 == 0 else (64,) for index in range(count)])


def matrices(count: int) -> tuple[Arrays, Arrays]:
    """Matrices alone."""
    return _drawn([(64, 64)] * count)


def tables(count: int) -> tuple[Arrays, dict[str, SparseRows]]:
    """Tables, with gradients for 32 of their 256 rows."""
    generator = np.random.default_rng(0)
    params, _ = _drawn([(256, 16)] * count)
    rows = {
        name: SparseRows(
            jnp.asarray(generator.choice(256, 32, replace=False), jnp.int32),
            jnp.asarray(generator.normal(size=(32, 16)), jnp.float32),
        )
        for name in params
    }
    return params, rows


def _drawn(shapes: list[tuple[int, ...]]) -> tuple[Arrays, Arrays]:
    """Parameters and gradients."""
    generator = np.random.default_rng(0)
    names = [f"layer{index // 2:03d}/{'kernel' if index % 2 == 0 else 'bias'}" for index in range(len(shapes))]

    def arrays() -> Arrays:
        return {
            name: jnp.asarray(generator.normal(size=shape), jnp.float32)
            for name, shape in zip(names, shapes, strict=True)
        }

    return arrays(), arrays()
