"""The same training in PyTorch and in jaxtrain: do the loss curves lie on each other?

Both networks start from the same weights and see the same batches of scikit-learn's digits and the same dropout
masks; batch norm is on; Adam trains 20 epochs. Each framework runs in float32 and in float64, from several initial
weights: in float64 the curves agree, so what remains in float32 is rounding. It stays small until it tips an activation
over the edge of its ReLU; from there on two runs part, PyTorch from itself as well as from us. With a smooth activation
no run parts.

    python examples/twin.py
    python examples/twin.py --activation tanh

Exits non-zero if the float64 curves are not the same or the float32 ones part in the first epoch.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from flax import nnx
from sklearn.datasets import load_digits

from jaxtrain import interop, losses, nn, optim
from jaxtrain.train import Batches, TrainState, make_train_step

WIDTH, KEEP, RATE, BATCH = 128, 0.8, 1e-3, 64


def batches(epochs: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Images, labels, and the scaled dropout masks of both hidden layers."""
    images, labels = load_digits(return_X_y=True)
    data = Batches(((images / 16).astype(np.float32), labels.astype(np.int32)), BATCH, shuffle=True, seed=0)
    random = np.random.default_rng(0)
    for epoch in range(epochs):
        for x, y in data.epoch(epoch):
            masks = (random.random((2, len(x), WIDTH)) < KEEP).astype(np.float32) / np.float32(KEEP)
            yield x, y, *masks


class TorchNet(torch.nn.Module):
    def __init__(self, activation: str) -> None:
        super().__init__()
        self.activation = getattr(torch, activation)
        self.hidden1, self.norm1 = torch.nn.Linear(64, WIDTH), torch.nn.BatchNorm1d(WIDTH)
        self.hidden2, self.norm2 = torch.nn.Linear(WIDTH, WIDTH), torch.nn.BatchNorm1d(WIDTH)
        self.out = torch.nn.Linear(WIDTH, 10)

    def forward(self, x: torch.Tensor, mask1: torch.Tensor, mask2: torch.Tensor) -> torch.Tensor:
        x = self.activation(self.norm1(self.hidden1(x))) * mask1
        x = self.activation(self.norm2(self.hidden2(x))) * mask2
        return self.out(x)


class Net(nnx.Module):
    def __init__(self, activation: str, rngs: nnx.Rngs) -> None:
        self.activation = getattr(jax.nn, activation)
        self.hidden1, self.norm1 = nn.Linear(64, WIDTH, rngs=rngs), nn.BatchNorm(WIDTH)
        self.hidden2, self.norm2 = nn.Linear(WIDTH, WIDTH, rngs=rngs), nn.BatchNorm(WIDTH)
        self.out = nn.Linear(WIDTH, 10, rngs=rngs)

    def __call__(self, x: jax.Array, mask1: jax.Array, mask2: jax.Array) -> jax.Array:
        x = self.activation(self.norm1(self.hidden1(x))) * mask1
        x = self.activation(self.norm2(self.hidden2(x))) * mask2
        return self.out(x)


def loss_fn(model: Net, batch: tuple[jax.Array, ...]) -> jax.Array:
    x, y, *masks = batch
    return losses.cross_entropy(model(x, *masks), y)


def new_twin(seed: int, activation: str) -> TorchNet:
    torch.manual_seed(seed)
    return TorchNet(activation)


def train_torch(dtype: str, seed: int, epochs: int, activation: str) -> np.ndarray:
    """The loss of every step in PyTorch."""
    kind = getattr(torch, dtype)
    model = new_twin(seed, activation).to(kind)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    curve = []
    for x, y, *masks in batches(epochs):
        optimizer.zero_grad()
        logits = model(torch.tensor(x).to(kind), *(torch.tensor(mask).to(kind) for mask in masks))
        loss = torch.nn.functional.cross_entropy(logits, torch.tensor(y, dtype=torch.long))
        loss.backward()
        optimizer.step()
        curve.append(loss.item())
    return np.array(curve)


def jaxtrain_runs(dtype: str, seeds: range, epochs: int, activation: str) -> list[np.ndarray]:
    """The same in jaxtrain, for all seeds: one compiled step serves them."""

    def cast(leaf: jax.Array) -> jax.Array:
        return jnp.array(leaf, dtype if jnp.issubdtype(leaf.dtype, jnp.floating) else None)

    curves = []
    with jax.enable_x64(dtype == "float64"):
        fresh = jax.tree.map(cast, TrainState.create(Net(activation, nnx.Rngs(0)), optim.adam(RATE)))
        step = make_train_step(loss_fn)
        for seed in seeds:
            state = interop.load_state_dict(jax.tree.map(jnp.copy, fresh), new_twin(seed, activation).state_dict())
            curve = []
            for x, y, *masks in batches(epochs):
                state, metrics = step(state, (x.astype(dtype), y, *(mask.astype(dtype) for mask in masks)))
                curve.append(metrics["loss"].value)
            curves.append(np.array(jax.device_get(curve), np.float64))
    return curves


def per_epoch(curve: np.ndarray, epochs: int) -> np.ndarray:
    return curve.reshape(epochs, -1).mean(axis=1)


def largest_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Relative to the second curve."""
    return float(np.max(np.abs(a - b) / b))


def plot(curves: dict[str, np.ndarray], epochs: int, path: Path) -> None:
    mpl.use("Agg")
    steps = len(curves["PyTorch float32"])
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 6), sharex=True, height_ratios=[3, 2], layout="constrained")
    top.plot(curves["PyTorch float32"], color="#e4572e", linewidth=4, alpha=0.45, label="PyTorch")
    top.plot(curves["jaxtrain float32"], color="#17365c", linewidth=1, label="jaxtrain")
    top.set(yscale="log", ylabel="training loss, every step", title="One recipe, two frameworks, one curve")
    top.legend(frameon=False)
    truth = curves["PyTorch float64"]
    for name, color in (
        ("PyTorch float32", "#e4572e"),
        ("jaxtrain float32", "#17365c"),
        ("jaxtrain float64", "#3a9d5d"),
    ):
        distance = np.maximum(np.abs(curves[name] - truth) / truth, 1e-17)
        bottom.plot(distance, color=color, linewidth=0.8, label=name)
    bottom.set(
        yscale="log", xlabel=f"step ({steps // epochs} an epoch)", ylabel="relative distance from\nPyTorch float64"
    )
    bottom.legend(frameon=False, ncols=3, loc="center right")
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        axes.set_xlim(0, steps)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__ and __doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20, help="passes over the data; default: %(default)s")
    parser.add_argument(
        "--seeds", type=int, default=5, help="number of initial weights to train from; default: %(default)s"
    )
    parser.add_argument(
        "--activation", choices=("relu", "tanh"), default="relu", help="of the hidden layers; default: %(default)s"
    )
    parser.add_argument(
        "--show", type=int, default=3, help="the seed whose curves are printed and drawn; default: %(default)s"
    )
    parser.add_argument(
        "--figure",
        type=Path,
        default=Path(__file__).parent / "figures" / "twin.png",
        help="file for the picture; default: %(default)s",
    )
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # matrices of this size are faster so
    seeds = range(options.seeds)

    runs = {}
    for dtype in ("float32", "float64"):
        runs[f"PyTorch {dtype}"] = [train_torch(dtype, seed, options.epochs, options.activation) for seed in seeds]
        runs[f"jaxtrain {dtype}"] = jaxtrain_runs(dtype, seeds, options.epochs, options.activation)
    epochs = {name: [per_epoch(curve, options.epochs) for curve in curves] for name, curves in runs.items()}

    shown = options.show if options.show in seeds else 0
    print(f"Seed {shown}, mean loss of each epoch, float32:\nepoch  PyTorch     jaxtrain    relative difference")
    for number, (theirs, ours) in enumerate(
        zip(epochs["PyTorch float32"][shown], epochs["jaxtrain float32"][shown], strict=True)
    ):
        print(f"{number:5}  {theirs:.7f}  {ours:.7f}  {abs(ours - theirs) / theirs:.1e}")

    print(
        "\nLargest relative difference of an epoch's mean loss, by seed:".ljust(62) + "  ".join(f"{s:7}" for s in seeds)
    )
    for a, b in (
        ("jaxtrain float32", "PyTorch float32"),
        ("jaxtrain float32", "PyTorch float64"),
        ("PyTorch float32", "PyTorch float64"),
        ("jaxtrain float64", "PyTorch float64"),
    ):
        differences = [largest_difference(x, y) for x, y in zip(epochs[a], epochs[b], strict=True)]
        print(f"  {a} from {b}".ljust(61) + "  ".join(f"{value:7.0e}" for value in differences))
    plot({name: curves[shown] for name, curves in runs.items()}, options.epochs, options.figure)
    print(f"\nwrote {options.figure}")

    same_formula = all(map(close(1e-9), epochs["jaxtrain float64"], epochs["PyTorch float64"]))
    same_start = all(
        close(1e-6)(a[:1], b[:1]) for a, b in zip(epochs["jaxtrain float32"], epochs["PyTorch float32"], strict=True)
    )
    if not (same_formula and same_start):
        print("FAIL: the curves are further apart than rounding explains")
        return 1
    return 0


def close(limit: float) -> Callable[[np.ndarray, np.ndarray], bool]:
    return lambda a, b: largest_difference(a, b) <= limit


if __name__ == "__main__":
    sys.exit(main())
