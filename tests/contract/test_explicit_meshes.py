"""Losses, layers and functions over a mesh with explicit axes, the default of `jax.make_mesh`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
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


RNGS = nnx.Rngs(0)
IMAGES, SEQUENCES, ROWS = (np.ones(shape, np.float32) for shape in ((16, 6, 6, 4), (16, 5, 4), (16, 4)))
ENDS, PADDED = np.full(16, 3, np.int32), np.zeros((16, 5), bool)

LAYERS = {
    "Linear": (nn.Linear(4, 3, rngs=RNGS), ROWS),
    "Bilinear": (nn.Bilinear(4, 4, 3, rngs=RNGS), ROWS, ROWS),
    "Conv": (nn.Conv(4, 4, (3, 3), padding=1, padding_mode="circular", groups=2, rngs=RNGS), IMAGES),
    "Conv, no groups": (nn.Conv(4, 3, (3, 3), padding=1, rngs=RNGS), IMAGES),
    "Conv, one position": (nn.Conv(4, 3, (1, 1), rngs=RNGS), IMAGES),
    "ConvTranspose": (nn.ConvTranspose(4, 3, (3, 3), rngs=RNGS), IMAGES),
    "BatchNorm": (nn.BatchNorm(4), IMAGES),
    "InstanceNorm": (nn.InstanceNorm(4, affine=True, track_running_stats=True), IMAGES),
    "GroupNorm": (nn.GroupNorm(2, 4), IMAGES),
    "LayerNorm": (nn.LayerNorm(4), IMAGES),
    "RMSNorm": (nn.RMSNorm(4), IMAGES),
    "PReLU": (nn.PReLU(4), IMAGES),
    "Dropout": (nn.Dropout(0.5, rngs=RNGS), IMAGES),
    "FeatureDropout": (nn.FeatureDropout(0.5, rngs=RNGS), IMAGES),
    "AlphaDropout": (nn.AlphaDropout(0.5, rngs=RNGS), IMAGES),
    "FeatureAlphaDropout": (nn.FeatureAlphaDropout(0.5, rngs=RNGS), IMAGES),
    "RNN": (nn.RNN(4, 3, rngs=RNGS), SEQUENCES),
    "LSTM": (nn.LSTM(4, 3, 2, bidirectional=True, proj_size=2, rngs=RNGS), SEQUENCES),
    "GRU": (nn.GRU(4, 3, rngs=RNGS), SEQUENCES, None, ENDS),
    "RNNCell": (nn.RNNCell(4, 3, rngs=RNGS), ROWS),
    "LSTMCell": (nn.LSTMCell(4, 3, rngs=RNGS), ROWS),
    "GRUCell": (nn.GRUCell(4, 3, rngs=RNGS), ROWS),
    "MultiheadAttention": (
        nn.MultiheadAttention(4, 2, 0.5, add_bias_kv=True, add_zero_attn=True, rngs=RNGS),
        SEQUENCES,
        SEQUENCES,
        SEQUENCES,
        PADDED,
    ),
    "TransformerEncoderLayer": (nn.TransformerEncoderLayer(4, 2, 8, rngs=RNGS), SEQUENCES),
    "TransformerDecoderLayer": (nn.TransformerDecoderLayer(4, 2, 8, norm_first=True, rngs=RNGS), SEQUENCES, SEQUENCES),
    "scaled_dot_product_attention": (
        lambda x: nn.scaled_dot_product_attention(jnp.stack([x, x], 1), x[:, None], x[:, None], enable_gqa=True),
        SEQUENCES,
    ),
    "max_pool": (lambda x: nn.max_pool(x, 3, padding=1, return_indices=True), IMAGES),
    "avg_pool": (lambda x: nn.avg_pool(x, 3, padding=1), IMAGES),
    "lp_pool": (lambda x: nn.lp_pool(x, 2, 2), IMAGES),
    "adaptive_avg_pool": (lambda x: nn.adaptive_avg_pool(x, 4), IMAGES),
    "adaptive_max_pool": (lambda x: nn.adaptive_max_pool(x, 4, True), IMAGES),
    "interpolate": (lambda x: nn.interpolate(x, 9, mode="bicubic"), IMAGES),
    "local_response_norm": (lambda x: nn.local_response_norm(x, 3), IMAGES),
    "pixel_shuffle": (lambda x: nn.pixel_shuffle(x, 2), IMAGES),
    "pixel_unshuffle": (lambda x: nn.pixel_unshuffle(x, 2), IMAGES),
    "channel_shuffle": (lambda x: nn.channel_shuffle(x, 2), IMAGES),
    "flatten": (nn.flatten, IMAGES),
    "normalize": (nn.normalize, ROWS),
    "cosine_similarity": (nn.cosine_similarity, ROWS, ROWS),
    "pairwise_distance": (nn.pairwise_distance, ROWS, ROWS),
}


def summed(name, graph, rest, specs):
    """The sum of a layer's outputs as a function of its parameters and inputs; `specs` gets their shardings."""

    def total(params, x, *others):
        call = LAYERS[name][0] if graph is None else nnx.merge(graph, params, rest, copy=True)
        others, lengths = (others[:1], {"lengths": others[1]}) if name == "GRU" else (others, {})
        outputs = jax.tree.leaves(call(x, *others, **lengths))
        specs.append(jax.typeof(outputs[0]).sharding.spec)
        return sum(jnp.sum(output) for output in outputs if jnp.issubdtype(output.dtype, jnp.floating))

    return total


@pytest.mark.parametrize("name", LAYERS)
def test_a_sharded_batch_is_traced_and_stays_sharded(name):
    """What JAX refuses on explicit axes, or in `shard_map`, it refuses while tracing; nothing needs to be compiled."""
    function, *arrays = LAYERS[name]
    graph, params, rest = nnx.split(function, nnx.Param, ...) if isinstance(function, nnx.Module) else (None, {}, {})
    specs = []
    gradient = jax.grad(summed(name, graph, rest, specs), (0, 1))
    whole, data = PartitionSpec(), PartitionSpec("data")
    mesh = jax.make_mesh((8,), ("data",))
    placed = [
        jax.device_put(tree, NamedSharding(mesh, spec))
        for tree, spec in ((params, whole), *((a, data) for a in arrays))
    ]
    with jax.set_mesh(mesh):
        of_params, of_x = jax.eval_shape(gradient, *placed)
    assert specs[0][0] == "data"
    assert of_x.shape == arrays[0].shape
    assert jax.tree.map(jnp.shape, of_params) == jax.tree.map(jnp.shape, params)

    specs_in = (whole, *[data] * len(arrays))
    in_shards = jax.shard_map(gradient, mesh=mesh, in_specs=specs_in, out_specs=(whole, data))
    of_params, of_x = jax.eval_shape(in_shards, *placed)
    assert of_x.shape == arrays[0].shape
    assert jax.tree.map(jnp.shape, of_params) == jax.tree.map(jnp.shape, params)


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
