"""Handwritten digits, end to end: network, loss, optimizer, schedule, training, evaluation, and a picture of it.

    python examples/digits.py                    dropout after each hidden layer, trained by Adam
    python examples/digits.py --net batchnorm    batch norm, trained by SGD with momentum, weight decay, step schedule
    python examples/digits.py --figures          draw the loss and the learning rate of every epoch as well

Prints the accuracies and exits non-zero if the accuracy on the test digits stays below 96 %.
"""

import argparse
import sys
import time
from pathlib import Path

import jax
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import optax
from flax import nnx
from matplotlib.ticker import LogLocator, NullLocator
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from jaxtrain import losses, nn, optim, schedules
from jaxtrain.train import History, TrainState, evaluate, fit, make_eval_step

WIDTH, BATCH, REQUIRED = 256, 64, 0.96
Data = tuple[np.ndarray, np.ndarray]


class DropoutNet(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden1, self.drop1 = nn.Linear(64, WIDTH, rngs=rngs), nn.Dropout(0.5, rngs=rngs)
        self.hidden2, self.drop2 = nn.Linear(WIDTH, WIDTH, rngs=rngs), nn.Dropout(0.5, rngs=rngs)
        self.out = nn.Linear(WIDTH, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.drop1(jax.nn.relu(self.hidden1(x)))
        x = self.drop2(jax.nn.relu(self.hidden2(x)))
        return self.out(x)


class BatchNormNet(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden1, self.norm1 = nn.Linear(64, WIDTH, rngs=rngs), nn.BatchNorm(WIDTH)
        self.hidden2, self.norm2 = nn.Linear(WIDTH, WIDTH, rngs=rngs), nn.BatchNorm(WIDTH)
        self.out = nn.Linear(WIDTH, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = jax.nn.relu(self.norm1(self.hidden1(x)))
        x = jax.nn.relu(self.norm2(self.hidden2(x)))
        return self.out(x)


Net = DropoutNet | BatchNormNet


def loss_fn(model: Net, batch: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    images, labels = batch
    logits = model(images)
    return losses.cross_entropy(logits, labels), {"accuracy": logits.argmax(axis=-1) == labels}


def recipe(net: str, seed: int, epochs: int) -> tuple[Net, optax.GradientTransformation]:
    """The network and the optimizer that belong together."""
    rngs = nnx.Rngs(seed)
    if net == "dropout":
        return DropoutNet(rngs), optim.adam(lr=2e-3)
    lr = schedules.per_epoch(schedules.step_lr(0.1, step_size=-(-epochs // 3), gamma=0.1))
    return BatchNormNet(rngs), optim.sgd(lr, momentum=0.9, weight_decay=1e-3)


def load_splits() -> dict[str, Data]:
    """Training, validation and test digits: 70, 15 and 15 %, the same for every seed."""
    images, labels = load_digits(return_X_y=True)
    train, rest = train_test_split(np.arange(len(labels)), test_size=0.3, random_state=0, stratify=labels)
    validation, test = train_test_split(rest, test_size=0.5, random_state=0, stratify=labels[rest])
    x, y = (images / 16).astype(np.float32), labels.astype(np.int32)
    return {name: (x[rows], y[rows]) for name, rows in (("train", train), ("validation", validation), ("test", test))}


def plot(history: History, title: str, path: Path) -> None:
    mpl.use("Agg")
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 6), sharex=True, height_ratios=[3, 1], layout="constrained")
    epochs = [epoch + 1 for epoch in history["epoch"]]
    top.plot(epochs, history["loss"], color="#17365c", label="training")
    top.plot(epochs, history["val_loss"], color="#e4572e", label="validation")
    top.set(yscale="log", ylabel="cross-entropy", title=title)
    top.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    top.yaxis.set_major_formatter("{x:g}")
    top.yaxis.set_minor_locator(NullLocator())
    top.legend(frameon=False)
    rates = history["lr"]
    bottom.step(epochs, rates, where="mid", color="#3a9d5d")
    bottom.set(yscale="log", ylabel="learning rate", ylim=(min(rates) / 3, max(rates) * 3))
    bottom.set_yticks(sorted(set(rates)), [f"{rate:g}" for rate in sorted(set(rates))])
    bottom.yaxis.set_minor_locator(NullLocator())
    bottom.set(xlabel="epoch", xlim=(1, max(2, epochs[-1])))
    for axes in (top, bottom):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train a network on handwritten digits.")
    parser.add_argument(
        "--net",
        choices=["dropout", "batchnorm"],
        default="dropout",
        help="what regularizes the network; default: %(default)s",
    )
    parser.add_argument("--epochs", type=int, default=40, help="passes over the training data; default: %(default)s")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the weights, the dropout masks and the order of the digits; default: %(default)s",
    )
    parser.add_argument(
        "--figures",
        type=Path,
        nargs="?",
        const=Path(__file__).parent / "figures",
        help="folder of the picture digits-<net>.png; without a folder, figures next to this script; default: none",
    )
    options = parser.parse_args(arguments)
    start = time.perf_counter()

    splits = load_splits()
    model, optimizer = recipe(options.net, options.seed, options.epochs)
    state, history = fit(
        TrainState.create(model, optimizer, key=options.seed),
        loss_fn,
        splits["train"],
        validation=splits["validation"],
        epochs=options.epochs,
        batch_size=BATCH,
        seed=options.seed,
    )
    eval_step = make_eval_step(loss_fn)
    accuracy = {name: evaluate(eval_step, state, data)["accuracy"] for name, data in splits.items()}

    for name, value in accuracy.items():
        print(f"{name.ljust(10)} accuracy {value:7.2%} of {len(splits[name][1])}")
    if options.figures:
        path = options.figures / f"digits-{options.net}.png"
        plot(history, f"Digits, --net {options.net}: {accuracy['test']:.1%} of the test digits right", path)
        print(f"wrote {path}")
    print(f"{time.perf_counter() - start:.1f} s in all")
    if accuracy["test"] < REQUIRED:
        print(f"FAIL: the test accuracy is below {REQUIRED:.0%}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
