"""Whole runs side by side: what is measured, written and drawn."""

import subprocess
import sys

import jax
import numpy as np

from parity.speed.runs import canonical, picture, plain, report
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


def test_a_way_for_one_kind_of_network_trains_no_other():
    names = {"jax-epoch-canonical": ["train.cnn"], "fit": [task.name for task in TASKS]}
    for key, expected in names.items():
        contestant = next(contestant for contestant in CONTESTANTS if contestant.key == key)
        assert [task.name for task in TASKS if contestant.trains(task)] == expected


def test_gradients_in_the_canonical_layout_are_those_of_the_plain_convolution():
    draws = np.random.default_rng(0)

    @jax.jit
    def gradients(kernels, x):
        def of(convolve, stride):
            return lambda kernel, x: (convolve(kernel, x, stride) ** 2).sum()

        return [
            [jax.grad(of(convolve, stride), (0, 1))(kernels[size], x) for size, stride in ((3, 1), (3, 2), (1, 2))]
            for convolve in (canonical.convolve, plain.plain_convolution)
        ]

    kernels = {size: draws.standard_normal((size, size, 2, 3), np.float32) for size in (1, 3)}
    ours, theirs = gradients(kernels, draws.standard_normal((5, 6, 6, 2), np.float32))
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


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
