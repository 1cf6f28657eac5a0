"""Fixtures for parity checks in other projects: put `pytest_plugins = ["parity.pytest_plugin"]` into conftest.py.

`port` compares a port with PyTorch's model, `golden` with what PyTorch computed earlier. Both fail a test with the
report of the diff. `pytest --record-goldens` writes the goldens, which needs PyTorch; without it, they are only read.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from parity.diff.golden import check
from parity.diff.report import Report


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("parity")
    group.addoption("--record-goldens", action="store_true", help="write the goldens instead of reading them")
    group.addoption("--parity-reports", type=Path, metavar="DIR", help="write each diff as HTML and JSON into DIR")


@pytest.fixture
def port(request: pytest.FixtureRequest) -> Callable[..., Report]:
    """`parity.diff.compare`, which fails the test if the port differs."""

    def compared(*args: Any, **kwargs: Any) -> Report:
        from parity.diff.comparison import compare

        return _judged(request, compare(*args, **kwargs))

    return compared


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[..., Report]:
    """`golden(path, model, record, **options)`: `parity.diff.check`, which fails the test if the port differs.

    `record` is a function of the path that calls `parity.diff.record`; it runs under `--record-goldens` alone. The path
    is relative to the file of the test.
    """

    def checked(path: str, model: Any, record: Callable[[Path], None], **options: Any) -> Report:
        place = request.path.parent / path
        if request.config.getoption("record_goldens"):
            place.parent.mkdir(parents=True, exist_ok=True)
            record(place)
            if not place.exists():
                pytest.fail(
                    f"golden: expected `record` to write {place}, found no file; call diff.record in it with the path "
                    "that it is given",
                    pytrace=False,
                )
        if not place.exists():
            pytest.fail(
                f"golden: expected the file {place}, found none; record it: pytest --record-goldens", pytrace=False
            )
        return _judged(request, check(place, model, **options))

    return checked


def _judged(request: pytest.FixtureRequest, report: Report) -> Report:
    if folder := request.config.getoption("parity_reports"):
        from parity.diff.html import as_html

        folder.mkdir(parents=True, exist_ok=True)
        name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
        (folder / f"{name}.html").write_text(as_html(report, request.node.name))
        (folder / f"{name}.json").write_text(report.as_json())
    if not report.same:
        pytest.fail(str(report), pytrace=False)
    return report
