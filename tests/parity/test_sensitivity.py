"""Problems that rounding takes further than all others: what excuses an error there, and what does not."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from jaxtrain import optim
from parity import draws, sensitivity
from parity.cases import cases_named, cases_of_seed
from parity.precision import Draw
from parity.references.rounded_operations import RoundedOperations
from parity.sensitivity import Problem, is_by_rounding, outlier, without
from parity.subjects.closure import ClosureCase
from parity.trace import Quantity

P = Quantity("parameter", "p")
ROWS, COLUMNS = 40, 5
FIRST = {P: slice(0, 2)}


def draw(largest=0.0, row=0):
    """Normal errors on both sides, and one of ours of another size in a row."""
    rng = np.random.default_rng(0)
    ours, theirs = (1 + 1e-6 * rng.normal(size=(ROWS, COLUMNS)) for _ in range(2))
    ours[row, 3] += largest
    truth = np.ones((ROWS, COLUMNS))
    return Draw(truth={P: truth}, units={P: np.ones(ROWS)}, ours={P: ours}, torch={P: theirs})


@pytest.mark.parametrize(("largest", "found"), [(0.0, None), (5e-6, None), (1e-4, (1, (7, 3)))])
def test_an_outlier_is_an_error_that_no_normal_one_can_be(largest, found):
    assert outlier([draw(), draw(largest, 7)], P, 1.5, "float32") == found


@pytest.mark.parametrize(("multiplied", "excused"), [(1e3, True), (1.0, False)])
def test_roundings_excuse_an_error_as_far_as_they_go_on_the_problem(multiplied, excused):
    """What cancels leaves the roundings of numbers that are as many times larger."""

    def run():
        number = torch.full((2, COLUMNS), 1 / 3, dtype=torch.float64) * multiplied * 3
        return {P: (number / 7 * 7 - (multiplied - 1)).numpy()}

    assert is_by_rounding(draw(2e-5), Problem(FIRST, run), 1.5, "float32") == excused


def test_an_overflow_of_the_roundings_excuses_nothing():
    overflown = Problem(FIRST, lambda: {P: np.full((2, COLUMNS), np.nan)})
    assert not is_by_rounding(draw(2e-5), overflown, 1.5, "float32")


def test_what_is_left_out_is_no_error_and_all_else_stays():
    left = without(draw(1e-4), FIRST)
    assert left.ours is not None
    assert np.isnan(left.truth[P][:2]).all()
    assert np.isnan(left.ours[P][:2]).all()
    np.testing.assert_array_equal(left.ours[P][2:], draw().ours[P][2:])
    assert outlier([left], P, 1.5, "float32") is None


def cubic(parameters, problem):
    x = parameters["weight"]
    return ((x + problem * x**2 - 1) ** 2).sum()


class Sloppy(ClosureCase):
    """Ours in float32 with an error on one problem, or with errors 1.8 times those of PyTorch on all."""

    one, every = 0.0, 0.0

    def run_ours(self, ours, dtype):
        found = super().run_ours(ours, dtype)
        if dtype == "float32":
            values = found[Quantity("parameter", "weight")]
            values += self.every * np.random.default_rng(0).normal(size=values.shape)
            values[3] += self.one
        return found


@pytest.mark.parametrize(("one", "every", "passed"), [(0, 0, True), (1e-4, 0, False), (0, 5e-8, False)])
def test_an_error_that_roundings_do_not_make_fails(one, every, passed, monkeypatch):
    monkeypatch.setattr(sensitivity, "RUNS", 5)
    monkeypatch.setattr(Sloppy, "one", one)
    monkeypatch.setattr(Sloppy, "every", every)
    made = Sloppy(
        component="sloppy",
        ours=partial(optim.lbfgs, lr=0.1, max_iter=2),
        reference=partial(torch.optim.LBFGS, lr=0.1, max_iter=2),
        objective=cubic,
        start={"weight": np.full(3, 0.3)},
        problems=np.linspace(0.1, 1, 10).astype(np.float32),
        updates=2,
        states=("d",),
    )
    assert made.measurement.passed == passed


@pytest.mark.parametrize(("amplifies", "times", "passed"), [(True, 1, True), (True, 10, False), (False, 1, False)])
def test_a_draw_of_a_layer_is_left_out_if_roundings_take_pytorch_as_far(amplifies, times, passed, monkeypatch):
    """The fourth draw of this seed amplifies roundings to many times the errors of the others."""
    monkeypatch.setattr(sensitivity, "RUNS", 20)
    with draws.seed(2):
        [drawn] = cases_named(cases_of_seed(2), ["nn.RNN[relu, two layers, both directions, lengths]"])
        found = replace(drawn, amplifies=amplifies)
        each = [found.of_draw(number, found.ours) for number in range(4)]
        right = [Draw(truth=one.truth, units=one.units(one.truth), torch=one.torch_rounded) for one in each]
        with RoundedOperations("float32", sensitivity.RUNS):
            moved = each[3].run_torch("float64")
        wrong = {name: values + (times - 1) * (values - right[3].truth[name]) for name, values in moved.items()}
        pairs = [replace(one, ours=one.torch) for one in right[:3]] + [replace(right[3], ours=wrong)]
        first = replace(right[0], ours64=right[0].truth)
        left, measurement = found.judged([first, *pairs], found.ours)
    assert measurement.passed == passed
    assert all(np.isnan(values).all() for values in left[4].truth.values()) == passed
