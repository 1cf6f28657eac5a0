"""A sweep does what `fit` does, for many values at once."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxtrain import losses, nn, optim, schedules, train, tune
from jaxtrain.tune.members import averages

from .conftest import Data, recipe, seen_by, told

VALUES = {"lr": [1e-3, 0.1, 1e-2], "p": [0.0, 0.5, 0.2], "smoothing": [0.1, 0.0, 0.2], "seed": [0, 1, 2]}


@pytest.fixture(scope="module")
def outcome(data: Data) -> tune.Outcome:
    return tune.sweep(recipe, VALUES, data, epochs=3, batch_size=16, validation=data)


def test_each_run_is_what_fit_does(outcome: tune.Outcome, data: Data) -> None:
    for run in range(3):
        values = {name: numbers[run].item() for name, numbers in outcome.values.items()}
        state, history = train.fit(*recipe(**values), data, epochs=3, batch_size=16, validation=data, progress=False)
        assert [*outcome.history] == [name for name in history if name not in ("epoch", "lr")]
        for name, numbers in outcome.history.items():
            np.testing.assert_allclose(numbers[run], history[name], rtol=2e-5)
        swept = outcome.state(run)
        assert int(swept.step) == int(state.step) == 12
        differences = jax.tree.map(lambda a, b: float(abs(a - b).max()), swept.params, state.params)
        assert max(jax.tree.leaves(differences)) < 1e-5


def test_schedules_averages_and_narrow_dtypes_are_those_of_fit(data: Data) -> None:
    """The schedule counts epochs, validation sees the average, and a number does not widen bfloat16."""

    def recipe(lr: Any, scale: Any) -> tuple[Any, Any]:
        def loss_fn(model: Any, batch: Any) -> Any:
            logits = model(batch[0].astype(jnp.bfloat16)) * scale
            return losses.cross_entropy(logits.astype(jnp.float32), batch[1])

        rate = schedules.per_epoch(schedules.step_lr(lr, step_size=1, gamma=0.1))
        model = nn.Linear(4, 3, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
        return train.TrainState.create(model, optim.sgd(rate), average=optim.averaged_model()), loss_fn

    values = {"lr": [0.1, 0.5], "scale": [2, 1]}
    outcome = tune.sweep(recipe, values, data, epochs=3, batch_size=25, validation=data)
    for run in range(2):
        start, loss_fn = recipe(values["lr"][run], values["scale"][run])
        state, history = train.fit(start, loss_fn, data, epochs=3, batch_size=25, validation=data, progress=False)
        for name in ("loss", "val_loss"):
            np.testing.assert_allclose(outcome.history[name][run], history[name], rtol=1e-3)
        swept = outcome.state(run)
        for found, expected in zip(jax.tree.leaves(swept.params), jax.tree.leaves(state.params), strict=True):
            assert found.dtype == expected.dtype == jnp.bfloat16
            np.testing.assert_allclose(found.astype(np.float32), expected.astype(np.float32), atol=4e-3)
        assert train.learning_rates(swept) == pytest.approx(train.learning_rates(state))


def test_a_schedule_must_not_end_before_the_runs() -> None:
    def recipe(lr: Any) -> Any:
        state, loss_fn = told(lr, 0.0)
        return train.TrainState.create(state.model(), optim.sgd(schedules.one_cycle_lr(lr, total_steps=4))), loss_fn

    with pytest.raises(ValueError, match=r"sweep: expected a schedule for 6 steps, 3 epochs of 2 .* got one for 5;"):
        tune.sweep(recipe, {"lr": [0.1]}, ROWS, epochs=3, batch_size=5)


def test_validation_sees_the_batches_of_fit() -> None:
    def sizes(model: Any, batch: Any) -> Any:
        return {"rows": np.float32(len(batch))}

    options: dict[str, Any] = {"epochs": 1, "batch_size": 4, "validation": ROWS, "metrics_fn": sizes}
    outcome = tune.sweep(seen_by, {"lr": [0.0]}, ROWS, metric="loss", **options)
    _, history = train.fit(*seen_by(), ROWS, progress=False, **options)
    assert outcome.history["val_rows"].tolist() == [history["val_rows"]] == [[3.6]]


def test_the_best_run_has_the_least_validation_loss(outcome: tune.Outcome, data: Data) -> None:
    assert outcome.metric == "val_loss"
    assert outcome.best == int(np.argmin(outcome.history["val_loss"][:, -1])) == outcome.order[0]
    assert outcome.best_values == {"lr": 0.1, "p": 0.5, "smoothing": 0.0, "seed": 1}
    step = train.make_eval_step(recipe(**outcome.best_values)[1])
    found = train.evaluate(step, outcome.state(), data)
    assert found["loss"] == pytest.approx(outcome.history["val_loss"][1, -1], rel=1e-5)


def test_the_table_lists_the_best_runs_first(outcome: tune.Outcome) -> None:
    head, first, *_ = outcome.table(rows=2).splitlines()
    assert head.split() == ["lr", "p", "smoothing", "seed", "epochs", "loss", "accuracy", "val_loss", "val_accuracy"]
    assert first.split()[:5] == ["0.1", "0.5", "0", "1", "3"]
    assert len(outcome.table(rows=2).splitlines()) == 3


def test_the_picture_is_written(outcome: tune.Outcome, tmp_path: Any) -> None:
    outcome.plot(tmp_path / "new" / "sweep.png")
    assert (tmp_path / "new" / "sweep.png").stat().st_size > 10_000


def test_halving_stops_the_worse_half_and_leaves_the_others_as_they_are(data: Data) -> None:
    rates = {"lr": np.geomspace(1e-4, 0.1, 5)}
    whole = tune.sweep(recipe, rates, data, epochs=4, batch_size=25)
    halved = tune.sweep(recipe, rates, data, epochs=4, batch_size=25, halve_every=1, at_once=3)
    assert halved.epochs.tolist() == [1, 1, 2, 3, 4]
    assert halved.order.tolist() == [4, 3, 2, 1, 0]
    for run, epochs in enumerate(halved.epochs):
        losses = halved.history["loss"][run]
        np.testing.assert_allclose(losses[:epochs], whole.history["loss"][run, :epochs], rtol=1e-5)
        assert np.isnan(losses[epochs:]).all()
    assert int(halved.state().step) == 8
    assert halved.diverged == []
    state = halved.state()
    moved = state.apply_gradients(state.params)
    steps = jax.tree.map(lambda new, old: float(abs(new - old).max()), moved.params, state.params)
    assert max(jax.tree.leaves(steps)) > 1e-3  # With the rate of the best run: that of the first one is 1e-4.
    with pytest.raises(ValueError, match=r"expected a run that was not stopped, got 0, .* choose from \[4\]"):
        halved.state(0)


ROWS = np.arange(10, dtype=np.float32)


def test_a_run_that_was_stopped_comes_after_all_others_and_halving_waits() -> None:
    """Run 3 is stopped with a loss that is lower than the last one of run 0."""
    values = {"first": [1.0, 2.0, 4.0, 3.0], "slope": [2.0, 0.0, 0.0, 0.0]}
    outcome = tune.sweep(told, values, ROWS[:2], epochs=4, batch_size=2, halve_every=2)
    assert outcome.history["loss"][:, 1].tolist() == [3.0, 2.0, 4.0, 3.0]
    assert outcome.epochs.tolist() == [4, 4, 2, 2]
    assert outcome.last.tolist() == [7.0, 2.0, 4.0, 3.0]
    assert outcome.order.tolist() == [1, 0, 3, 2]
    assert outcome.table().splitlines()[3].split() == ["3", "0", "2", "3"]
    assert int(outcome.state(-4).model_state["steps"]) == 4


@pytest.mark.parametrize("options", [{}, {"seed": 3}, {"shuffle": False}, {"drop_last": True}])
def test_the_batches_are_those_of_fit(options: dict[str, Any]) -> None:
    outcome = tune.sweep(seen_by, {"lr": [0.0]}, ROWS, epochs=2, batch_size=4, **options)
    _, history = train.fit(*seen_by(), ROWS, epochs=2, batch_size=4, progress=False, **options)
    np.testing.assert_allclose(outcome.history["loss"][0], history["loss"], rtol=1e-6)


def test_other_metrics_than_the_loss_are_evaluated() -> None:
    def steps(model: Any, batch: Any) -> Any:
        return {"steps": model.steps[...].astype(np.float32) * batch.mean()}

    values = {"first": [1.0, 2.0], "slope": [0.0, 0.0]}
    options: dict[str, Any] = {"validation": ROWS, "metrics_fn": steps, "metric": "val_steps", "mode": "max"}
    outcome = tune.sweep(told, values, ROWS, epochs=2, batch_size=5, **options)
    assert outcome.history["val_steps"].tolist() == [[9.0, 18.0]] * 2


def test_an_average_of_vectors_and_a_run_that_is_not_there_are_named() -> None:
    def vectors(model: Any, batch: Any) -> Any:
        return {"both": train.Average(batch[:2], np.float32(1.0))}

    with pytest.raises(ValueError, match=r"metric both: expected an Average of two numbers, got one of shape \(2,\)"):
        tune.sweep(seen_by, {"lr": [0.0]}, ROWS, epochs=1, batch_size=10, validation=ROWS, metrics_fn=vectors)
    outcome = tune.sweep(seen_by, {"lr": [0.0, 0.1]}, ROWS, epochs=1, batch_size=10)
    with pytest.raises(ValueError, match=r"Outcome\.state: run must be from -2 to 1, got 2"):
        outcome.state(2)
    with pytest.raises(ValueError, match=r"Outcome\.table: rows must be at least 1, got 0"):
        outcome.table(0)


def test_a_mistake_in_a_recipe_is_not_blamed_on_tracing(data: Data) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        tune.sweep(lambda lr: recipe(1 / 0), {"lr": [0.1]}, data, epochs=1, batch_size=50)
    assert not any("traced" in note for note in getattr(caught.value, "__notes__", []))


def test_a_diverged_run_is_never_the_best(data: Data) -> None:
    outcome = tune.sweep(recipe, {"lr": [np.inf, 1e-3]}, data, epochs=2, batch_size=50)
    assert np.isnan(outcome.last[0])
    assert outcome.best == 1
    assert outcome.diverged == [0]
    alone = tune.sweep(recipe, {"lr": [1e-3, 1e-3]}, data, epochs=2, batch_size=50)
    np.testing.assert_array_equal(outcome.history["loss"][1], alone.history["loss"][1])
    assert alone.diverged == []
    lost = tune.sweep(recipe, {"lr": [np.inf, np.inf]}, data, epochs=2, batch_size=50)
    with pytest.raises(ValueError, match="expected a run that did not diverge, got loss=nan for the best"):
        _ = lost.best


def test_the_accuracy_of_a_diverged_run_counts_for_nothing(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    """With NaN for all logits, argmax says class 0."""
    zeros = data[0], np.zeros(50, np.int32)
    rates, options = {"lr": [np.inf, 0.0]}, {"batch_size": 50, "metric": "accuracy"}
    outcome = tune.sweep(recipe, rates, zeros, epochs=2, **options)
    assert outcome.last[0] == 1.0 > outcome.last[1]
    assert outcome.best == 1
    drawn: list[Any] = []
    monkeypatch.setattr("jaxtrain.tune.outcome.plot_outcome", lambda *shown: drawn.extend(shown))
    outcome.plot("sweep.png")
    np.testing.assert_array_equal(drawn[1], [np.nan, outcome.last[1]])
    halved = tune.sweep(recipe, rates, zeros, epochs=3, halve_every=2, **options)
    assert halved.epochs.tolist() == [2, 3]


def test_the_averages_of_an_epoch_are_summed_in_float64() -> None:
    steps = np.array([[[2.0**24, 1.0], [2.0, 4.0]]], np.float32)
    parts = [{"loss": train.Average(steps, np.ones_like(steps))}]
    assert averages(parts)["loss"].tolist() == [[(2**24 + 1) / 2, 3.0]]  # pyright: ignore[reportArgumentType] - arrays


def test_a_grid_has_every_combination() -> None:
    grid = tune.grid(lr=[0.1, 0.2, 0.3], p=[0.0, 0.5])
    assert grid["lr"].tolist() == [0.1, 0.1, 0.2, 0.2, 0.3, 0.3]
    assert grid["p"].tolist() == [0.0, 0.5] * 3


def test_a_value_out_of_range_is_found_in_the_run_that_has_it(data: Data) -> None:
    values = {"lr": [0.1, 0.2, 0.3, 0.4], "p": [0.0, 0.5, -0.25, 0.1]}
    with pytest.raises(ValueError, match="Dropout") as caught:
        tune.sweep(recipe, values, data, epochs=1, batch_size=50)
    assert caught.value.__notes__[-1] == "sweep: in run 2, lr=0.3, p=-0.25"


@pytest.mark.parametrize(
    "broken",
    [
        lambda lr: recipe(lr if lr < 1 else 0.5),
        lambda lr: recipe(float(lr)),
        lambda lr: recipe(0.1, seed=len(np.zeros(lr))),
    ],
    ids=["if", "float", "shape"],
)
def test_a_recipe_that_needs_a_number_is_told_that_it_is_traced(data: Data, broken: Any) -> None:
    with pytest.raises(TypeError, match=r"[Tt]rac|concrete") as caught:
        tune.sweep(broken, {"lr": [1, 2]}, data, epochs=1, batch_size=50)
    assert "sweep, in recipe(lr): This hyper-parameter is traced" in caught.value.__notes__[0]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"values": {}}, TypeError, "must be a dict with the values of at least one hyper-parameter, got {}"),
        ({"values": [0.1]}, TypeError, r"got \[0\.1\]; pass"),
        ({"values": {"lr": 0.1}}, ValueError, r"values of lr must be an array of at least one number, got shape \(\)"),
        ({"values": {"lr": []}}, ValueError, r"at least one number, got shape \(0,\)"),
        ({"values": {"lr": ["fast"]}}, TypeError, r"values of lr must be real numbers, got \['fast'\]"),
        ({"values": {"lr": [1, 2**40]}}, ValueError, r"lr must be from -2147483648 to 2147483647, .* to 1099511627776"),
        ({"data": [(ROWS, ROWS)]}, TypeError, "sweep: data: expected arrays, got a list of batches; concatenate them"),
        ({"values": {3: [0.1]}}, TypeError, "names of hyper-parameters must be strings, got 3"),
        ({"values": {"lr": [0.1j]}}, TypeError, r"values of lr must be real numbers, got \[0\.1j\]"),
        ({"values": {"rate": [0.1]}}, TypeError, r"a recipe that takes rate, got recipe\(lr: Any.* 'lr'; name the"),
        (
            {"values": {"p": [0.1]}},
            TypeError,
            r"a recipe that takes p, got recipe\(.*missing a required argument: 'lr'",
        ),
        ({"recipe": None}, TypeError, "recipe must be a function of hyper-parameters .*, got None"),
        ({"metrics_fn": len}, ValueError, "expected validation data for metrics_fn, got None; pass them"),
        ({"metrics_fn": 3}, TypeError, "metrics_fn must be a function of a model and a batch, or None, got 3"),
        ({"devices": 2}, TypeError, r"must be a list of at least one device, each once, got 2; pass jax.devices\(\)"),
        ({"devices": []}, TypeError, r"devices must be a list of at least one device, each once, got \[\]"),
        ({"devices": [jax.devices()[0]] * 2}, TypeError, "at least one device, each once, got"),
        ({"metric": 3}, TypeError, "sweep: expected the name of an entry such as 'val_loss', got 3"),
        ({"data": [[1.0]]}, TypeError, "sweep: data: expected NumPy or JAX arrays, got float; .* or train with fit"),
        ({"values": {"lr": [0.1], "p": [0.0, 0.1]}}, ValueError, r"equally many .* got \{'lr': 1, 'p': 2\}"),
        ({"values": {"lr": [0.1, -0.1]}}, ValueError, r"adam: lr must lie in \[0, inf\], got"),
        ({"values": {"lr": [0.1, np.nan, 1.0]}}, ValueError, r"adam: lr must lie in \[0, inf\], got"),
        ({"values": {"lr": [0.1, 0.1], "p": [2.0, 0.5]}}, ValueError, r"Dropout: p must lie in \[0, 1\], got"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"batch_size": 51}, ValueError, "batch_size must be from 1 to 50, got 51"),
        ({"halve_every": 0}, ValueError, "halve_every must be at least 1, got 0"),
        ({"at_once": 0}, ValueError, "at_once must be at least 1, got 0"),
        ({"metric": "val_loss"}, KeyError, "expected one of 'loss', 'accuracy', got 'val_loss'"),
        ({"metric": "score"}, ValueError, "expected mode='min' or mode='max' for 'score'"),
        ({"recipe": lambda lr: recipe(lr)[0]}, TypeError, "recipe must return a TrainState and a loss_fn, got TrainSt"),
        ({"recipe": lambda lr: recipe(lr)[::-1]}, TypeError, r"got \['function', 'TrainState'\]"),
        ({"validation": [1, 2]}, TypeError, "sweep: validation: expected NumPy or JAX arrays, got int"),
    ],
)
def test_mistakes_are_named(data: Data, changes: dict[str, Any], error: type[Exception], message: str) -> None:
    options = {"recipe": recipe, "values": {"lr": [0.1]}, "data": data, "epochs": 1, "batch_size": 50, **changes}
    with pytest.raises(error, match=message):
        tune.sweep(options.pop("recipe"), options.pop("values"), options.pop("data"), **options)
