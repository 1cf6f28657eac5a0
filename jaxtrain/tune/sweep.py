"""Hundreds of runs as one compiled program."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import PyTree

from jaxtrain._ground.checks import check_integer
from jaxtrain.train.data import Batches, on_host
from jaxtrain.train.listeners.best import Watched
from jaxtrain.train.step import LossFn
from jaxtrain.tune.members import members
from jaxtrain.tune.outcome import Outcome, last_entries
from jaxtrain.tune.recipe import Recipe, check_recipe, start
from jaxtrain.tune.runs import Runs, costs
from jaxtrain.tune.values import check_values

MOST_TOGETHER = 16
"""The most epochs in one program."""


def sweep(
    recipe: Recipe,
    values: Mapping[str, ArrayLike],
    data: PyTree,
    *,
    epochs: int,
    batch_size: int,
    validation: PyTree | None = None,
    metrics_fn: LossFn | None = None,
    metric: str | None = None,
    mode: Literal["min", "max"] | None = None,
    halve_every: int | None = None,
    at_once: int | None = None,
    devices: Sequence[Any] | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
    seed: int = 0,
) -> Outcome:
    """Train one recipe with many values of its hyper-parameters, all runs in one compiled program.

    Each run is what `fit` would do with the same values, up to rounding: the same batches in the same order. The runs
    advance together, so the program is compiled once, and small matrix products become large ones.

    Args:
        recipe: `recipe(**hyperparameters)` returns a `TrainState` and a `loss_fn`, see `make_train_step`. The
            hyper-parameters are traced: use them as numbers in the optimizer, the loss, dropout or the initial values,
            not in shapes or `if`. A seed goes through a key: `nnx.Rngs(jax.random.key(seed))`.
        values: for each hyper-parameter an array with one number for each run, shape (runs,). `grid` makes all
            combinations; `numpy.geomspace` and `numpy.linspace` make rows of numbers.
        data: the training data, a pytree of arrays with a common number of rows, kept on the device.
        epochs: at least 1.
        batch_size: rows in a batch, from 1 to the number of rows.
        validation: arrays to evaluate after each epoch, in evaluation mode. Default None: no evaluation.
        metrics_fn: the function to evaluate on them, see `make_eval_step`. Default None: the loss of the recipe.
        metric: the entry that decides which run is best. Default None: "val_loss", or "loss" without validation.
        mode: "min" or "max". Default None: "min" for names that end in "loss", "max" for "accuracy".
        halve_every: the epochs from one successive halving to the next, at least 1: each stops the worse half of the
            remaining runs, but never the last one, and compiles a smaller program. Default None: all runs finish.
        at_once: the most runs in one program, at least 1; fewer need less memory. Default None: all.
        devices: the devices over which the runs are spread. Default None: `jax.local_devices()`. On a CPU,
            `jax.config.update("jax_num_cpu_devices", 2)` makes two devices of two cores.
        shuffle: visit the rows in a new order every epoch, the same for all runs. Default True.
        drop_last: leave out a smaller last batch. Default False.
        seed: seed of the shuffling, at least 0. Default 0.

    Returns:
        An `Outcome`: the entries of every epoch, the best run, its state, a table, a picture. A run that diverged has
        NaN or infinity in its entries; with such a loss or metric in the end it is never the best.

    Raises:
        TypeError: if `recipe` takes other arguments or returns something else, or values are not numbers.
        ValueError: if the numbers of values differ, or a number is out of range; so is a hyper-parameter if the
            optimizer or a layer refuses its smallest or largest value.
        KeyError: if the runs do not log `metric`.

    Example:
        >>> import numpy as np
        >>> from flax import nnx
        >>> from jaxtrain import losses, optim, train, tune
        >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
        >>> def recipe(lr):
        ...     def loss_fn(model, batch):
        ...         return losses.mse_loss(model(batch[0]), batch[1])
        ...     return train.TrainState.create(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), optim.sgd(lr)), loss_fn
        >>> outcome = tune.sweep(recipe, {"lr": [1e-3, 0.1, 10.0]}, (x, 3 * x), epochs=5, batch_size=8)
        >>> outcome.best, outcome.best_values
        (1, {'lr': 0.1})
        >>> outcome.history["loss"].shape
        (3, 5)

    PyTorch: none; a loop over the values around the whole script.
    """
    numbers = check_values("sweep", values)
    check_recipe("sweep", recipe, numbers)
    check_metrics_fn("sweep", metrics_fn, validation)
    check_integer("sweep", "epochs", epochs, 1)
    for name, number in (("halve_every", halve_every), ("at_once", at_once)):
        if number is not None:
            check_integer("sweep", name, number, 1)
    watched = Watched("sweep", metric or ("loss" if validation is None else "val_loss"), mode)

    def kept(epoch: int, entries: Mapping[str, np.ndarray]) -> np.ndarray:
        best_first = np.argsort(costs(watched, entries), kind="stable")
        half = halve_every is not None and (epoch + 1) % halve_every == 0 and epoch + 1 < epochs
        return np.sort(best_first[: -(-len(best_first) // 2) if half else None])

    check_arrays("sweep: data", data)
    batches = Batches(data, batch_size, shuffle, seed=seed, drop_last=drop_last)
    held_out = held_out_rows("sweep", validation, batch_size)
    check_ends("sweep", recipe, numbers)
    programs = members("sweep", recipe, metrics_fn, _devices(devices), len(batches))
    runs = Runs(programs, numbers, len(next(iter(numbers.values()))), at_once)
    history = runs.fit(batches, held_out, epochs, kept, together=_together(math.gcd(epochs, halve_every or 0)))

    order = np.lexsort((costs(watched, last_entries(history, runs.epochs)), -runs.epochs))
    return Outcome(numbers, history, runs.epochs, order, watched.name, watched.mode, runs.state)


def check_ends(where: str, recipe: Recipe, numbers: Mapping[str, np.ndarray]) -> None:
    """Make what the recipe makes of the ends of each range: where its numbers are traced, nobody can check them."""
    for run in sorted({int(end(values)) for values in numbers.values() for end in (np.argmin, np.argmax)}):
        own = {name: values[run] for name, values in numbers.items()}
        known = {name: jnp.asarray(value) for name, value in own.items()}
        try:
            jax.eval_shape(lambda known=known: start(where, recipe, known).state)
        except ValueError as error:
            error.add_note(f"{where}: in run {run}, {', '.join(f'{name}={value}' for name, value in own.items())}")
            raise


def _together(epochs: int) -> int:
    """How many epochs to compute in one program: a divisor of their number, and few, for Ctrl-C waits for its end."""
    return max(divisor for divisor in range(1, MOST_TOGETHER + 1) if epochs % divisor == 0)


def held_out_rows(where: str, validation: PyTree | None, batch_size: int) -> Batches | None:
    """The validation data in the batches in which `fit` evaluates them."""
    if validation is None:
        return None
    check_arrays(f"{where}: validation", validation)
    arrays, rows = on_host(f"{where}: validation", validation)
    return Batches(arrays, min(batch_size, rows))


def check_arrays(where: str, data: PyTree) -> None:
    if isinstance(data, list) and data and isinstance(data[0], tuple | dict):
        raise TypeError(
            f"{where}: expected arrays, got a list of batches; concatenate them, or train with fit, see "
            "jaxtrain.tune.PruneTrial"
        )
    for leaf in jax.tree.leaves(data):
        if not isinstance(leaf, np.ndarray | jax.Array):
            raise TypeError(
                f"{where}: expected NumPy or JAX arrays, got {type(leaf).__name__}; call numpy.asarray on it, or "
                "train with fit on what yields batches, see jaxtrain.tune.PruneTrial"
            )


def check_metrics_fn(where: str, metrics_fn: Any, validation: PyTree | None) -> None:
    if metrics_fn is not None and not callable(metrics_fn):
        raise TypeError(f"{where}: metrics_fn must be a function of a model and a batch, or None, got {metrics_fn!r}")
    if metrics_fn is not None and validation is None:
        raise ValueError(
            f"{where}: expected validation data for metrics_fn, got None; pass them, or let the recipe's loss return "
            "metrics"
        )


def _devices(devices: Any) -> Sequence[Any]:
    if devices is None:
        return jax.local_devices()
    found = list(devices) if isinstance(devices, Iterable) else []
    if not found or not all(isinstance(device, jax.Device) for device in found) or len(set(found)) < len(found):
        raise TypeError(
            f"sweep: devices must be a list of at least one device, each once, got {devices!r}; pass "
            "jax.devices()[:2], or None for all of this process"
        )
    return found
