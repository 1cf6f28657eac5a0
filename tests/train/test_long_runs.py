"""A long run does not trace a second time, and its memory does not grow."""

import os
from pathlib import Path

import numpy as np
import pytest

from jaxtrain.train import Listener, fit

STATUS = Path("/proc/self/status")


class Memory(Listener):
    """Notes the memory of the process in MiB after each epoch."""

    def __init__(self):
        self.notes = []

    def epoch_ended(self, epoch, entries, state):
        (line,) = (line for line in STATUS.read_text().splitlines() if line.startswith("VmRSS"))
        self.notes.append(int(line.split()[1]) / 1024)


@pytest.mark.long
@pytest.mark.skipif(not STATUS.exists(), reason="reads the memory where Linux writes it")
@pytest.mark.parametrize("steps_per_dispatch", [None, 1])
def test_a_long_run_traces_once_and_does_not_grow(net, steps_per_dispatch):
    """STEPS=100000 for many steps."""
    traced, memory, steps = [], Memory(), int(os.environ.get("STEPS", "10000"))

    def loss_fn(model, batch):
        traced.append(model.drops[0].deterministic)
        return net.loss_fn(model, batch)

    data = tuple(np.repeat(leaf, 20, axis=0) for leaf in net.batch)
    settings = {"batch_size": 8, "epochs": steps // 100, "steps_per_dispatch": steps_per_dispatch, "progress": False}
    state, _ = fit(net.state, loss_fn, data, validation=data, listeners=[memory], **settings)
    assert int(state.step) == steps
    assert sorted(traced) == [False, True]
    first, last = memory.notes[9], memory.notes[-1]
    print(f"{steps} steps: {first:.0f} MiB after 1000, {last:.0f} MiB at the end")
    assert last - first < 4
