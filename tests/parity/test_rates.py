"""Other learning rates for the draws of a case: both sides take them, and planted defects keep theirs."""

from functools import partial

import optax
import pytest
import torch

from jaxtrain import optim
from parity.cases import all_cases
from parity.cases.optim._table import case
from parity.subjects._rates import with_other_rates


@pytest.mark.parametrize(
    "name", ["optim.rprop[bfloat16]", "interop.load_optimizer[PyTorch, then jaxtrain, Rprop, defaults]"]
)
def test_signs_alone_go_another_way_with_another_rate(name):
    plain = next(case for case in all_cases() if case.name == name)
    quantity = next(iter(plain.truth))
    other = plain.with_other_rate(1)
    assert (other.truth[quantity] != plain.truth[quantity]).any()
    assert other.measurement.passed


def test_the_rates_are_multiplied_by_the_same_number():
    ours, reference = with_other_rates(1, partial(optim.sgd, momentum=0.5), partial(torch.optim.SGD, lr=0.1))
    assert 0.75e-3 < ours.keywords["lr"] < 1e-3  # Of the default.
    assert reference.keywords["lr"] == pytest.approx(100 * ours.keywords["lr"])
    assert ours.keywords["momentum"] == 0.5


@pytest.mark.parametrize(
    "ours",
    [partial(optim.sgd, lr=lambda count: 0.1), partial(optim.sgd, 0.1), lambda: optim.sgd(0.1), partial(optax.chain)],
)
def test_where_a_side_has_no_rate_that_is_a_number_both_stay(ours):
    sides = ours, partial(torch.optim.SGD, lr=0.1)
    assert with_other_rates(1, *sides) == sides


def test_a_defect_is_not_caught_by_the_rate_of_a_draw():
    made = case(optim.adam, defects={"none": partial(optim.adam), "another rate": partial(optim.adam, lr=0.99e-3)})
    assert [bug for bug in made.defects if not made.catches(bug)] == ["none"]
