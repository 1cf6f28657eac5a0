"""What the README says is true: its code runs, its tables are those of this version."""

import re
from pathlib import Path

import numpy as np
import pytest

import jaxtrain
from parity import deviations
from parity.cases import all_cases
from parity.report import begin_marker, end_marker
from parity.torch_inputs.runner import all_names

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def block(first_line):
    """The Python block that begins so."""
    found = re.search(rf"```python\n{re.escape(first_line)}\n(.*?)```", README, re.DOTALL)
    assert found, f"README has no block that begins with {first_line!r}"
    return found[1].replace("range(30)", "range(2)").replace("epochs=30", "epochs=2")


def section(name):
    return README.partition(begin_marker(name))[2].partition(end_marker(name))[0].lstrip("\n")


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (digits.data / 16).astype(np.float32), digits.target.astype(np.int32)


def test_torch_script_runs(digits):
    import torch

    names = {"images": torch.tensor(digits[0]), "labels": torch.tensor(digits[1]).long()}
    exec(block("# PyTorch"), names)
    assert names["scheduler"].last_epoch == 2
    assert float(names["loss"].detach()) < 1.5


def test_jaxtrain_script_runs(digits):
    names = {"images": digits[0], "labels": digits[1]}
    exec(block("# jaxtrain"), names)
    assert names["history"]["loss"][-1] < 1.0
    assert int(names["state"].step) == 2 * 29
    assert names["history"]["lr"] == [pytest.approx(0.1)] * 2


def test_both_scripts_are_twenty_lines():
    for first in ("# PyTorch", "# jaxtrain"):
        lines = [line for line in block(first).splitlines() if line.strip()]
        assert 15 <= len(lines) <= 25


def test_parity_table_is_that_of_this_version():
    """The README's table has a row for every component, with its cases and planted defects."""
    table = section("parity")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| `")]
    written = {row[0].strip("`"): (row[1], row[-1]) for row in rows}
    current = {}
    for component in dict.fromkeys(case.component for case in all_cases()):
        members = [case for case in all_cases() if case.component == component]
        defects = sum(len(case.defects) for case in members)
        current[component] = (str(len(members)), f"{defects}/{defects}")
    assert written == current, "refresh it: python -m parity --markdown README.md"


def test_databases_table_is_that_of_this_version():
    """The README's table has a row for every component; all that runs agrees, all that can be rejected is."""
    rows = re.findall(r"^\| `(\S+)` \| " + r" \| ".join([r"(\d+)"] * 6), section("databases"), re.MULTILINE)
    assert [name for name, *_ in rows] == all_names(), "refresh it: python -m parity.torch_inputs --markdown README.md"
    for _, inputs, run, matched, errors, rejected, without in (row[:1] + tuple(map(int, row[1:])) for row in rows):
        assert matched == run <= inputs
        assert rejected + without == errors


def test_deviations_are_measured_and_current():
    assert section("deviations") == deviations.markdown(), "refresh it: python -m parity --markdown README.md"


@pytest.mark.parametrize("deviation", deviations.DEVIATIONS, ids=lambda deviation: deviation.situation)
def test_each_deviation_is_one(deviation):
    assert deviations.shown(deviation.ours) != deviations.shown(deviation.torch)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"examples/[\w./-]+\.(?:png|py)", README))))
def test_named_files_exist(path):
    assert (ROOT / path).stat().st_size > 0


def test_changelog_knows_this_version():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == jaxtrain.__version__
