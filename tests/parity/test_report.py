"""The tables of results: every count and the worst figure of each component."""

import json
from dataclasses import replace

import numpy as np
import pytest

from parity import report
from parity.cases import all_cases
from parity.runner import Result
from parity.trace import Quantity
from parity.verdicts import Difference, Measurement

CASE = next(case for case in all_cases() if case.name == "schedules.constant_lr[defaults]")
CASE = replace(CASE, defects={"one": None, "two": None})
DIFFERENCE = Difference(Quantity("value"), 3, (), 1.0, 2.0, 0.5, 1e-12, "float64")
RESULTS = [
    Result(CASE, Measurement(1e-15, 2e-8, 5e-8)),
    Result(CASE, Measurement(3e-15, 1e-8, 9e-8), missed=("two",)),
    Result(CASE, Measurement(2e-15, 4e-8, 3e-8, DIFFERENCE)),
    Result(replace(CASE, precision="float16"), Measurement(1e-15, 2e-4, 1e-4)),
    Result(replace(CASE, component="schedules.other"), Measurement(0.0, 0.0, 0.0)),
]


def test_a_component_has_the_number_of_its_cases_and_failures_and_its_worst_figures():
    rows = report.markdown(RESULTS).splitlines()
    assert rows[2] == ("| `schedules.constant_lr` | 4 (2 FAIL) | 3e-15 | 4e-08, 3e-08 | - | 2e-04, 1e-04 | 7/8 |")
    assert rows[3] == "| `schedules.other` | 1 | 0e+00 | 0e+00, 0e+00 | - | - | 2/2 |"


def test_the_summary_counts_cases_components_and_defects():
    assert report.summary(RESULTS) == "3/5 cases of 2 components passed, 9/10 planted defects caught"


@pytest.mark.parametrize(("number", "verdict"), [(0, "pass"), (1, "FAIL: planted defects not caught: two")])
def test_a_row_says_what_failed(number, verdict):
    assert report.row(RESULTS[number])[-2:] == (f"{2 - number}/2", verdict)
    assert report.row(RESULTS[2])[-1].startswith("FAIL: value at step 3: ours 1.0, torch 2.0")


def test_the_file_has_every_figure_and_null_where_there_is_none():
    entries = json.loads(report.as_json([*RESULTS, Result(CASE, Measurement(np.inf, np.nan, np.nan), error="oh")]))
    assert [entry["passed"] for entry in entries] == [True, False, False, True, True, False]
    assert [entry["missed"] for entry in entries[:2]] == [[], ["two"]]
    assert (entries[2]["formula_error"], entries[2]["error"], entries[2]["torch_error"]) == (2e-15, 4e-8, 3e-8)
    assert (entries[5]["formula_error"], entries[5]["error"], entries[5]["failure"]) == (None, None, "oh")
