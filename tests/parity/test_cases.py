"""Cases of the registry: both verdicts hold, and every planted defect is caught.

By default one case of nearly each component runs here, and all of them by `python -m parity run`.
"""

import pytest

from jaxtrain.schedules import PlateauState
from parity.cases import all_cases
from parity.runner import run


def parameters():
    """The cases; marked as long are all but the first of a component, and those that round every operation."""
    first = {case.component: case for case in reversed(all_cases())}

    def is_long(case):
        return first[case.component] is not case or case.right_is_enough

    return [pytest.param(case, id=case.name, marks=[pytest.mark.long] if is_long(case) else []) for case in all_cases()]


@pytest.mark.parametrize("case", parameters())
def test_case(case):
    result = run(case)
    assert result.passed, result.failure


def test_a_plateau_is_compared_in_all_that_both_sides_keep():
    case = next(case for case in all_cases() if case.component == "schedules.reduce_lr_on_plateau")
    assert {quantity.kind for quantity in case.truth} == {*PlateauState._fields} - {"num_reductions"}


def test_names_are_unique():
    names = [case.name for case in all_cases()]
    assert sorted(set(names)) == sorted(names)


def test_every_case_has_a_planted_defect():
    assert [case.name for case in all_cases() if not case.defects] == []
