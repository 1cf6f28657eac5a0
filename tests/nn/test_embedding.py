"""`nn.Embedding`: the table, gradients, indices out of range, transformations, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from jaxtrain import nn

TABLE = np.arange(12.0, dtype=np.float32).reshape(4, 3)


def gradient(indices, **options):
    """How much each element of the table counts in the sum of what is returned."""
    return jax.jit(jax.grad(lambda table: jnp.nansum(nn.embedding(indices, table, **options))))(TABLE)


@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_the_table_is_normal_but_for_the_row_of_the_padding(padding_idx):
    table = np.asarray(nn.Embedding(300, 40, padding_idx, rngs=nnx.Rngs(0)).embedding[...])
    if padding_idx is not None:
        assert not table[padding_idx].any()
        table = np.delete(table, padding_idx, axis=0)
    assert stats.kstest(table.ravel(), stats.norm.cdf).pvalue > 0.01


def test_shapes_and_dtypes():
    layer = nn.Embedding(4, 3, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    for index in (np.int32(0), np.zeros((2, 5), np.uint8), np.zeros((0,), np.int32)):
        returned = jax.eval_shape(layer, index)
        assert (returned.shape, returned.dtype) == ((*index.shape, 3), jnp.bfloat16)


@pytest.mark.parametrize("max_norm", [None, 5.0])
def test_indices_out_of_range_are_nan_and_move_nothing(max_norm):
    """A negative index does not count from the end, and none is clamped to a neighbour."""
    indices = jnp.array([-1, 0, 3, 4, 2**31 - 1])
    rows = jax.jit(lambda table: nn.embedding(indices, table, max_norm=max_norm))(TABLE)
    assert np.isnan(rows).all(-1).tolist() == [True, False, False, True, True]
    assert (gradient(indices, max_norm=max_norm) != 0).any(-1).tolist() == [True, False, False, True]
    assert np.isfinite(gradient(indices, max_norm=max_norm)).all()


@pytest.mark.parametrize(("options", "weights"), [({}, [1, 3, 0, 1]), ({"padding_idx": 1}, [1, 0, 0, 1])])
def test_gradient_counts_the_look_ups_but_those_of_the_padding(options, weights):
    np.testing.assert_array_equal(gradient(jnp.array([1, 0, 1, 3, 1]), **options), np.outer(weights, np.ones(3)))


def test_the_last_row_as_padding_counted_from_the_end():
    np.testing.assert_array_equal(gradient(jnp.array([3, 0]), padding_idx=-1)[:, 0], [1, 0, 0, 0])


def test_gradients_shared_by_frequency():
    indices = jnp.array([1, 0, 1, 3, 1])
    shared = gradient(indices, scale_grad_by_freq=True)
    np.testing.assert_allclose(shared, np.outer([1, 1, 0, 1], np.ones(3)), rtol=1e-6)
    both = gradient(indices, scale_grad_by_freq=True, padding_idx=3)
    np.testing.assert_allclose(both, np.outer([1, 1, 0, 0], np.ones(3)), rtol=1e-6)


@pytest.mark.parametrize(("norm_type", "length"), [(1.0, 12.0), (2.0, 50**0.5), (float("inf"), 5.0)])
def test_rows_above_the_norm_are_shrunk_and_the_others_are_not(norm_type, length):
    function = jax.jit(lambda table: nn.embedding(jnp.array([0, 1]), table, max_norm=3.5, norm_type=norm_type))
    expected = TABLE[:2] * [[1.0], [3.5 / length]]
    np.testing.assert_allclose(function(TABLE), expected, rtol=1e-6)


def test_vmap_over_tables_and_over_indices():
    tables, indices = jnp.stack([TABLE, -TABLE]), jnp.array([[1, 3], [3, 0]])
    np.testing.assert_array_equal(jax.vmap(nn.embedding, (None, 0))(indices[0], tables), tables[:, indices[0]])
    np.testing.assert_array_equal(jax.vmap(nn.embedding)(indices, tables), [TABLE[[1, 3]], -TABLE[[3, 0]]])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 3), ValueError, "num_embeddings must be at least 1, got 0"),
        ((4, 3.0), TypeError, "embedding_dim must be an integer, got 3.0"),
        ((4, 3, 4), ValueError, "padding_idx must be from -4 to 3, got 4"),
        ((4, 3, -5), ValueError, "padding_idx must be from -4 to 3, got -5"),
        ((4, 3, None, -1.0), ValueError, r"max_norm must lie in \[0, inf\], got -1.0"),
        ((4, 3, None, 1.0, 0.0), ValueError, r"norm_type must lie in \(0, inf\], got 0.0"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=f"Embedding: {message}"):
        nn.Embedding(*arguments, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("dtype", [np.float32, bool])
def test_indices_that_are_no_integers_are_refused(dtype):
    with pytest.raises(TypeError, match=f"embedding: input must hold integers, got {np.dtype(dtype)}"):
        nn.embedding(np.zeros(2, dtype), TABLE)


def test_a_table_without_rows_is_refused():
    with pytest.raises(ValueError, match=r"embedding: weight must have the shape \(num_embeddings, .*, got \(3,\)"):
        nn.embedding(np.zeros(2, np.int32), TABLE[0])


def test_errors_name_the_function_and_the_layer_that_were_called():
    with pytest.raises(ValueError, match=r"^embedding_bag: max_norm must lie in \[0, inf\], got"):
        nn.embedding_bag(np.zeros((1, 2), np.int32), TABLE, max_norm=-1.0)
    with pytest.raises(ValueError, match=r"^EmbeddingBag: padding_idx must be from -3 to 2"):
        nn.EmbeddingBag(3, 2, padding_idx=3, rngs=nnx.Rngs(0))


def test_a_row_that_is_exactly_as_long_as_allowed_stays():
    rows = jnp.array([[1.0, 0.0], [0.0, 0.5]])
    np.testing.assert_array_equal(nn.embedding(jnp.arange(2), rows, max_norm=1.0), rows)
