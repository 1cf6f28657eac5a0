"""Grid, random and Bayesian search on Optuna, whose trials share compiled programs."""

import itertools
import warnings
from collections.abc import Hashable, Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import jax
import numpy as np
from jaxtyping import PyTree

from jaxtrain._ground.checks import check_choice, check_integer
from jaxtrain.train.data import Batches
from jaxtrain.train.listeners.best import Watched
from jaxtrain.train.step import LossFn
from jaxtrain.tune.members import members
from jaxtrain.tune.pruning import import_optuna
from jaxtrain.tune.recipe import Recipe, check_recipe
from jaxtrain.tune.runs import Entries, Runs, costs
from jaxtrain.tune.sweep import check_arrays, check_ends, check_metrics_fn, held_out_rows

if TYPE_CHECKING:
    import optuna

Sampler = Literal["tpe", "gp", "random", "grid"]


def search(
    recipe: Recipe,
    space: Mapping[str, "optuna.distributions.BaseDistribution"],
    data: PyTree,
    *,
    trials: int,
    epochs: int,
    batch_size: int,
    validation: PyTree | None = None,
    metrics_fn: LossFn | None = None,
    metric: str | None = None,
    mode: Literal["min", "max"] | None = None,
    sampler: "Sampler | optuna.samplers.BaseSampler" = "tpe",
    pruner: "optuna.pruners.BasePruner | None" = None,
    at_once: int = 1,
    storage: "str | optuna.storages.BaseStorage | None" = None,
    study_name: str | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
    seed: int = 0,
) -> "optuna.Study":
    """Search for good hyper-parameters, by grid, at random, or by a model of what earlier trials found.

    Numbers from a `FloatDistribution` are traced: all trials share one compiled program. Integers and choices reach the
    recipe as they are, may decide shapes, and cost a compilation for each combination.

    Args:
        recipe: `recipe(**hyperparameters)` returns a `TrainState` and a `loss_fn`, see `sweep`.
        space: for each hyper-parameter an Optuna distribution, `FloatDistribution(1e-4, 1.0, log=True)` for instance.
        data: the training data, a pytree of arrays with a common number of rows.
        trials: how many the study should have in the end, at least 1: trials of an earlier call or of another process
            with the same storage and name count, so an interrupted search goes on where it was. Those that failed do
            not count.
        epochs: at least 1.
        batch_size: rows in a batch, from 1 to the number of rows.
        validation: arrays to evaluate after each epoch, in evaluation mode. Default None: no evaluation.
        metrics_fn: the function to evaluate on them, see `make_eval_step`. Default None: the loss of the recipe.
        metric: the entry to optimize, after the last epoch. Default None: "val_loss", or "loss" without validation.
        mode: "min" or "max". Default None: "min" for names that end in "loss", "max" for "accuracy".
        sampler: "tpe" (tree-structured Parzen estimator), "gp" (Gaussian process, needs PyTorch and SciPy), "random",
            "grid" (every combination once; needs choices, or distributions with a step), or an Optuna sampler. Default
            "tpe".
        pruner: an Optuna pruner, which stops bad trials early. Default None: no trial is stopped.
        at_once: how many trials are asked for and trained together, at least 1. More are faster; the sampler then
            learns from them later. Default 1.
        storage: Optuna's storage, `"sqlite:///study.db"` or a `JournalStorage` for instance, which several processes
            and machines may share. Default None: in memory.
        study_name: the name of the study in the storage. Default None: Optuna makes one up.
        shuffle: visit the rows in a new order every epoch, the same for all trials. Default True.
        drop_last: leave out a smaller last batch. Default False.
        seed: seed of the shuffling and of the sampler, from 0 to 2³² - 1. Processes that share a study need different
            ones. Default 0.

    Returns:
        The Optuna study: `best_params`, `best_value`, `trials_dataframe()`; `optuna.visualization.matplotlib` draws it.
        A trial whose metric is NaN in the end counts as pruned.

    Raises:
        ImportError: without Optuna, the extra `tune`, or with sampler "gp" without PyTorch.
        TypeError: if `recipe` returns something else, or `space` does not hold distributions.
        ValueError: if a number is out of range, or the study in the storage has the other mode, another metric, number
            of epochs or space. Also if the optimizer or a layer refuses the ends of a `FloatDistribution`.
        KeyError: if the runs do not log `metric`.

    Example:
        >>> import numpy as np
        >>> import optuna
        >>> from flax import nnx
        >>> from jaxtrain import losses, optim, train, tune
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
        >>> def recipe(lr):
        ...     def loss_fn(model, batch):
        ...         return losses.mse_loss(model(batch[0]), batch[1])
        ...     return train.TrainState.create(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), optim.sgd(lr)), loss_fn
        >>> space = {"lr": optuna.distributions.FloatDistribution(1e-4, 10.0, log=True)}
        >>> study = tune.search(recipe, space, (x, 3 * x), trials=12, epochs=5, batch_size=8, at_once=4)
        >>> len(study.trials), bool(study.best_value < 1)
        (12, True)

    PyTorch: none; Optuna's example calls a training script in an objective.

    Source: Akiba et al., "Optuna: A Next-generation Hyperparameter Optimization Framework", 2019,
    https://arxiv.org/abs/1907.10902
    """
    for name, number in (("trials", trials), ("epochs", epochs), ("at_once", at_once)):
        check_integer("search", name, number, 1)
    check_integer("search", "seed", seed, 0, 2**32 - 1)
    optuna = import_optuna()
    for name, distribution in _space(space).items():
        if not isinstance(name, str):
            raise TypeError(f"search: names of hyper-parameters must be strings, got {name!r}")
        if not isinstance(distribution, optuna.distributions.BaseDistribution):
            raise TypeError(
                f"search: space of {name} must be an Optuna distribution, got {distribution!r}; pass "
                "optuna.distributions.FloatDistribution(low, high, log=True)"
            )
        for choice in getattr(distribution, "choices", ()):
            if not isinstance(choice, Hashable):
                raise TypeError(
                    f"search: choices of {name} must be hashable, got {choice!r}; pass tuples, or strings by which the "
                    "recipe finds it"
                )
    check_recipe("search", recipe, space)
    check_metrics_fn("search", metrics_fn, validation)
    check_arrays("search: data", data)
    if not isinstance(pruner, optuna.pruners.BasePruner | None):
        raise TypeError(
            f"search: pruner must be an Optuna pruner or None, got {pruner!r}; pass optuna.pruners.MedianPruner()"
        )
    watched = Watched("search", metric or ("loss" if validation is None else "val_loss"), mode)
    _check_sampler(sampler)
    points = _points(space) if sampler == "grid" else None
    batches = Batches(data, batch_size, shuffle, seed=seed, drop_last=drop_last)
    held_out = held_out_rows("search", validation, batch_size)
    try:
        study = optuna.create_study(
            storage=storage,
            study_name=study_name,
            load_if_exists=study_name is not None,
            direction="minimize" if watched.mode == "min" else "maximize",
            pruner=pruner or optuna.pruners.NopPruner(),
        )
    except Exception as error:
        error.add_note(
            f"search: expected a storage that Optuna can open, got {storage!r}; pass 'sqlite:///study.db' for "
            "instance, in a folder that exists"
        )
        raise
    if (study.direction.name == "MINIMIZE") != (watched.mode == "min"):
        raise ValueError(
            f"search: expected the mode of the study {study.study_name!r} in this storage, {study.direction.name}, got "
            f"{watched.mode!r} for {watched.name!r}; pass another study_name"
        )
    _check_space(study, space)
    _check_goal(study, {"metric": watched.name, "epochs": epochs})
    study.sampler = _sampler(sampler, seed, len(study.trials))
    programs = _Programs(recipe, space, metrics_fn, len(batches))
    while ahead := _ahead(study, trials, points)[:at_once]:
        asked: list[Any] = []
        try:
            for point in ahead:
                if point:
                    study.enqueue_trial(point)
                asked.append(study.ask(dict(space)))
            for together in programs.grouped(asked):
                _run(study, together, programs, batches, held_out, epochs, watched)
        except BaseException:
            _give_up(study, asked)
            raise
    return study


class _Programs:
    """The compiled programs of a search: one for each combination of integers and choices."""

    def __init__(self, recipe: Recipe, space: Mapping[str, Any], metrics_fn: LossFn | None, steps: int) -> None:
        floats = import_optuna().distributions.FloatDistribution
        self._ends = {name: np.array([of.low, of.high]) for name, of in space.items() if isinstance(of, floats)}
        self._checked: set[Any] = set()
        self._recipe = recipe
        self._metrics_fn = metrics_fn
        self._steps = steps

    def grouped(self, trials: list[Any]) -> list[list[Any]]:
        """The trials that can share a program."""
        groups: dict[Any, list[Any]] = {}
        for trial in trials:
            groups.setdefault(self._fixed(trial), []).append(trial)
        return list(groups.values())

    def start(self, trials: list[Any]) -> Runs:
        """The runs of trials that share a program."""
        fixed = self._fixed(trials[0])
        can_be_kept = isinstance(self._recipe, Hashable)
        recipe = (_with_fixed if can_be_kept else _with_fixed.__wrapped__)(self._recipe, fixed)
        if fixed not in self._checked:
            check_ends("search", recipe, self._ends)
            self._checked.add(fixed)
        values = {name: np.array([trial.params[name] for trial in trials]) for name in self._ends}
        programs = members("search", recipe, self._metrics_fn, jax.local_devices(), self._steps)
        return Runs(programs, values, len(trials), at_once=None)

    def _fixed(self, trial: Any) -> tuple[tuple[str, Any], ...]:
        return tuple((name, value) for name, value in trial.params.items() if name not in self._ends)


@lru_cache(maxsize=64)
def _with_fixed(recipe: Recipe, fixed: tuple[tuple[str, Any], ...]) -> Recipe:
    """The recipe with its integers and choices filled in; the same function again for equal ones."""

    def filled(**traced: Any) -> Any:
        return recipe(**traced, **dict(fixed))

    return filled


def _run(
    study: Any, trials: list[Any], programs: _Programs, batches: Batches, held_out: Batches | None, epochs: int,
    watched: Watched,
) -> None:  # fmt: skip
    """Train trials together, report to Optuna after every epoch, and tell it how they ended."""
    pruned = import_optuna().trial.TrialState.PRUNED
    runs = programs.start(trials)

    def kept(epoch: int, entries: Entries) -> np.ndarray:
        lost = ~np.isfinite(costs(watched, entries))
        going_on = []
        for position, run in enumerate(runs.remaining):
            trials[run].report(entries[watched.name][position], epoch)
            if trials[run].should_prune() or (epoch + 1 == epochs and lost[position]):
                study.tell(trials[run], state=pruned)
            else:
                going_on.append(position)
        return np.array(going_on, int)

    history = runs.fit(batches, held_out, epochs, kept)
    for run in runs.remaining:
        study.tell(trials[run], float(history[watched.name][run, -1]))


def _give_up(study: Any, trials: list[Any]) -> None:
    """Mark trials that an error or Ctrl-C ended as failed: they would count as running forever."""
    states = import_optuna().trial.TrialState
    for trial in trials:
        if study.trials[trial.number].state == states.RUNNING:
            study.tell(trial, state=states.FAIL)


def _space(space: Any) -> Mapping[str, Any]:
    if isinstance(space, Mapping) and space:
        return space
    raise TypeError(
        f"search: space must be a dict with a distribution for at least one hyper-parameter, got {space!r}; pass "
        '{"lr": optuna.distributions.FloatDistribution(1e-4, 1.0, log=True)}'
    )


def _check_sampler(sampler: Any) -> None:
    samplers = import_optuna().samplers
    if isinstance(sampler, samplers.GridSampler | samplers.BruteForceSampler):
        # They end a study from inside `optimize`, which needs one process and one trial at a time.
        raise TypeError(f'search: expected a sampler that does not end the study, got {sampler!r}; pass sampler="grid"')
    if not isinstance(sampler, samplers.BaseSampler):
        check_choice("search", "sampler", sampler, ("tpe", "gp", "random", "grid"))
    if sampler == "gp" and find_spec("torch") is None:
        # Optuna would say so after ten random trials.
        raise ImportError('search: expected PyTorch for sampler="gp", which is not installed; pip install torch')


def _sampler(sampler: Any, seed: int, begun: int) -> Any:
    """The sampler of a study with `begun` trials: with the same seed it would draw those once more."""
    optuna = import_optuna()
    samplers = optuna.samplers
    if isinstance(sampler, samplers.BaseSampler):
        return sampler
    if begun:
        seed = int(np.random.SeedSequence((seed, begun)).generate_state(1)[0])
    if sampler in ("random", "grid"):
        return samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        # Optuna calls GPSampler and constant_liar experimental.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # A constant liar keeps trials that run at the same time apart.
        return samplers.GPSampler(seed=seed) if sampler == "gp" else samplers.TPESampler(seed=seed, constant_liar=True)


def _check_goal(study: Any, goal: dict[str, Any]) -> None:
    """Raise if a study's trials have another metric for their value, or another number of epochs."""
    known = study.user_attrs.get("jaxtrain", goal)
    for name, wanted in goal.items():
        if known[name] != wanted:
            raise ValueError(
                f"search: expected {name}={known[name]!r} as in the study {study.study_name!r} in this storage, got "
                f"{wanted!r}; pass another study_name"
            )
    study.set_user_attr("jaxtrain", goal)


def _check_space(study: Any, space: Mapping[str, Any]) -> None:
    """Raise if the trials of a study have hyper-parameters of the same names but of another kind."""
    for trial in study.trials:
        for name in trial.distributions.keys() & space.keys():
            try:
                import_optuna().distributions.check_distribution_compatibility(trial.distributions[name], space[name])
            except ValueError as error:
                raise ValueError(
                    f"search: expected {name} as in the study {study.study_name!r} in this storage, "
                    f"{trial.distributions[name]!r}, got {space[name]!r}; pass another study_name"
                ) from error


def _ahead(study: Any, trials: int, points: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    """What is still to be tried: points of the grid, or a {} for each trial that the sampler chooses."""
    states = import_optuna().trial.TrialState
    tried = [trial.params for trial in study.trials if trial.state not in (states.WAITING, states.FAIL)]
    if points is None:
        return [{}] * (trials - len(tried))
    ahead = [point for point in points if point not in tried]
    return ahead[: max(0, trials - (len(points) - len(ahead)))]


def _points(space: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All combinations, for a grid."""
    columns = [_values(name, given) for name, given in space.items()]
    return [dict(zip(space, point, strict=True)) for point in itertools.product(*columns)]


def _values(name: str, distribution: Any) -> list[Any]:
    """All values of a distribution, for a grid."""
    if hasattr(distribution, "choices"):
        return list(distribution.choices)
    if distribution.step is None:
        raise ValueError(
            f"search: the grid needs a step for {name}, got {distribution!r}; pass step=, or a CategoricalDistribution"
        )
    count = round((distribution.high - distribution.low) / distribution.step) + 1
    return [min(distribution.low + index * distribution.step, distribution.high) for index in range(count)]
