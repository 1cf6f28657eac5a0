"""The learning-rate range test."""

import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array

from jaxtrain._ground.checks import check_integer, check_number
from jaxtrain.train.listeners.guard import NonFiniteLossError
from jaxtrain.train.listeners.protocol import Listener, StopRun
from jaxtrain.train.loop import fit
from jaxtrain.train.sources import Source
from jaxtrain.tune.plots import plot_range_test
from jaxtrain.tune.recipe import Recipe, check_recipe, start

_MEMORY = 0.9
"""Weight of the past in the smoothed loss."""
_DIVERGED = 4
"""The test is over when the smoothed loss is above its first value, and above its least one times this factor.

A least loss below zero times the factor would be lower still, so what counts is the distance: three times its size.
"""


def lr_find(
    recipe: Recipe,
    data: Source,
    *,
    batch_size: int | None = None,
    low: float = 1e-6,
    high: float = 10.0,
    steps: int = 100,
    seed: int = 0,
) -> "RangeTest":
    """Train for a few steps while the learning rate grows, and see where the loss falls and where it diverges.

    Args:
        recipe: `recipe(lr)` returns a `TrainState` and a `loss_fn`. `lr` is a schedule, as any optimizer takes it.
        data: the training data, see `fit`.
        batch_size: rows in a batch of arrays. Default None: `data` yields batches.
        low: the first rate, above 0. Default 1e-6.
        high: the last rate, above `low`. Default 10.
        steps: how many, at least 10. Default 100.
        seed: seed of the shuffling, at least 0. Default 0.

    Returns:
        A `RangeTest` with the rates, their losses and a suggestion. It ends early when the loss diverges.

    Raises:
        TypeError: if `recipe` returns something else.
        ValueError: if a number is out of range, the recipe does not use `lr`, or the loss diverges before it has
            fallen.

    Example:
        >>> import numpy as np
        >>> from flax import nnx
        >>> from jaxtrain import losses, optim, train, tune
        >>> x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
        >>> def recipe(lr):
        ...     def loss_fn(model, batch):
        ...         return losses.mse_loss(model(batch[0]), batch[1])
        ...     return train.TrainState.create(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), optim.sgd(lr)), loss_fn
        >>> found = tune.lr_find(recipe, (x, 3 * x), batch_size=16, low=1e-4)
        >>> bool(1e-3 < found.suggestion < 1)
        True

    PyTorch: none; fastai's `lr_find` and Lightning's `Tuner.lr_find`.

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks", 2017, https://arxiv.org/abs/1506.01186
    """
    check_number("lr_find", "low", low, 0.0, open_low=True)
    check_number("lr_find", "high", high, low, float(np.finfo(np.float32).max), open_low=True)
    check_integer("lr_find", "steps", steps, 10)
    check_recipe("lr_find", recipe, ["lr"])
    rates = np.geomspace(low, high, steps)
    table = jnp.asarray(rates, jnp.float32)

    asked = False

    def growing(count: ArrayLike) -> Array:
        nonlocal asked
        asked = True
        return table[jnp.minimum(count, steps - 1)]

    state, loss_fn = start("lr_find", recipe, {"lr": growing})
    losses = _Losses(steps)
    for epoch in itertools.count():
        try:
            state, _ = fit(
                state, loss_fn, data, epochs=epoch + 1, start_epoch=epoch, batch_size=batch_size, seed=seed,
                drop_last=batch_size is not None, listeners=[losses], progress=False,
            )  # fmt: skip
        except NonFiniteLossError:
            break
        if losses.over:
            break
    if not asked:
        raise ValueError("lr_find: expected a recipe that gives lr to its optimizer, got one that does not use it")
    return _range_test(rates, np.array(losses.seen))


@dataclasses.dataclass(frozen=True)
class RangeTest:
    """The result of a range test.

    Attributes:
        rates: the learning rate of each step, (steps,).
        losses: the loss of each step, (steps,).
        smooth: their running average, (steps,).
        suggestion: a tenth of the rate at which `smooth` is least.

    PyTorch: none.
    """

    rates: np.ndarray
    losses: np.ndarray
    smooth: np.ndarray
    suggestion: float

    def plot(self, path: str | Path) -> None:
        """Draw the losses against the rates.

        Args:
            path: the picture to write; its ending decides the format. Needs matplotlib, the extra `tune`.
        """
        plot_range_test(self.rates, self.losses, self.smooth, self.suggestion, Path(path))


class _Losses(Listener):
    """Collects the loss of every step, until there are enough or they diverge."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self.seen: list[float] = []
        self.over = False

    def stepped(self, step: int, metrics: Mapping[str, float]) -> None:
        self.seen.append(metrics["loss"])
        self.over = len(self.seen) == self._steps or _has_diverged(_smooth(np.array(self.seen)))
        if self.over:
            raise StopRun


def _smooth(losses: np.ndarray) -> np.ndarray:
    """The exponential running average, corrected for its start from zero."""
    averages = list(itertools.accumulate(losses, lambda past, now: _MEMORY * past + (1 - _MEMORY) * now, initial=0.0))
    return np.array(averages[1:]) / (1 - _MEMORY ** np.arange(1, len(losses) + 1))


def _has_diverged(smooth: np.ndarray) -> bool:
    least = smooth.min()
    return bool(smooth[-1] > max(smooth[0], least + (_DIVERGED - 1) * abs(least)))


def _range_test(rates: np.ndarray, losses: np.ndarray) -> RangeTest:
    smooth = _smooth(losses)
    if len(losses) < 3 or smooth.argmin() == 0:
        found, way_out = f"{losses[:5].tolist()} at the first rates", "begin with a smaller low"
        if not len(losses):
            found, way_out = "NaN or infinity in the first step", "look at the data and the initial values"
        raise ValueError(f"lr_find: expected a loss that falls before it diverges, got {found}; {way_out}")
    # At the least loss the rate is already on the verge of divergence, and the average lags behind.
    return RangeTest(rates[: len(losses)], losses, smooth, float(rates[smooth.argmin()]) / 10)
