"""Bayesian search against random search, on the digits.

    python examples/search.py

Searches the learning rate, the weight decay, dropout and label smoothing of a small network, five times with each
sampler on the same budget, and prints the validation accuracies that each found. Writes two pictures: the best accuracy
over the trials, and the trials of one Bayesian search. Exits non-zero if random search did better on average.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import optuna
from flax import nnx
from optuna.distributions import FloatDistribution
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from jaxtrain import losses, nn, optim, tune
from jaxtrain.train import TrainState

WIDTH, EPOCHS, BATCH = 64, 5, 64
SPACE = {
    "lr": FloatDistribution(1e-5, 1.0, log=True),
    "weight_decay": FloatDistribution(1e-5, 1.0, log=True),
    "p": FloatDistribution(0.0, 0.8),
    "smoothing": FloatDistribution(0.0, 0.3),
}


class Net(nnx.Module):
    def __init__(self, p: float, rngs: nnx.Rngs) -> None:
        self.hidden1, self.drop1 = nn.Linear(64, WIDTH, rngs=rngs), nn.Dropout(p, rngs=rngs)
        self.hidden2, self.drop2 = nn.Linear(WIDTH, WIDTH, rngs=rngs), nn.Dropout(p, rngs=rngs)
        self.out = nn.Linear(WIDTH, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.drop1(jax.nn.relu(self.hidden1(x)))
        x = self.drop2(jax.nn.relu(self.hidden2(x)))
        return self.out(x)


def recipe(lr: float, weight_decay: float, p: float, smoothing: float) -> tuple[TrainState, Callable]:
    def loss_fn(model: Net, batch: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
        images, labels = batch
        logits = model(images)
        loss = losses.cross_entropy(logits, labels, label_smoothing=smoothing)
        return loss, {"accuracy": logits.argmax(axis=-1) == labels}

    optimizer = optim.adamw(lr, weight_decay=weight_decay)
    return TrainState.create(Net(p, nnx.Rngs(0)), optimizer), loss_fn


def plot(best: dict[str, np.ndarray], trials: int, path: Path) -> None:
    """The best accuracy so far, the mean over the seeds and their range."""
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    counts = np.arange(1, trials + 1)
    for (name, accuracies), color in zip(best.items(), ("#17365c", "#e4572e"), strict=True):
        axes.plot(counts, 100 * accuracies.mean(axis=0), color=color, label=name)
        axes.fill_between(
            counts, *(100 * edge(accuracies, axis=0) for edge in (np.min, np.max)), color=color, alpha=0.15
        )
    axes.set(xlabel="trials", ylabel="best validation accuracy, %", ylim=(90, 100))
    axes.set_title(f"Search on the digits, {EPOCHS} epochs a trial: mean and range over {len(best['random'])} seeds")
    axes.legend(frameon=False, loc="lower right")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def plot_trials(study: optuna.Study, path: Path) -> None:
    """The accuracy of every trial of one search over each hyper-parameter, later trials darker."""
    with warnings.catch_warnings():
        # Optuna calls its plots in matplotlib experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        panels: Any = optuna.visualization.matplotlib.plot_slice(study, target_name="validation accuracy")
    figure = panels[0].get_figure()
    figure.suptitle(f"The {len(study.trials)} trials of one Bayesian search")
    figure.set_size_inches(13, 4)
    figure.savefig(path, dpi=100, bbox_inches="tight")
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__ and __doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=48, help="trials of each search; default: %(default)s")
    parser.add_argument("--seeds", type=int, default=5, help="searches with each sampler; default: %(default)s")
    parser.add_argument(
        "--sampler", choices=["tpe", "gp"], default="tpe", help="the Bayesian one; default: %(default)s"
    )
    parser.add_argument("--at-once", type=int, default=4, help="trials in one program; default: %(default)s")
    parser.add_argument(
        "--figures",
        type=Path,
        default=Path(__file__).parent / "figures",
        help="folder for the pictures; default: %(default)s",
    )
    options = parser.parse_args(arguments)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mpl.use("Agg")

    images, labels = load_digits(return_X_y=True)
    images, labels = (images / 16).astype(np.float32), labels.astype(np.int32)
    x, x_valid, y, y_valid = train_test_split(images, labels, test_size=0.25, random_state=0, stratify=labels)

    best, seconds, study = {}, {}, None
    for sampler in ("random", options.sampler):
        start, accuracies = time.perf_counter(), []
        for seed in range(options.seeds):
            study = tune.search(
                recipe, SPACE, (x, y), trials=options.trials, epochs=EPOCHS, batch_size=BATCH,
                validation=(x_valid, y_valid), metric="val_accuracy", sampler=sampler, at_once=options.at_once,
                seed=seed,
            )  # fmt: skip
            found = [trial.value if trial.value is not None else 0.0 for trial in study.trials]
            accuracies.append(np.maximum.accumulate(found))
        best[sampler], seconds[sampler] = np.array(accuracies), time.perf_counter() - start

    for sampler, accuracies in best.items():
        print(
            f"{sampler.ljust(6)} best of {options.trials} trials: {accuracies[:, -1].mean():.2%} "
            f"({', '.join(f'{accuracy:.2%}' for accuracy in accuracies[:, -1])}), {seconds[sampler]:.1f} s in all"
        )
    assert study is not None
    print("the last search found", {name: float(f"{value:.3g}") for name, value in study.best_params.items()})
    options.figures.mkdir(parents=True, exist_ok=True)
    plot(best, options.trials, options.figures / "search.png")
    plot_trials(study, options.figures / "search-trials.png")
    print(f"wrote {options.figures / 'search.png'} and search-trials.png")
    return 0 if best[options.sampler][:, -1].mean() >= best["random"][:, -1].mean() else 1


if __name__ == "__main__":
    sys.exit(main())
