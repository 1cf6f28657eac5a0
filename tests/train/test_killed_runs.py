"""Processes that are killed, ended by SIGTERM or run out of disk: the run ends with the same bits."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("orbax.checkpoint")

SCRIPT = Path(__file__).with_name("killed.py")


def start(folder, moment):
    """Run the script in a folder until it ends or kills itself; its exit code, and what it printed."""
    folder.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(
        [sys.executable, SCRIPT, folder, moment], env=environment, check=False, stderr=subprocess.PIPE, text=True
    )
    return done.returncode, done.stderr


def assert_same_end(killed, through):
    expected, found = (np.load(folder / "end.npz") for folder in (through, killed))
    assert found.files == expected.files
    assert len(found["epoch"]) == 6
    for name in expected.files:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert (killed / "log.csv").read_text() == (through / "log.csv").read_text()


@pytest.fixture(scope="module")
def through(tmp_path_factory):
    """The folder of a run that nothing interrupts."""
    folder = tmp_path_factory.mktemp("through")
    assert start(folder, "never")[0] == 0
    return folder


@pytest.mark.long
def test_killed_ended_and_without_space_on_the_disk_the_run_ends_with_the_same_bits(through, tmp_path):
    for moment, expected in (
        ("while-saving-0", -signal.SIGKILL),
        ("before-saving-2", -signal.SIGKILL),
        ("terminate-2", 143),
    ):
        assert (moment, start(tmp_path, moment)[0]) == (moment, expected)
        assert not (tmp_path / "end.npz").exists()
    assert (tmp_path / "saved" / "3").exists()
    assert (tmp_path / "saved" / "within").exists()
    code, said = start(tmp_path, "full-3")
    assert code == 0
    assert "saved/5 could not be written" in said
    assert "the run goes on, and older checkpoints stay" in said
    assert_same_end(tmp_path, through)


@pytest.mark.skipif("KILLS" not in os.environ, reason="takes minutes; KILLS=100 sets how many kills")
def test_killed_at_random_moments(through, tmp_path):
    random, kills, runs = np.random.default_rng(), 0, 0
    begin = time.monotonic()
    assert start(tmp_path / "timed", "never")[0] == 0
    seconds = time.monotonic() - begin
    while kills < int(os.environ["KILLS"]):
        runs += 1
        folder, code = tmp_path / str(runs), None
        while code != 0:
            code, _ = start(folder, f"after-{random.uniform(0, seconds):.4f}")
            assert code in (0, -signal.SIGKILL)
            kills += code != 0
        assert_same_end(folder, through)
    print(f"{kills} kills of {runs} runs")
