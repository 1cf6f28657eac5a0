"""What README and docs say is true: their code runs, their tables and figures are those of this version."""

import contextlib
import doctest
import importlib
import io
import re
import runpy
from pathlib import Path

import pytest

from parity import deviations
from parity.cases import all_cases
from parity.report import begin_marker, end_marker
from parity.torch_inputs.runner import usual_names

# The pages are run as readers run them.
pytestmark = pytest.mark.usefixtures("promotion")

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
PAGES = sorted((ROOT / "docs").glob("*.md"))

BLOCK = re.compile(
    r"(?P<mark><!-- not run: .+? -->\n)?```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<printed>.*?)```\n)?", re.DOTALL
)


def run_blocks(text, file, names):
    """Run the Python blocks of a page one after the other in one namespace; a `text` block shows what they print."""
    for found in BLOCK.finditer(text):
        if found["mark"]:
            continue
        above = text[: found.start("code")].count("\n")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            # Blank lines in front: a traceback shows the line of the page.
            exec(compile("\n" * above + found["code"], file, "exec"), names)
        expected = found["printed"] or ""
        same = doctest.OutputChecker().check_output(expected, printed.getvalue(), doctest.ELLIPSIS)
        assert same, f"{file}:{above + 1} prints\n{printed.getvalue()}instead of\n{expected}"


LONG = {"training", "steps", "tuning", "diff", "scaling"}
"""Pages whose code takes seconds."""


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, id=path.stem, marks=pytest.mark.long if path.stem in LONG else [])
        for path in PAGES
        if "```python" in path.read_text()
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_code_of_the_page_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_blocks(path.read_text(), str(path), {"__name__": "__main__"})


def test_a_page_that_prints_something_else_fails():
    page = "```python\nprint(1)\n```\n\n```text\n{}\n```\n"
    run_blocks(page.format("1"), "page.md", {})
    with pytest.raises(AssertionError, match=r"page.md:2 prints\s+1\s+instead of\s+2"):
        run_blocks(page.format("2"), "page.md", {})
    with pytest.raises(AssertionError, match="instead of"):
        run_blocks("```python\nprint(1)\n```\n", "page.md", {})
    with pytest.raises(ZeroDivisionError):
        run_blocks("```python\n1 / 0\n```\n", "page.md", {})


def recipe(first_line):
    """The block of the README that begins so, with two epochs."""
    found = re.search(rf"```python\n{re.escape(first_line)}\n(.*?)```", README, re.DOTALL)
    assert found, f"README has no block that begins with {first_line!r}"
    return found[1].replace("range(30)", "range(2)").replace("epochs=30", "epochs=2")


RECIPES = ("# The data", "# PyTorch", "# jaxtrain")


def pasted(*first_lines):
    """The names that the blocks of the README leave, pasted one after the other into an empty session."""
    names = {}
    for first_line in first_lines:
        exec(recipe(first_line), names)
    return names


def test_the_readme_has_no_other_code():
    assert re.findall(r"```python\n(.*)\n", README) == list(RECIPES)


def test_torch_recipe_runs():
    import torch

    torch.manual_seed(0)
    names = pasted("# The data", "# PyTorch")
    assert names["scheduler"].last_epoch == 2
    assert float(names["loss"].detach()) < 1.5


def test_jaxtrain_recipe_runs():
    names = pasted(*RECIPES)
    assert names["history"]["loss"][-1] < 1.0
    assert int(names["state"].step) == 2 * 29
    assert names["history"]["lr"] == [pytest.approx(0.1)] * 2


def test_both_recipes_are_short():
    for first in ("# PyTorch", "# jaxtrain"):
        lines = [line for line in recipe(first).splitlines() if line.strip()]
        assert 10 <= len(lines) <= 20


def test_readme_is_short():
    assert len(README.splitlines()) <= 150


def section(page, name):
    text = (ROOT / "docs" / page).read_text()
    assert begin_marker(name) in text
    return text.partition(begin_marker(name))[2].partition(end_marker(name))[0].lstrip("\n")


def test_parity_table_is_that_of_this_version():
    """The table has a row for every component, with its cases and planted defects."""
    table = section("parity.md", "parity")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| `")]
    written = {row[0].strip("`"): (row[1], row[-1]) for row in rows}
    current = {}
    for component in dict.fromkeys(case.component for case in all_cases()):
        members = [case for case in all_cases() if case.component == component]
        defects = sum(len(case.defects) for case in members)
        current[component] = (str(len(members)), f"{defects}/{defects}")
    assert written == current, "refresh it: python -m parity run --markdown docs"


def test_accuracy_table_is_that_of_this_version():
    """The table has rows for every component, and the summary counts what is over the limit."""
    table = section("accuracy.md", "accuracy")
    rows = re.findall(r"^\| `([\w.]+)` \| .+? \| (.+) \|$", table, re.MULTILINE)
    expected = list(dict.fromkeys(case.component for case in all_cases()))
    assert list(dict.fromkeys(component for component, _ in rows)) == expected, (
        "refresh it: python -m parity accuracy --markdown docs"
    )
    largest = max(float(ratio) for _, cells in rows for ratio in re.findall(r"\*\*([\d.]+)\*\*", cells))
    assert f"the largest ratio is {largest:.2f}" in table


def test_figures_of_the_readme_are_those_of_the_table():
    cases, components = len(all_cases()), len({case.component for case in all_cases()})
    defects = sum(len(case.defects) for case in all_cases())
    assert f"{cases}/{cases} cases of {components} components passed, {defects}/{defects}" in section(
        "parity.md", "parity"
    )
    assert f"\n{cases} cases of {components} components pass" in README
    assert f"all of {defects} planted defects" in README


def test_torch_inputs_table_is_that_of_this_version():
    """The table has a row for every component; the page says how many inputs miss, and all that can be rejected is."""
    rows = re.findall(
        r"^\| `(\S+)` \| " + r" \| ".join([r"(\d+)"] * 6), section("torch-inputs.md", "databases"), re.MULTILINE
    )
    assert [name for name, *_ in rows] == usual_names(), "refresh it: python -m parity inputs --markdown docs"
    missed = total = 0
    for _, inputs, run, matched, errors, rejected, without in (row[:1] + tuple(map(int, row[1:])) for row in rows):
        assert matched <= run <= inputs
        assert rejected + without == errors
        missed, total = missed + run - matched, total + run
    assert f"The {missed} of {total:,} inputs that do not match" in (ROOT / "docs/torch-inputs.md").read_text()


@pytest.mark.long
def test_deviations_are_measured_and_current():
    assert section("deviations.md", "deviations") == deviations.markdown(), (
        "refresh it: python -m parity run --markdown docs"
    )


@pytest.mark.parametrize("deviation", deviations.DEVIATIONS, ids=lambda deviation: deviation.situation)
def test_each_deviation_is_one(deviation):
    assert deviations.shown(deviation.ours) != deviations.shown(deviation.torch)


def links(text):
    """The files that a page links to or names as examples."""
    found = re.findall(r"\]\((?!http)([^)#]+)(?:#[^)]*)?\)", text)
    return sorted(set(found) | set(re.findall(r"examples/[\w./-]+\.(?:png|py)", text)))


@pytest.mark.parametrize("name", links(README))
def test_files_that_the_readme_names_exist(name):
    assert (ROOT / name).stat().st_size > 0


@pytest.mark.parametrize("page", sorted((ROOT / "docs/reference").glob("*.md")), ids=lambda page: page.stem)
def test_reference_shows_everything_public(page, monkeypatch):
    monkeypatch.chdir(ROOT)
    package = importlib.import_module(re.search("::: (.+)", page.read_text())[1])
    shown = runpy.run_path(str(ROOT / "docs/_reference.py"))["on_page_markdown"](page.read_text())
    files = {value.__module__ for name, value in vars(package).items() if callable(value) and name[0] != "_"}
    files = {file for file in files if file.startswith("jaxtrain.")} or {package.__name__}
    assert files <= set(re.findall("^::: (.+)$", shown, re.MULTILINE))


def test_changelog_knows_this_version():
    sources = (ROOT / "pyproject.toml").read_text() + (ROOT / "jaxtrain/__init__.py").read_text()
    version = re.search(r'^_*version_* = "(.*)"', sources, re.MULTILINE)[1]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest[1] == version
