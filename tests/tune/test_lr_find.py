"""The learning-rate range test."""

from typing import Any

import numpy as np
import pytest
from flax import nnx

from jaxtrain import optim, train, tune
from jaxtrain.train import TrainState

from .conftest import Data, recipe, seen_by

COLUMN = np.ones((8, 1), np.float32)


def parabola(lr: Any) -> Any:
    """w²/2, from w = 1: gradient descent converges below a rate of 2 and diverges above."""

    class Weight(nnx.Module):
        def __init__(self) -> None:
            self.w = nnx.Param(np.float32(1.0))

    def loss_fn(model: Any, batch: Any) -> Any:
        return 0.5 * model.w[...] ** 2

    return TrainState.create(Weight(), optim.sgd(lr)), loss_fn


def seen_by_lr(lr: Any) -> Any:
    state, loss_fn = seen_by()
    return TrainState.create(state.model(), optim.sgd(lr)), loss_fn


def test_each_step_has_its_rate() -> None:
    found = tune.lr_find(parabola, COLUMN, batch_size=4, low=1e-3, high=0.5, steps=20)
    rates = np.geomspace(1e-3, 0.5, 20)
    np.testing.assert_allclose(found.rates, rates)
    weights = np.cumprod(np.concatenate([[1.0], 1 - rates[:-1]]))
    np.testing.assert_allclose(found.losses, weights**2 / 2, rtol=1e-5)


@pytest.mark.parametrize("seed", [0, 5])
def test_the_batches_are_whole_and_those_of_fit_with_that_seed(seed: int) -> None:
    """Two of four rows an epoch, in another order each time; the losses fall by the order of the steps."""
    rows = np.arange(10, dtype=np.float32)

    def falling(lr: Any) -> Any:
        state, loss_fn = seen_by_lr(lr)
        return state, lambda model, batch: -loss_fn(model, batch)

    found = tune.lr_find(falling, rows, batch_size=4, steps=10, seed=seed)
    batches = train.Batches(rows, 4, shuffle=True, seed=seed, drop_last=True)
    means = [batch.mean() for epoch in range(5) for batch in batches.epoch(epoch)]
    np.testing.assert_allclose(found.losses, [-mean * 1.5 ** (step + 1) for step, mean in enumerate(means)], rtol=1e-5)


def test_the_average_weighs_the_past_by_nine_tenths() -> None:
    found = tune.lr_find(parabola, COLUMN, batch_size=8, low=1e-3, high=0.5, steps=20)
    weights = 0.9 ** np.arange(20)[::-1]
    assert found.smooth[-1] == pytest.approx(np.average(found.losses, weights=weights))


def test_it_ends_when_the_loss_diverges() -> None:
    found = tune.lr_find(parabola, COLUMN, batch_size=8, low=1e-2, high=1e3, steps=60)
    assert len(found.rates) < 60
    assert 2 < found.rates[-1] < 100
    assert found.suggestion == pytest.approx(found.rates[found.smooth.argmin()] / 10)
    assert 0.01 < found.suggestion < 2


def test_a_loss_below_zero_may_rise_from_step_to_step() -> None:
    def lowered(lr: Any) -> Any:
        state, loss_fn = parabola(lr)
        return state, lambda model, batch: loss_fn(model, batch) + batch.mean() - 10

    rows = np.where(np.arange(64) % 2, 0.1, -0.1).astype(np.float32)[:, None]
    found = tune.lr_find(lowered, rows, batch_size=4, low=1e-2, high=1e3, steps=60)
    assert 2 < found.rates[-1] < 100
    assert 0.01 < found.suggestion < 2


def test_a_network_gets_a_rate_that_trains_it(data: Data) -> None:
    found = tune.lr_find(recipe, data, batch_size=25, low=1e-5)
    assert 1e-4 < found.suggestion < 1


def test_the_picture_is_written(tmp_path: Any) -> None:
    tune.lr_find(parabola, COLUMN, batch_size=8, low=1e-2, high=10, steps=20).plot(tmp_path / "rates.svg")
    assert (tmp_path / "rates.svg").stat().st_size > 5_000


def test_recipes_that_cannot_be_tested_are_named() -> None:
    with pytest.raises(TypeError) as caught:
        tune.lr_find(lambda lr: parabola(2 * lr), COLUMN, batch_size=8)
    assert "lr_find, in recipe(lr): This hyper-parameter is a schedule" in caught.value.__notes__[0]
    with pytest.raises(ValueError, match="a recipe that gives lr to its optimizer, got one that does not use it"):
        tune.lr_find(lambda lr: parabola(0.1), COLUMN, batch_size=8, steps=10)
    with pytest.raises(ValueError, match="got NaN or infinity in the first step; look at the data"):
        tune.lr_find(seen_by_lr, np.full(8, np.nan, np.float32), batch_size=8)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": 0.0}, r"low must lie in \(0, inf\], got 0"),
        ({"low": 1.0, "high": 1.0}, r"high must lie in \(1, 3\.40282e\+38\], got 1"),
        ({"high": np.inf}, r"high must lie in \(1e-06, 3\.40282e\+38\], got inf"),
        ({"steps": 9}, "steps must be at least 10, got 9"),
        ({"low": 5.0, "high": 1e6}, "expected a loss that falls before it diverges, got .* begin with a smaller low"),
        ({"batch_size": None}, "expected batch_size with arrays in memory"),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tune.lr_find(parabola, COLUMN, **{"batch_size": 8, **changes})
