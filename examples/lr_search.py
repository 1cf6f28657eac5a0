"""A learning-rate search in one compiled program: 32 rates trained at once.

    python examples/lr_search.py
    python examples/lr_search.py --cpu-devices 2      the runs are spread over two devices of the CPU

Trains the same runs with `tune.sweep`, with the same idea written by hand, and one by one in PyTorch, in alternating
rounds, and validates them after every epoch. Prints the table of rates and the measured times, writes the picture, and
exits non-zero if the best rate stays below 96 % on the validation digits or if the hand-written program finds other
accuracies.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import optax
import torch
from flax import nnx
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from jaxtrain import losses, nn, optim, tune
from jaxtrain.train import Batches, TrainState

EPOCHS, BATCH, WIDTH, MOMENTUM = 10, 64, 64, 0.9
Data = tuple[Any, Any]


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden, self.norm = nn.Linear(64, WIDTH, rngs=rngs), nn.BatchNorm(WIDTH)
        self.out = nn.Linear(WIDTH, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(jax.nn.relu(self.norm(self.hidden(x))))


def loss_fn(model: Net, batch: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    images, labels = batch
    logits = model(images)
    return losses.cross_entropy(logits, labels), {"accuracy": logits.argmax(axis=-1) == labels}


def recipe(lr: jax.Array) -> tuple[TrainState, Callable]:
    return TrainState.create(Net(nnx.Rngs(0)), optim.sgd(lr, momentum=MOMENTUM)), loss_fn


def swept(rates: np.ndarray, data: Data, validation: Data) -> np.ndarray:
    """The accuracy of each rate on the validation digits."""
    outcome = tune.sweep(
        recipe, {"lr": rates}, data, epochs=EPOCHS, batch_size=BATCH, drop_last=True,
        validation=validation, metric="val_accuracy",
    )  # fmt: skip
    return outcome.last


@jax.jit
def _by_hand(
    rates: jax.Array, batches: tuple[jax.Array, jax.Array], validation: tuple[jax.Array, jax.Array]
) -> jax.Array:
    graph, params, others = nnx.split(Net(nnx.Rngs(0)), nnx.Param, ...)

    def one(rate: jax.Array) -> jax.Array:
        optimizer = optax.sgd(rate, momentum=MOMENTUM)

        def step(carry, batch):
            params, others, opt_state = carry

            def loss_of(params):
                model = nnx.merge(graph, params, others, copy=True)
                images, labels = batch
                loss = optax.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()
                return loss, nnx.state(model, nnx.Not(nnx.Param))

            (_, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
            updates, opt_state = optimizer.update(gradients, opt_state)
            return (optax.apply_updates(params, updates), others, opt_state), None

        def epoch(carry, batches):
            carry, _ = jax.lax.scan(step, carry, batches)
            model = nnx.merge(graph, carry[0], carry[1], copy=True)
            model.eval()
            return carry, (model(validation[0]).argmax(axis=-1) == validation[1]).mean()

        return jax.lax.scan(epoch, (params, others, optimizer.init(params)), batches)[1]

    # The runs are spread over all devices, as `sweep` does.
    mesh = Mesh(np.array(jax.devices()), "runs")
    return jax.shard_map(jax.vmap(one), mesh=mesh, in_specs=P("runs"), out_specs=P("runs"), check_vma=False)(rates)


def by_hand(rates: np.ndarray, data: Data, validation: Data) -> np.ndarray:
    """The same program without jaxtrain's `tune` and `train`."""
    batches = Batches(data, BATCH, shuffle=True, drop_last=True)
    steps = [batch for epoch in range(EPOCHS) for batch in batches.epoch(epoch)]
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves).reshape(EPOCHS, -1, *leaves[0].shape), *steps)
    return np.asarray(_by_hand(jnp.asarray(rates, jnp.float32), stacked, validation))[:, -1]


def one_by_one(rates: np.ndarray, data: Data, validation: Data) -> np.ndarray:
    """The same runs in PyTorch."""
    batches = Batches(data, BATCH, shuffle=True, drop_last=True)
    epochs = [
        [(torch.tensor(images), torch.tensor(labels, dtype=torch.long)) for images, labels in batches.epoch(epoch)]
        for epoch in range(EPOCHS)
    ]
    return np.array([_torch_accuracies(rate, epochs, tuple(map(torch.tensor, validation)))[-1] for rate in rates])


def _torch_accuracies(
    lr: float, epochs: list[list[tuple[torch.Tensor, ...]]], validation: tuple[torch.Tensor, ...]
) -> list[float]:
    """The accuracy on the validation digits after each epoch."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Linear(64, WIDTH), torch.nn.BatchNorm1d(WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), lr, momentum=MOMENTUM)
    accuracies = []
    for batches in epochs:
        model.train()
        for images, labels in batches:
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(images), labels).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            accuracies.append((model(validation[0]).argmax(dim=1) == validation[1]).float().mean().item())
    return accuracies


def plot(rates: np.ndarray, accuracies: dict[str, np.ndarray], path: Path) -> None:
    mpl.use("Agg")
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(
        rates, 100 * accuracies["PyTorch"], "o", color="#e4572e", markersize=4, alpha=0.6, label="PyTorch, one by one"
    )
    axes.plot(rates, 100 * accuracies["tune.sweep"], "-", color="#17365c", label=f"jaxtrain, {len(rates)} at once")
    best = int(np.argmax(accuracies["tune.sweep"]))
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
    parser.add_argument(
        "--rates", type=int, default=32, help="number of learning rates, from 1e-5 to 10; default: %(default)s"
    )
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is timed; default: %(default)s")
    parser.add_argument(
        "--figure",
        type=Path,
        default=Path(__file__).parent / "figures" / "lr_search.png",
        help="file for the picture; default: %(default)s",
    )
    parser.add_argument("--cpu-devices", type=int, help="spread the runs over so many devices of the CPU; default: one")
    options = parser.parse_args(arguments)
    if options.cpu_devices:
        jax.config.update("jax_num_cpu_devices", options.cpu_devices)

    torch.set_num_threads(1)  # matrices of this size are faster so
    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16).astype(np.float32), labels.astype(np.int32)
    x, x_valid, y, y_valid = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)
    rates = np.geomspace(1e-5, 10, options.rates)

    runs = {"tune.sweep": swept, "by hand": by_hand, "PyTorch": one_by_one}
    found, seconds, processor = {}, {name: [] for name in runs}, {name: [] for name in runs}
    for _ in range(1 + options.rounds):
        for name, run in runs.items():
            start, used = time.perf_counter(), time.process_time()
            found[name] = run(rates, (x, y), (x_valid, y_valid))
            seconds[name].append(time.perf_counter() - start)
            processor[name].append(time.process_time() - used)

    print("learning rate   jaxtrain   PyTorch")
    best = found["tune.sweep"].max()
    for rate, ours, theirs in zip(rates, found["tune.sweep"], found["PyTorch"], strict=True):
        print(f"{rate:13.2e}   {ours:8.1%}   {theirs:7.1%}{'   <- best' if ours == best else ''}")
    print(
        f"\n{len(rates)} runs of {EPOCHS} epochs, median of {options.rounds} alternating rounds, on "
        f"{jax.local_device_count()} {jax.default_backend()} device(s):"
    )
    median = {name: statistics.median(times[1:]) for name, times in seconds.items()}
    for name in runs:
        print(
            f"  {name.ljust(10)} {median[name]:6.3f} s ({statistics.median(processor[name][1:]):.3f} s of all cores), "
            f"{median['PyTorch'] / median[name]:4.1f} times as fast as PyTorch; first call {seconds[name][0]:.2f} s"
        )
    plot(rates, found, options.figure)
    print(f"wrote {options.figure}")
    # The programs round differently, which may move an image or two across the border.
    same = np.abs(found["tune.sweep"] - found["by hand"]).max() <= 0.02
    return 0 if best >= 0.96 and same else 1


if __name__ == "__main__":
    sys.exit(main())
