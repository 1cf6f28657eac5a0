"""Functions take lists and NumPy arrays. Where an argument is no array, the error names it."""

import inspect
import re
from functools import cache

import jax
import numpy as np
import pytest

from jaxtrain import losses, nn

GENERATOR = np.random.default_rng(3)


def floats(*shape):
    return GENERATOR.uniform(0.1, 0.9, shape).astype(np.float32)


def integers(*shape):
    return np.ones(shape, np.int32)


IMAGE, ROWS, VECTOR, TABLE = floats(2, 4, 4, 8), floats(2, 4), floats(8), floats(5, 3)
STATISTICS = {"running_mean": VECTOR, "running_var": VECTOR, "weight": VECTOR, "bias": VECTOR}
PAIR = {"input": ROWS, "target": ROWS}

ARRAYS = {
    nn.adaptive_avg_pool: {"input": IMAGE},
    nn.adaptive_max_pool: {"input": IMAGE},
    nn.avg_pool: {"input": IMAGE},
    nn.batch_norm: {"input": IMAGE, **STATISTICS},
    nn.bilinear: {"input1": ROWS, "input2": ROWS, "kernel": floats(4, 4, 3), "bias": floats(3)},
    nn.cdist: {"x1": ROWS, "x2": ROWS},
    nn.channel_shuffle: {"input": IMAGE},
    nn.conv: {"input": IMAGE, "kernel": floats(3, 3, 8, 2), "bias": floats(2)},
    nn.conv_transpose: {"input": IMAGE, "kernel": floats(3, 3, 2, 8), "bias": floats(2)},
    nn.cosine_similarity: {"x1": ROWS, "x2": ROWS},
    nn.dropout: {"input": IMAGE},
    nn.embedding: {"input": integers(2, 2), "weight": TABLE},
    nn.embedding_bag: {"input": integers(4), "weight": TABLE, "offsets": np.arange(2), "per_sample_weights": floats(4)},
    nn.feature_dropout: {"input": IMAGE},
    nn.flatten: {"input": IMAGE},
    nn.gelu: {"input": ROWS},
    nn.glu: {"input": ROWS},
    nn.group_norm: {"input": IMAGE, "weight": VECTOR, "bias": VECTOR},
    nn.instance_norm: {"input": IMAGE, **STATISTICS},
    nn.interpolate: {"input": IMAGE},
    nn.layer_norm: {"input": IMAGE, "weight": VECTOR, "bias": VECTOR},
    nn.linear: {"input": ROWS, "kernel": floats(4, 3), "bias": floats(3)},
    nn.local_response_norm: {"input": IMAGE},
    nn.lp_pool: {"input": IMAGE},
    nn.max_pool: {"input": IMAGE},
    nn.normalize: {"input": ROWS},
    nn.pairwise_distance: {"x1": ROWS, "x2": ROWS},
    nn.pixel_shuffle: {"input": IMAGE},
    nn.pixel_unshuffle: {"input": IMAGE},
    nn.prelu: {"input": IMAGE, "weight": VECTOR},
    nn.rms_norm: {"input": IMAGE, "weight": VECTOR},
    nn.rrelu: {"input": ROWS},
    nn.scaled_dot_product_attention: {
        "query": IMAGE,
        "key": IMAGE,
        "value": IMAGE,
        "attn_mask": floats(2, 4, 4, 4),
    },
    nn.softmax: {"input": ROWS},
    nn.unflatten: {"input": IMAGE},
    losses.binary_cross_entropy: {**PAIR, "weight": ROWS},
    losses.binary_cross_entropy_with_logits: {**PAIR, "weight": ROWS, "pos_weight": floats(4)},
    losses.cosine_embedding_loss: {"input1": ROWS, "input2": ROWS, "target": integers(2)},
    losses.cross_entropy: {"input": ROWS, "target": integers(2), "weight": floats(4)},
    losses.ctc_loss: {
        "log_probs": np.log(np.full((6, 2, 3), 1 / 3, np.float32)),
        "targets": integers(2, 2),
        "input_lengths": np.full(2, 6),
        "target_lengths": np.full(2, 2),
    },
    losses.gaussian_nll_loss: {**PAIR, "var": ROWS},
    losses.hinge_embedding_loss: PAIR,
    losses.huber_loss: {**PAIR, "weight": ROWS},
    losses.kl_div: PAIR,
    losses.l1_loss: {**PAIR, "weight": ROWS},
    losses.linear_cross_entropy: {
        "input": ROWS,
        "linear_weight": floats(3, 4),
        "target": integers(2),
        "linear_bias": floats(3),
        "weight": floats(3),
    },
    losses.margin_ranking_loss: {"input1": ROWS, "input2": ROWS, "target": integers(2, 4)},
    losses.mse_loss: {**PAIR, "weight": ROWS},
    losses.multi_margin_loss: {"input": ROWS, "target": integers(2), "weight": floats(4)},
    losses.multilabel_margin_loss: {"input": ROWS, "target": integers(2, 4)},
    losses.multilabel_soft_margin_loss: {**PAIR, "weight": ROWS},
    losses.nll_loss: {"input": ROWS, "target": integers(2), "weight": floats(4)},
    losses.poisson_nll_loss: PAIR,
    losses.rmse_loss: {**PAIR, "weight": ROWS},
    losses.smooth_l1_loss: PAIR,
    losses.soft_margin_loss: PAIR,
    losses.triplet_margin_loss: {"anchor": ROWS, "positive": ROWS, "negative": ROWS},
    losses.triplet_margin_with_distance_loss: {"anchor": ROWS, "positive": ROWS, "negative": ROWS},
}
"""The arrays of each function."""

OPTIONS = {
    nn.adaptive_avg_pool: {"output_size": 2},
    nn.adaptive_max_pool: {"output_size": 2},
    nn.avg_pool: {"kernel_size": 2},
    nn.batch_norm: {"training": True},
    nn.channel_shuffle: {"groups": 2},
    nn.dropout: {"training": False},
    nn.embedding_bag: {"mode": "sum"},
    nn.feature_dropout: {"training": False},
    nn.group_norm: {"num_groups": 2},
    nn.interpolate: {"size": 8},
    nn.layer_norm: {"normalized_shape": 8},
    nn.local_response_norm: {"size": 2},
    nn.lp_pool: {"norm_type": 2.0, "kernel_size": 2},
    nn.max_pool: {"kernel_size": 2},
    nn.pixel_shuffle: {"upscale_factor": 2},
    nn.pixel_unshuffle: {"downscale_factor": 2},
    nn.rms_norm: {"normalized_shape": 8},
    nn.unflatten: {"dim": 1, "unflattened_size": (2, 4)},
}
"""What else a function needs."""

ROWS_OF_TABLE = [pytest.param(f, name, id=f"{f.__name__}-{name}") for f, arrays in ARRAYS.items() for name in arrays]


def called(function, **other):
    return function(**ARRAYS[function] | OPTIONS.get(function, {}) | other)


@cache
def usual(function):
    return called(function)


@pytest.mark.parametrize(("function", "name"), ROWS_OF_TABLE)
def test_lists_and_wide_numpy_arrays_are_arrays(function, name):
    array = ARRAYS[function][name]
    expected = usual(function)
    for given in (array.tolist(), array.astype(np.float64 if array.dtype.kind == "f" else np.int64)):
        jax.tree.map(np.testing.assert_array_equal, called(function, **{name: given}), expected)


WRONG_SHAPES = {
    "a number": lambda array: array.reshape(-1)[0],
    "one axis": np.ravel,
    "another axis": lambda array: array[None],
    "no rows": lambda array: array[:0],
    "fewer columns": lambda array: array[..., :-1],
    "fewer rows": lambda array: array[:-1],
    "complex": lambda array: array + 0j,
    "booleans": lambda array: array > 0,
    "integers or floats": lambda array: array.astype(np.int32 if array.dtype.kind == "f" else np.float32),
}
IN_THE_NAME_OF = {nn.embedding_bag: "embedding(_bag)?"}


@pytest.mark.parametrize("wrong", WRONG_SHAPES.values(), ids=WRONG_SHAPES)
@pytest.mark.parametrize(("function", "name"), ROWS_OF_TABLE)
def test_arrays_of_another_shape_or_dtype_serve_or_are_refused(function, name, wrong):
    """Some broadcast, some are another batch; no error comes from within JAX."""
    message = f"{function.__name__}: "
    try:
        jax.eval_shape(lambda array: called(function, **{name: array}), wrong(ARRAYS[function][name]))
    except (TypeError, ValueError) as error:
        message = str(error)
    assert re.match(rf"{IN_THE_NAME_OF.get(function, function.__name__)}: ", message)


NO_ARRAYS = {"text": "ones", "ragged": [1.0, [2.0]], "dict": {"a": 1.0}, "module": np, "None": None}


def may_be_none(function, name):
    return "None" in str(inspect.signature(function).parameters[name].annotation)


@pytest.mark.parametrize(
    ("function", "name", "given"),
    [
        pytest.param(function, name, given, id=f"{function.__name__}-{name}-{kind}")
        for function, arrays in ARRAYS.items()
        for name in arrays
        for kind, given in NO_ARRAYS.items()
        if given is not None or not may_be_none(function, name)
    ],
)
def test_what_is_no_array_is_named(function, name, given):
    with pytest.raises((TypeError, ValueError), match=rf"^{function.__name__}: {name} must ") as error:
        called(function, **{name: given})
    assert re.search(r"got .", str(error.value))
