"""Losses and look-ups over a mesh with explicit axes, the default of `jax.make_mesh`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jaxtrain import losses, nn

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(size=(16, 4)).astype(np.float32)
CLASSES = GENERATOR.integers(0, 4, 16)
LISTS = np.where(np.arange(4) < GENERATOR.integers(1, 4, (16, 1)), np.argsort(LOGITS, 1), -1)
WEIGHT = np.arange(1, 5, dtype=np.float32)
FRAMES = GENERATOR.normal(size=(12, 16, 5)).astype(np.float32)
TARGETS = GENERATOR.integers(1, 5, (16, 4))
LENGTHS = np.full(16, 12), np.full(16, 4)

EXAMPLES = {
    "cross_entropy": (
        lambda x, y: losses.cross_entropy(x, y, jnp.asarray(WEIGHT), label_smoothing=0.1),
        (LOGITS, CLASSES),
    ),
    "nll_loss": (lambda x, y: losses.nll_loss(x, y, jnp.asarray(WEIGHT)), (LOGITS, CLASSES)),
    "linear_cross_entropy": (
        lambda x, y: losses.linear_cross_entropy(
            x, jnp.asarray(LOGITS[:4]), y, weight=jnp.asarray(WEIGHT), chunk_size=8
        ),
        (LOGITS, CLASSES),
    ),
    "multi_margin_loss": (
        lambda x, y: losses.multi_margin_loss(x, y, weight=jnp.asarray(WEIGHT)),
        (LOGITS, CLASSES),
    ),
    "multilabel_margin_loss": (losses.multilabel_margin_loss, (LOGITS, LISTS)),
    "embedding": (lambda _, y: nn.embedding(y, jnp.asarray(LOGITS[:4])), (LOGITS, CLASSES)),
    "embedding, scale_grad_by_freq": (
        lambda x, y: nn.embedding(y, jnp.asarray(LOGITS[:4]) * jnp.sum(x**2), scale_grad_by_freq=True),
        (LOGITS, CLASSES),
    ),
    "ctc_loss": (
        lambda x, *rest: losses.ctc_loss(jnp.moveaxis(jax.nn.log_softmax(x), 1, 0), *rest),
        (np.moveaxis(FRAMES, 1, 0), TARGETS, *LENGTHS),
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_sharded_batch_gives_the_same_numbers(name):
    function, arrays = EXAMPLES[name]

    def value_and_gradient(*arrays):
        total = jax.value_and_grad(lambda *arrays: jnp.sum(function(*arrays)))
        return jax.jit(total)(*arrays)

    expected = value_and_gradient(*arrays)
    mesh = jax.make_mesh((8,), ("data",))
    with jax.set_mesh(mesh):
        found = value_and_gradient(*jax.device_put(arrays, NamedSharding(mesh, PartitionSpec("data"))))
    for ours, alone in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, alone, rtol=1e-5, atol=1e-7)


def test_ctc_loss_runs_inside_shard_map():
    mesh = jax.make_mesh((8,), ("data",))
    arrays = (np.asarray(jax.nn.log_softmax(FRAMES)), TARGETS, *LENGTHS)
    data = PartitionSpec("data")
    specs = PartitionSpec(None, "data"), data, data, data
    sharded = jax.shard_map(
        lambda *arrays: jax.lax.pmean(losses.ctc_loss(*arrays), "data"),
        mesh=mesh,
        in_specs=specs,
        out_specs=PartitionSpec(),
    )
    placed = [jax.device_put(array, NamedSharding(mesh, spec)) for array, spec in zip(arrays, specs, strict=True)]
    np.testing.assert_allclose(jax.jit(sharded)(*placed), losses.ctc_loss(*arrays), rtol=1e-6)
