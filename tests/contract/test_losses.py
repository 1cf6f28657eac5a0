"""What holds for every loss: bad input, reductions, dtypes, transformations, memory, names in profiles."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.flatten_util import ravel_pytree

from jaxtrain import losses

GENERATOR = np.random.default_rng(5)
FACTORS = {4: 128, 3: 32, 2: 32}
"""How many times as long an axis is in a large example, by its length."""


@dataclass(frozen=True, eq=False)
class Example:
    """Arguments of a loss, away from its kinks.

    Attributes:
        arrays: float32 or integer arrays, the batch first.
        floats: names of the arguments that must hold floats.
        same_shape: names of the arguments that must have the shape of the first.
        options: further arguments.
    """

    loss: Callable[..., jax.Array]
    arrays: dict[str, np.ndarray]
    floats: tuple[str, ...]
    same_shape: tuple[str, ...]
    options: dict[str, Any]

    def __call__(self, arrays: dict[str, Any] | None = None, **options) -> jax.Array:
        return self.loss(**(self.arrays | (arrays or {})), **(self.options | options))

    def cast(self, dtype) -> dict[str, jax.Array]:
        return {
            name: jnp.asarray(array, dtype) if array.dtype.kind == "f" else jnp.asarray(array)
            for name, array in self.arrays.items()
        }

    @property
    def large(self) -> "Example":
        """The same with arrays of tens of thousands of elements: repeated along every axis."""
        tiled = {name: np.tile(array, [FACTORS[size] for size in array.shape]) for name, array in self.arrays.items()}
        return replace(self, arrays=tiled)

    def lower(self, dtype=jnp.float32) -> jax.stages.Lowered:
        """The program of the value and of the gradients by all floats."""

        def of_floats(floats, rest):
            return self(rest | floats)

        arrays = self.cast(dtype)
        floats = {name: arrays.pop(name) for name in self.floats}
        return jax.jit(jax.value_and_grad(of_floats)).lower(floats, arrays)


def normal(*shape: int) -> np.ndarray:
    return GENERATOR.normal(size=shape).astype(np.float32)


def uniform(*shape: int) -> np.ndarray:
    return GENERATOR.uniform(0.1, 0.9, size=shape).astype(np.float32)


def example(loss, *, floats=("input",), same_shape=("target",), options=None, **arrays) -> Example:
    return Example(loss, arrays, floats, same_shape, options or {})


CLASSES = np.array([2, 0, 1, 1])
SIGNS = np.array([[1, -1, 1], [-1, -1, 1], [1, 1, -1], [-1, 1, 1]])
LISTS = np.array([[2, -1, 0], [0, 1, -1], [1, -1, -1], [2, 0, -1]])
TRIPLET = {"anchor": normal(4, 3), "positive": normal(4, 3), "negative": normal(4, 3)}
EXAMPLES = {
    "mse_loss": example(losses.mse_loss, input=normal(4, 3), target=normal(4, 3)),
    "rmse_loss": example(losses.rmse_loss, input=normal(4, 3), target=normal(4, 3)),
    "l1_loss": example(losses.l1_loss, input=normal(4, 3), target=normal(4, 3)),
    "smooth_l1_loss": example(losses.smooth_l1_loss, input=normal(4, 3), target=normal(4, 3), options={"beta": 0.7}),
    "huber_loss": example(losses.huber_loss, input=normal(4, 3), target=normal(4, 3), options={"delta": 0.7}),
    "cross_entropy": example(
        losses.cross_entropy, input=normal(4, 3), target=CLASSES, options={"label_smoothing": 0.1}
    ),
    "cross_entropy of probabilities": example(
        losses.cross_entropy, input=normal(4, 3), target=uniform(4, 3), weight=uniform(3), floats=("input", "weight")
    ),
    "nll_loss": example(losses.nll_loss, input=normal(4, 3), target=CLASSES),
    "linear_cross_entropy": example(
        losses.linear_cross_entropy,
        input=normal(4, 2),
        linear_weight=normal(3, 2),
        linear_bias=normal(3),
        target=CLASSES,
        floats=("input", "linear_weight", "linear_bias"),
        same_shape=(),
        options={"chunk_size": 3, "label_smoothing": 0.1},
    ),
    "binary_cross_entropy": example(
        losses.binary_cross_entropy, input=uniform(4, 3), target=uniform(4, 3), floats=("input", "target")
    ),
    "binary_cross_entropy_with_logits": example(
        losses.binary_cross_entropy_with_logits,
        input=normal(4, 3),
        target=uniform(4, 3),
        pos_weight=uniform(3),
        floats=("input", "target", "pos_weight"),
    ),
    "kl_div": example(losses.kl_div, input=normal(4, 3), target=uniform(4, 3), floats=("input", "target")),
    "kl_div of logarithms": example(
        losses.kl_div, input=normal(4, 3), target=normal(4, 3), floats=("input", "target"), options={"log_target": True}
    ),
    "poisson_nll_loss": example(
        losses.poisson_nll_loss, input=normal(4, 3), target=3 * uniform(4, 3), options={"full": True}
    ),
    "poisson_nll_loss of rates": example(
        losses.poisson_nll_loss, input=uniform(4, 3), target=uniform(4, 3), options={"log_input": False}
    ),
    "gaussian_nll_loss": example(
        losses.gaussian_nll_loss,
        input=normal(4, 3),
        target=normal(4, 3),
        var=uniform(4, 3),
        floats=("input", "var"),
        same_shape=(),
        options={"full": True},
    ),
    "hinge_embedding_loss": example(losses.hinge_embedding_loss, input=normal(4, 3), target=SIGNS),
    "cosine_embedding_loss": example(
        losses.cosine_embedding_loss,
        input1=normal(4, 3),
        input2=normal(4, 3),
        target=SIGNS[:, 0],
        floats=("input1", "input2"),
        same_shape=("input2",),
    ),
    "triplet_margin_loss": example(
        losses.triplet_margin_loss, **TRIPLET, floats=tuple(TRIPLET), same_shape=tuple(TRIPLET)
    ),
    "triplet_margin_loss of degree 3": example(
        losses.triplet_margin_loss,
        **TRIPLET,
        floats=tuple(TRIPLET),
        same_shape=tuple(TRIPLET),
        options={"p": 3, "swap": True, "margin": 5.0},
    ),
    "triplet_margin_with_distance_loss": example(
        losses.triplet_margin_with_distance_loss, **TRIPLET, floats=tuple(TRIPLET), same_shape=tuple(TRIPLET)
    ),
    "margin_ranking_loss": example(
        losses.margin_ranking_loss,
        input1=normal(4, 3),
        input2=normal(4, 3),
        target=SIGNS,
        floats=("input1", "input2"),
        same_shape=("input2", "target"),
    ),
    "soft_margin_loss": example(losses.soft_margin_loss, input=normal(4, 3), target=SIGNS),
    "multi_margin_loss": example(
        losses.multi_margin_loss, input=normal(4, 3), target=CLASSES, weight=uniform(3), options={"p": 2}
    ),
    "multilabel_margin_loss": example(losses.multilabel_margin_loss, input=normal(4, 3), target=LISTS),
    "multilabel_soft_margin_loss": example(
        losses.multilabel_soft_margin_loss, input=normal(4, 3), target=uniform(4, 3), weight=uniform(3)
    ),
}

every_loss = pytest.mark.parametrize("case", EXAMPLES.values(), ids=EXAMPLES.keys())


def largest_float64(program: str) -> int:
    """The number of elements of the largest float64 array in the text of a program."""
    shapes = re.findall(r"tensor<((?:\d+x)*)f64>", program)
    return max((int(np.prod([int(size) for size in shape.split("x")[:-1]])) for shape in shapes), default=0)


@every_loss
def test_unknown_reduction_names_the_known_ones(case):
    with pytest.raises(ValueError, match=r"reduction must be one of 'mean', 'sum', 'none'.*, got 'average'"):
        case(reduction="average")


@every_loss
@pytest.mark.parametrize("dtype", [np.int32, bool, np.complex64])
def test_arrays_without_floats_are_refused(case, dtype):
    for name in case.floats:
        with pytest.raises(TypeError, match=f"{name} must hold floats.*, got {np.dtype(dtype)}"):
            case({name: case.arrays[name].astype(dtype)})


@every_loss
def test_nothing_is_broadcast(case):
    for name in case.same_shape:
        with pytest.raises(ValueError, match=r"shape.*\(3,\)|shape.*\(\)"):
            case({name: case.arrays[name][0]})


def numbers(case: Example) -> list[str]:
    """Names of the hyper-parameters that are one number."""
    of_losses = ("label_smoothing", "beta", "delta", "margin", "p", "eps")
    return [name for name in of_losses if name in inspect.signature(case.loss).parameters]


@every_loss
def test_hyper_parameters_are_single_numbers(case):
    for name in numbers(case):
        with pytest.raises(ValueError, match=rf"{name} must be one number, got an array of shape \(4, 1\)"):
            case(**{name: np.ones((4, 1))})
        with pytest.raises(ValueError, match=rf"{name} must be one number, got an array of shape \(4,\)"):
            jax.jit(lambda value, name=name: case(**{name: value}))(np.ones(4))
        with pytest.raises(TypeError, match=f"{name} must be a number, got .*; losses take no schedules"):
            case(**{name: lambda count: 0.5})
        for wrong in (None, "1"):
            with pytest.raises(TypeError, match=f"{name} must be a number, got {wrong!r}"):
                case(**{name: wrong})


@every_loss
def test_flags_are_true_or_false(case):
    flags = {"log_target", "log_input", "full", "swap"}
    for name in flags & inspect.signature(case.loss).parameters.keys():
        with pytest.raises(TypeError, match=f"{name} must be True or False, got 'False'"):
            case(**{name: "False"})


@every_loss
def test_hyper_parameters_may_be_variables(case):
    for name in numbers(case):
        np.testing.assert_array_equal(case(**{name: nnx.Param(jnp.float32(1))}), case(**{name: jnp.float32(1)}))


@every_loss
def test_reductions_agree_with_one_loss_an_element(case):
    each, total, mean = (np.asarray(case(reduction=reduction)) for reduction in ("none", "sum", "mean"))
    if case.loss is losses.rmse_loss:
        each, total, mean = each**2, total**2, mean**2
    assert mean.shape == total.shape == ()
    np.testing.assert_allclose(total, each.sum(), rtol=1e-6)
    np.testing.assert_allclose(mean, each.mean(), rtol=1e-6)


@every_loss
def test_empty_batch_has_mean_nan_and_sum_zero(case):
    empty = {name: array[:0] for name, array in case.arrays.items() if array.shape[0] == 4}
    assert np.isnan(case(empty))
    assert case(empty, reduction="sum") == 0


@every_loss
def test_nan_is_never_hidden(case):
    for name, array in case.arrays.items():
        if array.dtype.kind == "f":
            assert np.isnan(case({name: np.full_like(array, np.nan)})), name


@every_loss
def test_low_precision_is_computed_in_float32(case):
    for dtype in (jnp.float16, jnp.bfloat16):
        rounded = case.cast(dtype)
        widened = {name: array.astype(jnp.float32) for name, array in rounded.items() if array.dtype == dtype}
        loss = case(rounded)
        assert loss.dtype == dtype
        assert loss == case(widened).astype(dtype)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
@pytest.mark.parametrize(
    ("loss", "numbers"),
    [
        (partial(losses.poisson_nll_loss, log_input=False), (0.0, 1.0)),
        (partial(losses.poisson_nll_loss, log_input=False, full=True), (0.0, 3.0)),
        (losses.gaussian_nll_loss, (0.01, 0.0, 0.0)),
        (partial(losses.triplet_margin_loss, margin=0.7, eps=1e-3), (1.0, 1.0, 1.0)),
        (partial(losses.hinge_embedding_loss, margin=0.7), (0.5, -1.0)),
        (partial(losses.margin_ranking_loss, margin=0.7), (0.5, 0.5, -1.0)),
    ],
)
def test_constants_are_not_rounded_to_low_precision(loss, numbers, dtype):
    arrays = [jnp.full((1, 3), number, dtype) for number in numbers]
    assert loss(*arrays) == loss(*(array.astype(jnp.float32) for array in arrays)).astype(dtype)


@every_loss
def test_float64_stays_float64(case):
    with jax.enable_x64(True):
        assert case(case.cast(jnp.float64)).dtype == jnp.float64
    assert case().dtype == jnp.float32


@every_loss
def test_compiled_and_batched_are_the_same_numbers(case):
    arrays = case.cast(jnp.float32)
    batched = {name: 0 if array.shape[0] == 4 else None for name, array in arrays.items()}
    one_by_one = [case({name: array[row] for name, array in arrays.items() if batched[name] == 0}) for row in range(4)]
    at_once = jax.jit(jax.vmap(case, in_axes=(batched,)))(arrays)
    np.testing.assert_allclose(at_once, np.stack(one_by_one), rtol=1e-6)


@every_loss
def test_first_and_second_derivatives_are_those_of_the_value(case):
    with jax.enable_x64(True):
        floats = {name: array for name, array in case.cast(jnp.float64).items() if array.dtype == jnp.float64}
        point, unravel = ravel_pytree(floats)
        direction = jnp.asarray(GENERATOR.normal(size=point.shape))

        def loss(vector):
            return case(unravel(vector))

        @jax.jit
        def derivatives_and_differences(step):
            def difference(function):
                return (function(point + step * direction) - function(point - step * direction)) / (2 * step)

            gradient = jax.grad(loss)
            forward, second = (jax.jvp(function, (point,), (direction,))[1] for function in (loss, gradient))
            return (gradient(point) @ direction, forward, second), (*[difference(loss)] * 2, difference(gradient))

        for derivative, difference in zip(*derivatives_and_differences(1e-5), strict=True):
            np.testing.assert_allclose(derivative, difference, rtol=1e-7, atol=1e-8)


@every_loss
def test_float64_is_for_few_numbers_only(case):
    largest = max(array.size for array in case.large.arrays.values())
    assert 0 < largest_float64(case.large.lower().as_text()) <= largest / 64


@every_loss
def test_memory_is_a_few_times_that_of_the_arguments(case):
    given = sum(array.nbytes for array in case.large.arrays.values())
    for dtype in (jnp.float32, jnp.bfloat16):
        needed = case.large.lower(dtype).compile().memory_analysis().temp_size_in_bytes
        assert needed <= 4 * given


@every_loss
def test_profiles_name_the_loss(case):
    assert f"jit(of_floats)/jvp({case.loss.__name__})/" in case.lower().as_text(debug_info=True)


@every_loss
def test_batch_size_may_be_symbolic(case):
    (batch,) = jax.export.symbolic_shape("batch")
    symbolic = {
        name: jax.ShapeDtypeStruct((batch, *array.shape[1:]) if len(array) == 4 else array.shape, array.dtype)
        for name, array in case.cast(jnp.float32).items()
    }
    exported = jax.export.export(jax.jit(case))(symbolic)
    np.testing.assert_allclose(exported.call(case.cast(jnp.float32)), case(), rtol=1e-6)


@every_loss
def test_nothing_is_promoted_silently(case):
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        arrays = case.cast(jnp.float32)
        assert jnp.isfinite(jax.jit(case)(arrays))
