"""Let Optuna stop a run of `fit` that is under way."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from jaxtrain.train.listeners.best import Watched
from jaxtrain.train.listeners.protocol import Listener
from jaxtrain.train.state import TrainState

if TYPE_CHECKING:
    import optuna


class PruneTrial(Listener):
    """Tells an Optuna trial about a run of `fit`, and stops the run when the trial should be pruned.

    For an objective that `search` cannot run, because its data do not fit in memory for instance.

    Args:
        trial: the trial that Optuna gave to the objective.
        name: the quantity to report, "val_loss" for instance.

    Raises:
        TypeError: if `trial` is not an Optuna trial.
        KeyError: if the run does not log the quantity.
        optuna.TrialPruned: out of `fit`, which tells Optuna that the trial was pruned.

    Example:
        >>> import numpy as np
        >>> import optax
        >>> import optuna
        >>> from flax import nnx
        >>> from jaxtrain import train, tune
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> def loss_fn(model, x):
        ...     return (model(x) ** 2).mean()
        >>> def objective(trial):
        ...     optimizer = optax.sgd(trial.suggest_float("lr", 1e-3, 1.0, log=True))
        ...     state = train.TrainState.create(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), optimizer)
        ...     _, history = train.fit(
        ...         state, loss_fn, np.ones((4, 1), np.float32), epochs=3, batch_size=4, progress=False,
        ...         listeners=[tune.PruneTrial(trial, "loss")],
        ...     )
        ...     return history["loss"][-1]
        >>> study = optuna.create_study(pruner=optuna.pruners.MedianPruner(n_startup_trials=1))
        >>> study.optimize(objective, n_trials=3)
        >>> len(study.trials)
        3

    PyTorch: none; `optuna-integration` has one for Lightning.
    """

    def __init__(self, trial: "optuna.trial.BaseTrial", name: str) -> None:
        if not hasattr(trial, "should_prune"):
            raise TypeError(
                f"PruneTrial: expected the trial that Optuna gave to the objective, got {type(trial).__name__}"
            )
        self._trial = trial
        self._watched = Watched("PruneTrial", name, "min")  # the study knows which way is up

    def epoch_ended(self, epoch: int, entries: Mapping[str, float], state: TrainState) -> None:
        self._trial.report(self._watched.read(entries), epoch)
        if self._trial.should_prune():
            raise import_optuna().TrialPruned


def import_optuna() -> Any:
    """Optuna, which is optional."""
    try:
        import optuna
    except ImportError as error:
        raise ImportError("tune: expected Optuna, which is not installed; pip install 'jaxtrain[tune]'") from error
    return optuna
