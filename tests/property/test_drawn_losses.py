"""Losses of drawn arrays and arguments, by value and gradient, in each reduction, against what PyTorch executes."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jaxtrain import losses
from parity.subjects.loss import LossCase, by_reduction, stacked, values_and_gradients
from parity.trace import Trace

# Few, because each is compiled.
SHAPES = [(), (2, 3), (0, 3)]
OF_CLASSES = [(4,), (3, 4), (2, 3, 2, 2), (2, 1)]
OF_ROWS = [(4,), (3, 4)]

Array = Callable[[tuple[int, ...]], st.SearchStrategy[np.ndarray | None]]
"""From a shape to arrays of it."""


@dataclass(frozen=True)
class Drawn:
    """One call of a loss on both sides.

    Attributes:
        arrays: the arguments that are arrays, or None, by name.
        options: the others.
        ours: those that only this package has.
    """

    arrays: dict[str, np.ndarray | None]
    options: dict[str, Any] = field(default_factory=dict)
    ours: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A call by name, of which calls that differ in their floats only are equal."""

    function: Callable[..., Any]
    names: tuple[str, ...]
    constants: frozenset[tuple[str, Any]]

    def __call__(self, numbers: dict[str, Any], *given: Any, reduction: str) -> Any:
        arrays = dict(zip(self.names, given, strict=True))
        return self.function(**arrays, **numbers, **dict(self.constants), reduction=reduction)


@dataclass(frozen=True, eq=False, kw_only=True)
class DrawnCase(LossCase):
    """A case that may be constant, and whose errors count against 1 at least, as the inputs are of that size.

    Attributes:
        numbers: the floats among the options.
    """

    numbers: dict[str, float]

    @cached_property
    def truth(self) -> Trace:
        return self.run_torch("float64")

    def run_ours(self, ours: Call, dtype: str) -> Trace:
        given = [None if array is None else jnp.asarray(array) for array in self.inputs[0]]
        found = _compiled(ours, self.wrt, self.reductions, self.numbers, *given)
        return stacked([found])

    def units(self, truth: Trace) -> Trace:
        return {quantity: np.maximum(unit, 1.0) for quantity, unit in super().units(truth).items()}


def numbers(low: float, high: float) -> Array:
    """Numbers of few bits, so that ties and zeros are many and sums exact."""
    return lambda shape: arrays(np.float64, shape, elements=st.floats(low, high, width=16, allow_subnormal=False))


def choices(*values: float) -> Array:
    return lambda shape: arrays(np.float64, shape, elements=st.sampled_from(values))


def optional(array: Array) -> Array:
    return lambda shape: st.none() | array(shape)


REAL, POSITIVE, SHARE = numbers(-8, 8), numbers(0.125, 4), numbers(0, 1)
SIGN = choices(-1.0, 1.0)
MARGIN = st.floats(-2, 2, width=16, allow_subnormal=False)
FLAG = st.booleans()


@st.composite
def elementwise(draw, given: dict[str, Array], shapes=SHAPES, **options: st.SearchStrategy) -> Drawn:
    shape = draw(st.sampled_from(shapes))
    return Drawn({name: draw(array(shape)) for name, array in given.items()}, draw(st.fixed_dictionaries(options)))


@st.composite
def by_class(draw, shapes=OF_CLASSES, probabilities: bool = False, smoothing: bool = False) -> Drawn:
    shape = draw(st.sampled_from(shapes))
    axis = min(1, len(shape) - 1)
    classes, positions = shape[axis], shape[:axis] + shape[axis + 1 :]
    given, options = {"input": draw(REAL(shape))}, {}
    if probabilities and draw(FLAG):
        given["target"] = draw(SHARE(shape))
    else:
        options["ignore_index"] = draw(st.sampled_from([-100, -1, 0, classes - 1, classes]))
        labels = st.sampled_from([*range(classes), options["ignore_index"]])
        given["target"] = draw(arrays(np.int64, positions, elements=labels))
    given["weight"] = draw(optional(numbers(0, 4))((classes,)))
    if smoothing:
        options["label_smoothing"] = draw(st.floats(0, 1, width=16))
    return Drawn(given, options, {"axis": axis})


@st.composite
def linear(draw) -> Drawn:
    rows, features, classes = 5, 2, 4
    given = {
        "input": draw(REAL((rows, features))),
        "linear_weight": draw(numbers(-2, 2)((classes, features))),
        "target": draw(arrays(np.int64, rows, elements=st.sampled_from([*range(classes), -100]))),
        "linear_bias": draw(optional(REAL)((classes,))),
        "weight": draw(POSITIVE((classes,))),
    }
    options = {"label_smoothing": draw(st.floats(0, 1, width=16))}
    return Drawn(given, options, {"chunk_size": 2})


@st.composite
def multi_margin(draw) -> Drawn:
    shape = draw(st.sampled_from(OF_ROWS))
    given = {
        "input": draw(REAL(shape)),
        "target": draw(arrays(np.int64, shape[:-1], elements=st.integers(0, shape[-1] - 1))),
        "weight": draw(optional(POSITIVE)(shape[-1:])),
    }
    return Drawn(given, {"p": draw(st.sampled_from([1, 2])), "margin": draw(MARGIN)})


@st.composite
def multilabel_margin(draw) -> Drawn:
    """Label lists that end at their first -1, whatever comes after it."""
    shape = draw(st.sampled_from(OF_ROWS))
    target = draw(arrays(np.int64, shape, elements=st.integers(-1, shape[-1] - 1)))
    return Drawn({"input": draw(REAL(shape)), "target": target})


@st.composite
def ctc(draw) -> Drawn:
    time, batch, classes, longest = 5, 2, 3, 3
    blank = draw(st.sampled_from([0, classes - 1]))
    labels = st.sampled_from([label for label in range(classes) if label != blank])
    given = {
        "input": draw(REAL((time, batch, classes))),
        "targets": draw(arrays(np.int64, (batch, longest), elements=labels)),
        "input_lengths": draw(arrays(np.int64, batch, elements=st.integers(1, time))),
        "target_lengths": draw(arrays(np.int64, batch, elements=st.integers(0, longest))),
    }
    return Drawn(given, {"blank": blank, "zero_infinity": draw(FLAG)})


PAIR = {"input": REAL, "target": REAL}
LOSSES: dict[str, st.SearchStrategy[Drawn]] = {
    "mse_loss": elementwise(PAIR | {"weight": optional(POSITIVE)}),
    "l1_loss": elementwise(PAIR | {"weight": optional(POSITIVE)}),
    "smooth_l1_loss": elementwise(PAIR, beta=st.floats(0, 4, width=16, allow_subnormal=False)),
    "huber_loss": elementwise(PAIR | {"weight": optional(POSITIVE)}, delta=st.floats(0.125, 4, width=16)),
    "binary_cross_entropy": elementwise({"input": SHARE, "target": SHARE, "weight": optional(POSITIVE)}),
    "binary_cross_entropy_with_logits": elementwise(
        {"input": REAL, "target": SHARE, "weight": optional(POSITIVE), "pos_weight": optional(POSITIVE)}
    ),
    "kl_div": st.one_of(
        elementwise(PAIR, log_target=st.just(True)),
        elementwise({"input": REAL, "target": SHARE}, log_target=st.just(False)),
    ),
    "poisson_nll_loss": st.one_of(
        elementwise({"input": REAL, "target": numbers(0, 8)}, log_input=st.just(True), full=FLAG),
        elementwise(
            {"input": POSITIVE, "target": numbers(0, 8)},
            log_input=st.just(False),
            full=FLAG,
            eps=st.floats(0, 1, width=16, allow_subnormal=False),
        ),
    ),
    "gaussian_nll_loss": elementwise(
        PAIR | {"var": numbers(0, 4)}, SHAPES[1:], full=FLAG, eps=st.floats(2**-10, 1, width=16)
    ),
    "hinge_embedding_loss": elementwise({"input": REAL, "target": choices(-1.0, 1.0, 0.0)}, margin=MARGIN),
    "soft_margin_loss": elementwise({"input": REAL, "target": SIGN}),
    "margin_ranking_loss": elementwise({"input1": REAL, "input2": REAL, "target": SIGN}, margin=MARGIN),
    "cosine_embedding_loss": elementwise(
        {"input1": REAL, "input2": REAL, "target": lambda shape: SIGN(shape[:-1])},
        OF_ROWS,
        margin=st.floats(-1, 1, width=16, allow_subnormal=False),
    ),
    "triplet_margin_loss": elementwise(
        {"anchor": REAL, "positive": REAL, "negative": REAL},
        OF_ROWS,
        margin=st.floats(0.125, 4, width=16),
        p=st.sampled_from([1.0, 1.5, 2.0, 3.0, np.inf]),
        swap=FLAG,
    ),
    "multilabel_soft_margin_loss": elementwise({"input": REAL, "target": choices(0.0, 1.0)}, OF_ROWS),
    "multi_margin_loss": multi_margin(),
    "multilabel_margin_loss": multilabel_margin(),
    "cross_entropy": by_class(probabilities=True, smoothing=True),
    "nll_loss": by_class(),
    "linear_cross_entropy": linear(),
    "ctc_loss": ctc(),
}
DIFFERENTIABLE = {"input", "input1", "input2", "anchor", "positive", "negative", "linear_weight", "linear_bias", "var"}
"""What a gradient is compared of."""

# PyTorch folds the gradient of the log-softmax into that of the loss, so only the two together have a derivative.
OURS = {"ctc_loss": lambda input, *args, **kwargs: losses.ctc_loss(jax.nn.log_softmax(input), *args, **kwargs)}
THEIRS = {"ctc_loss": lambda input, *args, **kwargs: F.ctc_loss(F.log_softmax(input, -1), *args, **kwargs)}


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")  # of PyTorch's kl_div
@pytest.mark.parametrize("name", LOSSES)
@given(data=st.data())
def test_drawn(name, data):
    drawn = data.draw(LOSSES[name])
    names = tuple(drawn.arrays)
    numbers = {key: value for key, value in drawn.options.items() if isinstance(value, float) and key != "p"}
    constants = frozenset((drawn.options | drawn.ours).items() - numbers.items())
    case = DrawnCase(
        component=f"losses.{name}",
        ours=Call(OURS.get(name) or getattr(losses, name), names, constants),
        reference=lambda *given, reduction: (THEIRS.get(name) or getattr(F, name))(
            **dict(zip(names, given, strict=True)), **drawn.options, reduction=reduction
        ),
        inputs=[tuple(drawn.arrays.values())],
        wrt=tuple(n for n, key in enumerate(names) if key in DIFFERENTIABLE and drawn.arrays[key] is not None),
        reductions=("mean", "sum", "none") + ("batchmean",) * (name == "kl_div" and drawn.arrays["input"].ndim > 0),
        numbers=numbers,
    )
    measurement = case.measure(case.ours, formula_only=True)
    assert measurement.passed, str(measurement.difference)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _compiled(call, wrt, reductions, numbers, *given):
    """Values and gradients by reduction and kind."""
    return values_and_gradients(by_reduction(partial(call, numbers), reductions), wrt, *given)
