"""Several processes that train together end where one does, and where PyTorch's DistributedDataParallel does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jaxtrain import interop, losses, nn, optim
from jaxtrain.train import Placement, TrainState, make_train_step

pytest.importorskip("orbax.checkpoint")
HERE = Path(__file__).parent


def start(script, process, processes, port, folder):
    command = [sys.executable, HERE / script, str(process), str(processes), str(port), str(folder)]
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(*running):
    try:
        for process in running:
            said, _ = process.communicate(timeout=240)
            assert process.returncode == 0, said[-3000:]
    finally:
        for process in running:
            process.kill()


def free_port():
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return found.getsockname()[1]


@pytest.mark.long
def test_two_processes_end_where_one_does(tmp_path):
    port = free_port()
    finish(
        *(start("one_process.py", process, 2, port, tmp_path) for process in range(2)),
        start("one_process.py", 0, 1, 0, tmp_path),
    )
    one, two = (np.load(tmp_path / f"{processes}.npz") for processes in (1, 2))
    assert set(one) == set(two)
    for name in one:
        np.testing.assert_allclose(two[name], one[name], rtol=1e-12, atol=1e-14, err_msg=name)
    assert len((tmp_path / "2.csv").read_text().splitlines()) == 3


@pytest.mark.long
def test_two_processes_of_ddp_with_synchronized_batch_norm_end_where_eight_devices_do(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 16, 4))
    y = x.argmax(-1)
    # A bias before a batch norm has a gradient of rounding errors alone, which AdamW would turn into steps.
    layers = [torch.nn.Linear(4, 16, bias=False), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 4)]
    module = torch.nn.Sequential(*layers).double()
    np.savez(tmp_path / "ddp_input.npz", x=x, y=y, **module.state_dict())
    port = free_port()
    running = [start("ddp_process.py", process, 2, port, tmp_path) for process in range(2)]
    with jax.enable_x64(True):
        rngs = nnx.Rngs(0)
        first = nn.Linear(4, 16, bias=False, param_dtype=jnp.float64, rngs=rngs)
        second = nn.Linear(16, 4, param_dtype=jnp.float64, rngs=rngs)
        model = nnx.Sequential(first, nn.BatchNorm(16, param_dtype=jnp.float64), nnx.relu, second)
        interop.load_state_dict(model, module.state_dict())
        placement = Placement(fully_sharded="data", min_size=1)
        state = placement.put(TrainState.create(model, optim.adamw(0.01)))
        step = make_train_step(
            lambda model, batch: losses.cross_entropy(model(batch[0]), batch[1]), placement=placement
        )
        for batch in zip(x, y, strict=True):
            state, _ = step(state, placement.put_batch(batch))
        found = interop.state_dict(state.model())
    finish(*running)
    expected = np.load(tmp_path / "ddp.npz")
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-12, atol=1e-14, err_msg=name)
