"""Cross-entropy of a linear layer: chunks change nothing but the memory."""

import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain import losses

GENERATOR = np.random.default_rng(0)
INPUT, KERNEL = (jnp.asarray(GENERATOR.normal(size=shape).astype(np.float32)) for shape in ((7, 3), (5, 3)))
LABELS = jnp.array([0, 4, -100, 2, 2, 1, 3])


def plain(input, kernel, target):
    return losses.cross_entropy(input @ kernel.T, target)


@pytest.mark.parametrize("chunk_size", [1, 3, 7, 100, None])
def test_chunks_of_any_size_give_the_plain_loss_and_gradients(chunk_size):
    expected = jax.value_and_grad(plain, (0, 1))(INPUT, KERNEL, LABELS)
    found = jax.jit(jax.value_and_grad(losses.linear_cross_entropy, (0, 1)), static_argnames="chunk_size")(
        INPUT, KERNEL, LABELS, chunk_size=chunk_size
    )
    jax.tree.map(lambda one, other: np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-7), found, expected)


def test_memory_is_that_of_one_chunk_in_both_directions():
    rows, features, classes = 1024, 16, 8192
    arguments = (
        jax.ShapeDtypeStruct((rows, features), jnp.float32),
        jax.ShapeDtypeStruct((classes, features), jnp.float32),
        jax.ShapeDtypeStruct((rows,), jnp.int32),
    )

    def peak(loss):
        compiled = jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*arguments).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    all_logits = 4 * rows * classes
    assert peak(plain) >= all_logits
    assert peak(losses.linear_cross_entropy) < all_logits / 4


@pytest.mark.parametrize("chunk_size", [2, 3, 4, 6])
def test_no_chunk_has_more_rows_than_asked(chunk_size):
    loss = partial(losses.linear_cross_entropy, chunk_size=chunk_size)
    rows = re.findall(r"f32\[(\d+),5\]", str(jax.make_jaxpr(loss)(INPUT, KERNEL, LABELS)))
    assert 0 < max(map(int, rows)) <= chunk_size


def test_class_out_of_range_gives_nan():
    each = losses.linear_cross_entropy(INPUT, KERNEL, LABELS.at[1].set(5), reduction="none", chunk_size=2)
    assert np.isnan(each).tolist() == [False, True, False, False, False, False, False]


def test_bad_input_is_refused():
    for arguments, message in [
        ((INPUT[None], KERNEL, LABELS), r"input must have shape \(batch, in_features\)"),
        ((INPUT, KERNEL[:, :2], LABELS), r"linear_weight must have shape \(classes, ..., 3\), got \(5, 2\)"),
        ((INPUT, KERNEL, LABELS[:3]), r"target must have shape \(7,\) for integer classes or \(7, 5\)"),
        ((INPUT[0], KERNEL[:, None], LABELS[:1]), "a K-dimensional loss needs input of shape"),
    ]:
        with pytest.raises(ValueError, match=message):
            losses.linear_cross_entropy(*arguments)
    with pytest.raises(ValueError, match=r"linear_bias must have shape \(5,\), got \(3,\)"):
        losses.linear_cross_entropy(INPUT, KERNEL, LABELS, linear_bias=jnp.ones(3))
    with pytest.raises(ValueError, match="ignore_index is for integer classes"):
        losses.linear_cross_entropy(INPUT, KERNEL, jnp.ones((7, 5)), ignore_index=-100)
    with pytest.raises(ValueError, match="chunk_size must be at least 1, got 0"):
        losses.linear_cross_entropy(INPUT, KERNEL, LABELS, chunk_size=0)
