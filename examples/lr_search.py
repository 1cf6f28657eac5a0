"""A learning-rate search in one compiled program: 64 rates trained at once.

The train step of jaxtrain is a pure function of a pytree, and the learning rate can live in that pytree. So the search
is `jax.vmap` over the rate, around a `lax.scan` over the batches. The same runs, one after the other, in jaxtrain and
in PyTorch, tell what that is worth.

    python examples/lr_search.py

Prints the table of rates and the measured times, writes the picture, and exits non-zero if the best rate stays below
96 % on the validation digits or if the loop over the rates does not find the same accuracies.
"""

import argparse
import dataclasses
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import optax
import torch
from flax import nnx
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from jaxtrain import losses, nn, optim
from jaxtrain.train import Batches, TrainState, make_eval_step, make_train_step

EPOCHS, BATCH, WIDTH, MOMENTUM = 10, 64, 64, 0.9


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden, self.norm = nn.Linear(64, WIDTH, rngs=rngs), nn.BatchNorm(WIDTH)
        self.out = nn.Linear(WIDTH, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(jax.nn.relu(self.norm(self.hidden(x))))


def loss_fn(model: Net, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
    images, labels = batch
    return losses.cross_entropy(model(images), labels)


def accuracy_fn(model: Net, batch: tuple[jax.Array, jax.Array]) -> dict[str, jax.Array]:
    images, labels = batch
    return {"accuracy": model(images).argmax(axis=-1) == labels}


train_step, eval_step = make_train_step(loss_fn), make_eval_step(accuracy_fn)


def with_rate(state: TrainState, lr: jax.Array) -> TrainState:
    """The state, with another learning rate in it."""
    injected = state.opt_state
    return dataclasses.replace(state, opt_state=injected._replace(hyperparams={**injected.hyperparams, "lr": lr}))


def accuracy_of(lr: jax.Array, state: TrainState, batches, validation) -> jax.Array | float:
    """Train from `state` with this rate over all batches; the accuracy on the validation data."""
    state, _ = jax.lax.scan(train_step, with_rate(state, lr), batches)
    return eval_step(state, validation)["accuracy"].value


search = jax.jit(jax.vmap(accuracy_of, in_axes=(0, None, None, None)))
single = jax.jit(accuracy_of)


def stepwise_accuracy_of(lr: jax.Array, state: TrainState, batches, validation) -> jax.Array | float:
    """The same run as most people write it: a call of the compiled step for each batch."""
    state = with_rate(jax.tree.map(jnp.copy, state), jnp.copy(lr))
    for batch in batches:
        state, _ = train_step(state, batch)
    return eval_step(state, validation)["accuracy"].value


def torch_accuracy_of(lr: float, batches: list[tuple[torch.Tensor, torch.Tensor]], validation) -> float:
    """The same run in PyTorch."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(64, WIDTH), torch.nn.BatchNorm1d(WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=MOMENTUM)
    for images, labels in batches:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        return (model(validation[0]).argmax(dim=1) == validation[1]).float().mean().item()


def timed(function: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    start = time.perf_counter()
    result = function()
    return result, time.perf_counter() - start


def plot(rates: np.ndarray, accuracies: dict[str, np.ndarray], path: Path) -> None:
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(
        rates, 100 * accuracies["PyTorch"], "o", color="#e4572e", markersize=4, alpha=0.6, label="PyTorch, one by one"
    )
    axes.plot(rates, 100 * accuracies["jaxtrain"], "-", color="#17365c", label=f"jaxtrain, {len(rates)} at once")
    best = int(np.argmax(accuracies["jaxtrain"]))
    axes.axvline(rates[best], color="#3a9d5d", linewidth=1, linestyle="--", label=f"best: {rates[best]:.2g}")
    axes.set(
        xscale="log", xlabel="learning rate", ylabel="validation accuracy, %", ylim=(0, 102),
        title=f"{len(rates)} learning rates, {EPOCHS} epochs of digits each",
    )  # fmt: skip
    axes.legend(frameon=False, loc="center", bbox_to_anchor=(0.69, 0.45))
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__ and __doc__.splitlines()[0])
    parser.add_argument("--rates", type=int, default=64, help="how many, from 1e-5 to 10")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is timed")
    parser.add_argument("--figure", type=Path, default=Path(__file__).parent / "figures" / "lr_search.png")
    options = parser.parse_args(arguments)

    torch.set_num_threads(1)  # matrices of this size are faster so
    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16).astype(np.float32), labels.astype(np.int32)
    x, x_valid, y, y_valid = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    data = Batches((x, y), BATCH, shuffle=True, seed=0, drop_last=True)
    batches = [batch for epoch in range(EPOCHS) for batch in data.epoch(epoch)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *batches)
    validation = jnp.asarray(x_valid), jnp.asarray(y_valid)
    torch_batches = [(torch.tensor(x), torch.tensor(y, dtype=torch.long)) for x, y in batches]
    torch_validation = torch.tensor(x_valid), torch.tensor(y_valid, dtype=torch.long)

    optimizer = optax.inject_hyperparams(lambda lr: optim.sgd(lr, momentum=MOMENTUM))(lr=0.1)
    state = TrainState.create(Net(nnx.Rngs(0)), optimizer)
    rates = np.logspace(-5, 1, options.rates)
    rates32 = jnp.asarray(rates, jnp.float32)

    runs: dict[str, Callable[[], np.ndarray]] = {
        "jaxtrain": lambda: np.asarray(search(rates32, state, stacked, validation)),
        "scan": lambda: np.array([single(lr, state, stacked, validation) for lr in rates32]),
        "loop": lambda: np.array([stepwise_accuracy_of(lr, state, batches, validation) for lr in rates32]),
        "PyTorch": lambda: np.array([torch_accuracy_of(lr, torch_batches, torch_validation) for lr in rates]),
    }
    first = {name: timed(run)[1] for name, run in runs.items() if name != "PyTorch"}
    results, seconds = {}, {name: [] for name in runs}
    for _ in range(options.rounds):
        for name, run in runs.items():
            results[name], elapsed = timed(run)
            seconds[name].append(elapsed)

    print("learning rate   jaxtrain   PyTorch")
    for rate, ours, theirs in zip(rates, results["jaxtrain"], results["PyTorch"], strict=True):
        print(f"{rate:13.2e}   {ours:8.1%}   {theirs:7.1%}{'   <- best' if ours == results['jaxtrain'].max() else ''}")
    median = {name: statistics.median(times) for name, times in seconds.items()}
    compiling = first["jaxtrain"] - median["jaxtrain"]
    runs_text = f"{len(rates)} runs of {len(batches)} steps"
    print(f"\n{runs_text}, median of {options.rounds} alternating rounds on {jax.default_backend()}:")
    print(f"  jaxtrain, all at once      {median['jaxtrain']:7.2f} s   (and {compiling:.1f} s to compile, once)")
    labels_of = {
        "scan": "jaxtrain, a program a run",
        "loop": "jaxtrain, a call a step",
        "PyTorch": "PyTorch, one by one",
    }
    for name, label in labels_of.items():
        print(
            f"  {label.ljust(26)} {median[name]:7.2f} s   all at once is {median[name] / median['jaxtrain']:.1f} times "
            f"as fast, {median[name] / (median['jaxtrain'] + compiling):.1f} times with its compilation"
        )
    plot(rates, results, options.figure)
    print(f"wrote {options.figure}")
    # Batched and single matrix products round differently, which may move an image or two across the border.
    same = np.abs(results["jaxtrain"] - results["scan"]).max() <= 0.02
    return 0 if results["jaxtrain"].max() >= 0.96 and same else 1


if __name__ == "__main__":
    sys.exit(main())
