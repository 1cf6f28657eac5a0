"""One run in two frameworks: stopped half way in PyTorch, finished in jaxtrain, and the other way round.

A network with batch norm trains on scikit-learn's digits with AdamW and a cosine schedule. After half of the epochs
weights, running statistics and moments change the framework. Three loss curves lie on each other: PyTorch all the way,
PyTorch then jaxtrain, jaxtrain then PyTorch.

    python examples/takeover.py

Exits non-zero if a curve in float64 leaves that of PyTorch.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from flax import nnx
from sklearn.datasets import load_digits

from jaxtrain import interop, losses, nn, optim, schedules
from jaxtrain.train import Batches, Listener, TrainState, fit

RATE, BATCH, WIDTH = 1e-2, 64, 64
IMAGES, LABELS = load_digits(return_X_y=True)
DATA = Batches((IMAGES / 16, LABELS), BATCH, shuffle=True, seed=0, drop_last=True)
LIMIT = 1e-9
"""Largest relative difference of two losses in float64."""


class TorchRun:
    """The run in PyTorch, which can be saved after any epoch."""

    def __init__(self, epochs: int) -> None:
        torch.manual_seed(0)
        layers = [torch.nn.Linear(64, WIDTH), torch.nn.BatchNorm1d(WIDTH), torch.nn.Tanh(), torch.nn.Linear(WIDTH, 10)]
        self.model = torch.nn.Sequential(*layers)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=RATE)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, T_max=epochs)

    def train(self, epochs: range) -> list[float]:
        curve = []
        for epoch in epochs:
            for x, y in DATA.epoch(epoch):
                self.optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(
                    self.model(torch.from_numpy(x).to(torch.get_default_dtype())), torch.from_numpy(y).long()
                )
                loss.backward()
                self.optimizer.step()
                curve.append(loss.item())
            self.scheduler.step()
        return curve


class Curve(Listener):
    """Keeps the loss of every step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def took_note(self, step: int, metrics: Mapping[str, list[float]]) -> bool:
        self.losses += metrics["loss"]
        return True


class JaxRun:
    """The same run in jaxtrain."""

    def __init__(self, epochs: int, dtype: str) -> None:
        def linear(inputs: int, outputs: int) -> nn.Linear:
            return nn.Linear(inputs, outputs, param_dtype=dtype, rngs=nnx.Rngs(0))

        layers = [linear(64, WIDTH), nn.BatchNorm(WIDTH, param_dtype=dtype), jnp.tanh, linear(WIDTH, 10)]
        lr = schedules.per_epoch(schedules.cosine_annealing_lr(RATE, T_max=epochs))
        self.loss_fn = lambda model, batch: losses.cross_entropy(model(batch[0]), batch[1])
        self.data = (IMAGES / 16).astype(dtype), LABELS
        self.state = TrainState.create(nnx.Sequential(*layers), optim.adamw(lr))

    def train(self, epochs: range) -> list[float]:
        curve = Curve()
        self.state, _ = fit(
            self.state,
            self.loss_fn,
            self.data,
            start_epoch=epochs.start,
            epochs=epochs.stop,
            batch_size=BATCH,
            drop_last=True,
            listeners=[curve],
            progress=False,
        )
        return curve.losses


def from_torch(theirs: TorchRun, ours: JaxRun) -> JaxRun:
    weights = theirs.model.state_dict()
    state = interop.load_state_dict(ours.state, weights)
    ours.state = interop.load_optimizer(state, theirs.optimizer.state_dict(), weights)
    return ours


def to_torch(ours: JaxRun, theirs: TorchRun, epoch: int) -> TorchRun:
    schedule = interop.scheduler_state_dict(epoch, theirs.scheduler.state_dict())
    theirs.scheduler.load_state_dict(schedule)
    weights = interop.state_dict(ours.state)
    theirs.model.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    names = list(theirs.model.state_dict())
    like = theirs.optimizer.state_dict()
    saved = interop.optimizer_state_dict(ours.state, like, names, lr=schedule["_last_lr"])
    theirs.optimizer.load_state_dict(saved | {"state": jax.tree.map(torch.as_tensor, saved["state"])})
    return theirs


def curves(epochs: int, dtype: str) -> dict[str, np.ndarray]:
    """The loss of every step, of the whole run and of both handovers."""
    first, second = range(epochs // 2), range(epochs // 2, epochs)
    whole = TorchRun(epochs)
    found = {"PyTorch": whole.train(first)}
    found["PyTorch, then jaxtrain"] = found["PyTorch"] + from_torch(whole, JaxRun(epochs, dtype)).train(second)
    found["PyTorch"] = found["PyTorch"] + whole.train(second)

    ours = JaxRun(epochs, dtype)
    ours.state = interop.load_state_dict(ours.state, TorchRun(epochs).model.state_dict())
    begun = ours.train(first)
    found["jaxtrain, then PyTorch"] = begun + to_torch(ours, TorchRun(epochs), len(first)).train(second)
    return {name: np.array(curve) for name, curve in found.items()}


@contextmanager
def precision(dtype: str) -> Iterator[None]:
    torch.set_default_dtype(getattr(torch, dtype))
    with jax.enable_x64(dtype == "float64"):
        yield
    torch.set_default_dtype(torch.float32)


def plot(found: dict[str, np.ndarray], path: Path) -> None:
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    looks = {"PyTorch": ("#e4572e", 5, 0.4), "PyTorch, then jaxtrain": ("#17365c", 2.2, 0.9)}
    for name, curve in found.items():
        color, width, alpha = looks.get(name, ("#3a9d5d", 1, 1))
        axes.plot(curve, color=color, linewidth=width, alpha=alpha, label=name)
    steps = len(found["PyTorch"])
    axes.axvline(steps / 2, color="gray", linewidth=0.8, linestyle=":")
    axes.annotate(
        "handover",
        (steps / 2, 0.97),
        xycoords=("data", "axes fraction"),
        xytext=(4, 0),
        textcoords="offset points",
        va="top",
        color="gray",
    )
    axes.set(yscale="log", xlabel="step", ylabel="training loss", title="One run, two frameworks", xlim=(0, steps))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__ and __doc__.splitlines()[0])
    parser.add_argument(
        "--epochs",
        type=int,
        default=20,
        help="passes over the data, half of them in each framework; default: %(default)s",
    )
    parser.add_argument(
        "--figure",
        type=Path,
        default=Path(__file__).parent / "figures" / "takeover.png",
        help="file for the picture; default: %(default)s",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # matrices of this size are faster so

    differences: dict[str, float] = {}
    print("Largest relative difference of a step's loss from PyTorch's:")
    for dtype in ("float32", "float64"):
        with precision(dtype):
            found = curves(options.epochs, dtype)
        whole = found["PyTorch"]
        differences = {
            name: float(np.max(np.abs(curve / whole - 1))) for name, curve in found.items() if name != "PyTorch"
        }
        print("\n".join(f"  {dtype}  {name}: {difference:.0e}" for name, difference in differences.items()))
        if dtype == "float32":
            plot(found, options.figure)
    print(f"wrote {options.figure}")
    if max(differences.values()) > LIMIT:
        print("FAIL: a curve leaves PyTorch's")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
