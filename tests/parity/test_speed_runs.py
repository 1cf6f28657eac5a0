"""Whole runs side by side: what is measured, written and drawn."""

import subprocess
import sys

import numpy as np

from parity.speed.runs import picture, report
from parity.speed.runs.contestants import CONTESTANTS, HAND, PRODUCTS
from parity.speed.runs.fresh import peak
from parity.speed.runs.measure import Fresh, Race, Result
from parity.speed.runs.task import TASKS


def race(task, **seconds):
    """A race of the contestants whose keys are given, with the seconds of an epoch in each round."""
    results = [
        Result(contestant, first=1.0, seconds=seconds[contestant.key.replace("-", "_")])
        for contestant in CONTESTANTS
        if contestant.key.replace("-", "_") in seconds
    ]
    return Race(task, tuple(results))


def test_the_table_has_start_up_and_memory_where_they_were_measured():
    found = race(TASKS[2], jax_step=[0.5, 0.5], fit=[0.25, 0.25], products=[])
    found.results[1].fresh = Fresh(start_up=2.5, peak=300_000_000)
    found.results[2].failure = "ValueError: no"
    by_hand, fit, products = ([text for text, _ in row] for row in report.section([found], "key", "Measured.").rows)
    assert by_hand == ["`train.digits`", "hand-written JAX, steps", "128", "8,192", "1.00", "", "0.5", "", ""]
    assert fit == ["", "jaxtrain, `fit`", "256", "16,384", "2.00", "", "0.75", "2.5", "300 MB"]
    assert products[2:] == ["none: ValueError: no", *[""] * 6]
    assert [found.ratio(result) for result in found.results[:2]] == [1.0, 2.0]
    assert (found.results[0].contestant.key, found.results[2].contestant.key) == (HAND, PRODUCTS)


def test_the_peak_of_a_process_is_not_that_of_the_process_that_started_it():
    kept = np.ones(30_000_000)
    program = "from parity.speed.runs.fresh import peak; print(peak())"
    child = int(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
    assert child < kept.nbytes < peak()


def test_the_picture_has_a_panel_for_each_run_and_a_bar_for_each_contestant(tmp_path):
    races = [race(task, jax_step=[0.5], fit=[0.25], torch=[]) for task in TASKS[:4]]
    path = tmp_path / "runs.svg"
    picture.draw(races, "Measured.", path)
    drawn = path.read_text()
    assert all(f"<!-- {task.name} -->" in drawn for task in TASKS[:4])
    # 64 steps in half a second, in a quarter, and none.
    assert (drawn.count("<!-- 128 -->"), drawn.count("<!-- 256 -->"), drawn.count("<!-- none -->")) == (3, 3, 4)
