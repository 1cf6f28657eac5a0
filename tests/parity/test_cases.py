"""Every case of the registry: both verdicts hold, and every planted defect is caught."""

import pytest

from parity.cases import all_cases
from parity.runner import run


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
def test_case(case):
    result = run(case)
    assert result.passed, result.failure


def test_names_are_unique():
    names = [case.name for case in all_cases()]
    assert sorted(set(names)) == sorted(names)


def test_every_case_has_a_planted_defect():
    assert [case.name for case in all_cases() if not case.defects] == []
