"""A search asks Optuna, trains, and tells it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState

from jaxtrain import train, tune

from .conftest import Data, recipe, seen_by, told

RATE = {"lr": FloatDistribution(1e-4, 1.0, log=True)}
optuna.logging.set_verbosity(optuna.logging.WARNING)


def search(data: Data, space: Any = None, **options: Any) -> optuna.Study:
    given = {"trials": 4, "epochs": 2, "batch_size": 25, "at_once": 2, **options}
    return tune.search(recipe, RATE if space is None else space, data, **given)


@pytest.mark.parametrize("sampler", ["tpe", "gp", "random"])
def test_a_trial_has_the_value_of_its_run(data: Data, sampler: Any) -> None:
    study = search(data, sampler=sampler, validation=data)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 4
    assert study.best_value == min(trial.value for trial in study.trials)
    _, history = train.fit(*recipe(**study.best_params), data, epochs=2, batch_size=25, validation=data, progress=False)
    assert study.best_value == pytest.approx(history["val_loss"][-1], rel=1e-5)
    reported = study.best_trial.intermediate_values
    assert [*reported] == [0, 1]
    assert reported[0] == pytest.approx(history["val_loss"][0], rel=1e-5)


def test_a_grid_has_every_point_once(data: Data) -> None:
    space = {"p": FloatDistribution(0.0, 0.5, step=0.25), "lr": CategoricalDistribution([0.01, 0.1])}
    study = search(data, space, sampler="grid", trials=9, at_once=4)
    assert len(study.trials) == 6
    found = {(trial.params["lr"], trial.params["p"]) for trial in study.trials}
    assert found == {(lr, p) for lr in (0.01, 0.1) for p in (0.0, 0.25, 0.5)}


def test_a_choice_reaches_the_recipe_as_it_is(data: Data) -> None:
    seen = set()

    def choosing(which: str) -> Any:
        seen.add(which)
        return recipe({"slow": 1e-6, "fast": 0.1}[which])

    space = {"which": CategoricalDistribution(["slow", "fast"])}
    study = tune.search(choosing, space, data, trials=2, epochs=1, batch_size=50, sampler="grid", metric="accuracy")
    assert seen == {"slow", "fast"}
    assert study.direction.name == "MAXIMIZE"
    assert len(study.trials) == 2


TOLD = {"first": CategoricalDistribution([1.0, 2.0]), "slope": FloatDistribution(1.0, 1.0, step=1.0)}
ROWS = np.arange(10, dtype=np.float32)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_trial_is_told_what_the_run_logs_at_each_epoch_and_at_the_last(mode: Any) -> None:
    study = tune.search(told, TOLD, ROWS, trials=2, epochs=3, batch_size=10, sampler="grid", mode=mode)
    values = {trial.params["first"]: trial.value for trial in study.trials}
    assert values == {1.0: 3.0, 2.0: 4.0}
    assert study.best_value == (3.0 if mode == "min" else 4.0)
    assert study.best_trial.intermediate_values == {
        0: study.best_value - 2,
        1: study.best_value - 1,
        2: study.best_value,
    }


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_the_seed_decides_what_is_tried_and_the_order_of_the_rows(sampler: Any) -> None:
    def found(seed: int, **options: Any) -> list[Any]:
        given = {"trials": 2, "epochs": 1, "batch_size": 4, "sampler": sampler, **options}
        study = tune.search(seen_by, {"lr": FloatDistribution(0.0, 1.0)}, ROWS, seed=seed, **given)
        return [(trial.params["lr"], trial.value) for trial in study.trials]

    first = found(0)
    assert first == found(0)
    assert not {rate for rate, _ in first} & {rate for rate, _ in found(1)}
    in_order, dropped = found(0, shuffle=False), found(0, drop_last=True)
    assert [rate for rate, _ in first] == [rate for rate, _ in in_order] == [rate for rate, _ in dropped]
    assert len({value for _, value in (*first, *in_order, *dropped)}) == 6
    rate, value = in_order[0]
    expected = [(rows + rate) * 1.5**step for step, rows in ((1, 1.5), (2, 5.5), (3, 8.5))]
    assert value == pytest.approx(np.average(expected, weights=[4, 4, 2]), rel=1e-6)


def test_bad_trials_are_pruned(data: Data) -> None:
    pruner = optuna.pruners.ThresholdPruner(upper=1.0, n_warmup_steps=1)
    space = {"lr": CategoricalDistribution([1e-6, 0.1, 1e30])}
    study = search(data, space, sampler="grid", trials=3, epochs=3, pruner=pruner)
    states = {str(trial.params["lr"]): (trial.state, len(trial.intermediate_values)) for trial in study.trials}
    assert states["1e-06"] == (TrialState.PRUNED, 2)
    assert states["0.1"] == (TrialState.COMPLETE, 3)
    assert states["1e+30"][0] == TrialState.PRUNED


def test_each_trial_of_a_program_hears_of_its_own_run_also_when_another_is_stopped() -> None:
    """Two choices that are the same for all, so that the three trials share a program."""

    def recipe(first: Any, slope: float, unused: str) -> Any:
        return told(first, slope)

    space = {"first": FloatDistribution(1.0, 3.0, step=1.0), "slope": CategoricalDistribution([2.0])}
    space["unused"] = CategoricalDistribution(["x"])
    pruner = optuna.pruners.ThresholdPruner(lower=1.5)
    study = tune.search(
        recipe, space, ROWS, trials=3, epochs=2, batch_size=10, sampler="grid", at_once=3, pruner=pruner
    )
    reported = {trial.params["first"]: (trial.state.name, trial.intermediate_values) for trial in study.trials}
    assert reported == {
        1.0: ("PRUNED", {0: 1.0}),
        2.0: ("COMPLETE", {0: 2.0, 1: 4.0}),
        3.0: ("COMPLETE", {0: 3.0, 1: 5.0}),
    }


def test_a_trial_that_ends_in_nan_counts_as_pruned() -> None:
    space = {"first": CategoricalDistribution([float("nan"), 1.0])}
    study = tune.search(
        lambda first: told(first, 0.0), space, ROWS, trials=2, epochs=2, batch_size=10, sampler="grid", at_once=2
    )
    assert {trial.state for trial in study.trials} == {TrialState.PRUNED, TrialState.COMPLETE}
    assert study.best_value == 1.0


def test_a_search_goes_on_where_it_was(data: Data, tmp_path: Path) -> None:
    shared = {"storage": f"sqlite:///{tmp_path}/study.db", "study_name": "rates"}
    first = [trial.value for trial in search(data, trials=2, **shared).trials]
    second = [trial.value for trial in search(data, trials=3, seed=1, **shared).trials]
    assert (len(first), len(second)) == (2, 3)
    assert second[:2] == first
    with pytest.raises(ValueError, match="the mode of the study 'rates' in this storage, MINIMIZE, got 'max'"):
        search(data, trials=3, mode="max", **shared)
    with pytest.raises(ValueError, match=r"expected epochs=2 as in the study 'rates' in this storage, got 1; pass"):
        search(data, trials=4, epochs=1, **shared)
    with pytest.raises(ValueError, match="expected metric='loss' as in the study 'rates' in this storage, got 'accura"):
        search(data, trials=4, metric="accuracy", mode="min", **shared)
    other = {"lr": CategoricalDistribution([0.1])}
    with pytest.raises(ValueError, match=r"search: expected lr as in the study 'rates' .*, FloatDist.*, got Categ"):
        search(data, other, trials=4, **shared)
    assert len(search(data, trials=3, **shared).trials) == 3


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_that_goes_on_does_not_try_the_same_again(sampler: Any) -> None:
    shared = {"storage": optuna.storages.InMemoryStorage(), "study_name": "rates", "sampler": sampler}
    study = None
    for trials in (2, 4, 5):
        study = tune.search(seen_by, RATE, ROWS, trials=trials, epochs=1, batch_size=10, **shared)
    assert study is not None
    assert len({trial.params["lr"] for trial in study.trials}) == 5


def test_a_recipe_that_needs_a_number_is_told_which_ones_are_traced() -> None:
    with pytest.raises(Exception, match=r"[Tt]race") as caught:
        tune.search(lambda lr: seen_by(float(lr)), RATE, ROWS, trials=1, epochs=1, batch_size=10)
    assert caught.value.__notes__[0].startswith("search, in recipe(lr): This hyper-parameter is traced")


def test_a_range_that_the_optimizer_refuses_is_named_before_any_trial_trains(data: Data) -> None:
    study = {"storage": optuna.storages.InMemoryStorage(), "study_name": "negative"}
    with pytest.raises(ValueError, match=r"adam: lr must lie in \[0, inf\]") as caught:
        search(data, {"p": FloatDistribution(0.0, 0.5), "lr": FloatDistribution(-1.0, 1.0)}, **study)
    assert "search: in run 0, p=0.0, lr=-1.0" in caught.value.__notes__
    assert all(trial.state == TrialState.FAIL for trial in optuna.load_study(**study).trials)


@pytest.mark.parametrize("storage", ["study.db", "sqlite:////no/such/folder/study.db"])
def test_a_storage_that_does_not_open_is_named(data: Data, storage: str) -> None:
    with pytest.raises(Exception, match=r"Could not parse|unable to open") as caught:
        search(data, storage=storage)
    assert f"search: expected a storage that Optuna can open, got {storage!r}" in caught.value.__notes__[0]


class Broken(optuna.pruners.BasePruner):
    """Breaks a search at its second trial, as Ctrl-C would."""

    def prune(self, study: optuna.Study, trial: Any) -> bool:
        if trial.number == 1:
            raise RuntimeError("no")
        return False


@pytest.mark.parametrize("sampler", ["grid", "random"])
def test_a_broken_search_makes_up_for_the_trials_that_failed(data: Data, tmp_path: Path, sampler: Any) -> None:
    storage = optuna.storages.InMemoryStorage()
    options = {"trials": 3, "sampler": sampler, "storage": storage, "study_name": "broken", "epochs": 1, "at_once": 1}
    space = {"lr": FloatDistribution(0.1, 0.3, step=0.1)}
    with pytest.raises(RuntimeError, match="no"):
        search(data, space, pruner=Broken(), **options)
    study = search(data, space, **options)
    done = [trial.params["lr"] for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert len(study.trials) == 4
    assert len(done) == 3
    if sampler == "grid":
        assert sorted(done) == [0.1, 0.2, 0.3]


def test_a_grid_has_what_another_process_left(data: Data) -> None:
    """Two processes may begin at once: what one is at, the other leaves out."""
    storage = optuna.storages.InMemoryStorage()
    space = {"lr": FloatDistribution(0.1, 0.3, step=0.1)}
    other = optuna.create_study(storage=storage, study_name="both")
    other.enqueue_trial({"lr": 0.2})
    other.ask(space)
    study = search(data, space, trials=9, sampler="grid", storage=storage, study_name="both", at_once=4)
    assert sorted(trial.params["lr"] for trial in study.trials) == [0.1, 0.2, 0.3]


def test_a_recipe_that_cannot_be_hashed_is_searched() -> None:
    class Recipe(dict):
        def __call__(self, lr: Any) -> Any:
            return seen_by(lr)

    study = tune.search(Recipe(), RATE, ROWS, trials=1, epochs=1, batch_size=10)
    assert study.best_value == pytest.approx((4.5 + study.best_params["lr"]) * 1.5)


def test_an_error_leaves_no_trial_running(data: Data) -> None:
    study_of: list[optuna.Study] = []

    class Broken(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: Any) -> bool:
            study_of.append(study)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        search(data, pruner=Broken())
    assert {trial.state for trial in study_of[0].trials} == {TrialState.FAIL}


def test_two_processes_share_a_study(data: Data, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=data[0], y=data[1])
    command = [sys.executable, str(Path(__file__).parent / "searching.py"), str(tmp_path)]
    processes = [subprocess.Popen([*command, str(seed)]) for seed in (0, 1)]
    assert [process.wait(timeout=200) for process in processes] == [0, 0]
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "journal"))
    study = optuna.load_study(study_name="shared", storage=optuna.storages.JournalStorage(backend))
    done = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    assert len(done) == len(study.trials) >= 6
    trained = [(tmp_path / f"trained-by-{seed}").read_text().split() for seed in (0, 1)]
    assert sorted(trained[0] + trained[1], key=int) == [str(trial.number) for trial in study.trials]
    assert trained[0]
    assert trained[1]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"space": {}}, TypeError, "space must be a dict with a distribution for at least one hyper-parameter"),
        ({"space": {"lr": (0.1, 1.0)}}, TypeError, r"space of lr must be an Optuna distribution, got \(0\.1, 1\.0\)"),
        ({"space": {3: RATE["lr"]}}, TypeError, "search: names of hyper-parameters must be strings, got 3"),
        ({"space": {"rate": RATE["lr"]}}, TypeError, r"a recipe that takes rate, got recipe\(lr: Any, p: Any"),
        ({"pruner": "median"}, TypeError, "pruner must be an Optuna pruner or None, got 'median'"),
        ({"trials": 0}, ValueError, "trials must be at least 1, got 0"),
        ({"at_once": 0}, ValueError, "at_once must be at least 1, got 0"),
        ({"sampler": "bayes"}, ValueError, "sampler must be one of 'tpe', 'gp', 'random', 'grid', got 'bayes'"),
        ({"seed": 2**32}, ValueError, "seed must be from 0 to 4294967295, got 4294967296"),
        ({"sampler": optuna.samplers.GridSampler({"lr": [0.1]})}, TypeError, 'does not end the study, got .*"grid"'),
        ({"sampler": "grid"}, ValueError, "the grid needs a step for lr"),
        ({"metric": "val_loss"}, KeyError, "expected one of 'loss', 'accuracy', got 'val_loss'"),
    ],
)
def test_mistakes_are_named(data: Data, changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        search(data, changes.pop("space", None), **changes)


def test_a_gaussian_process_asks_for_pytorch_at_once(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match='expected PyTorch for sampler="gp", which is not installed; pip install'):
        search(data, sampler="gp")
    assert len(search(data, sampler="random", trials=1).trials) == 1


def test_choices_must_be_hashable(data: Data) -> None:
    with pytest.warns(UserWarning, match="Choices for a categorical distribution"):
        space = {"lr": CategoricalDistribution([[0.1]])}  # pyright: ignore[reportArgumentType] - the mistake
    with pytest.raises(TypeError, match=r"choices of lr must be hashable, got \[0\.1\]; pass tuples"):
        search(data, space)


def test_a_listener_prunes_a_run_of_fit(data: Data) -> None:
    class Always(optuna.pruners.BasePruner):
        def prune(self, study: optuna.Study, trial: Any) -> bool:
            return trial.number == 1

    def objective(trial: optuna.Trial) -> float:
        listeners = [tune.PruneTrial(trial, "loss")]
        rate = trial.suggest_float("lr", 1e-4, 1e-1)
        _, history = train.fit(*recipe(rate), data, epochs=2, batch_size=50, listeners=listeners, progress=False)
        return history["loss"][-1]

    study = optuna.create_study(pruner=Always())
    with pytest.raises(TypeError, match="PruneTrial: expected the trial that Optuna gave to the objective, got Study"):
        tune.PruneTrial(study, "loss")  # pyright: ignore[reportArgumentType] - the mistake
    study.optimize(objective, n_trials=2)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE, TrialState.PRUNED]
    assert [len(trial.intermediate_values) for trial in study.trials] == [2, 1]
