"""Stop a run whose loss is NaN or infinite."""

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from jaxtrain._ground.paths import named_leaves
from jaxtrain.train.listeners.protocol import Listener, Run
from jaxtrain.train.rates import learning_rates
from jaxtrain.train.state import TrainState


class NonFiniteLossError(FloatingPointError):
    """The training loss is NaN or infinite, or too many steps in a row had no finite gradients.

    Attributes:
        step: `state.step` when the loss was computed: the number of updates before, and the count that schedules saw.
        epoch: its epoch, counted from 0 as in the history.
        loss: the loss; NaN for skipped steps.
        state: the last state. It is a few steps younger than the loss, for metrics are read late.

    PyTorch: none; a loss of NaN goes unnoticed.
    """

    def __init__(self, step: int, epoch: int, loss: float, state: TrainState, skipped: int = 0) -> None:
        what = f"{skipped} steps in a row had no finite gradients, the last" if skipped else f"the loss is {loss} at"
        rates = ", ".join(f"{name} {rate:.4g}" for name, rate in learning_rates(state).items())
        super().__init__(
            f"{what} step {step}, in epoch {epoch} (both counted from 0){rates and f', with {rates}'}. "
            f"{_found(state)}. Lower the learning rate, chain jaxtrain.optim.clip_grad_norm before the optimizer, look "
            "for NaN in the data and for labels outside the range of the classes, or let "
            "jax.config.update('jax_debug_nans', True) find the operation"
        )
        self.step = step
        self.epoch = epoch
        self.loss = loss
        self.state = state


def not_finite(state: TrainState) -> list[str]:
    """The paths of the parameters with a number that is not finite; waits for the state."""
    return [name for name, finite in named_leaves(jax.device_get(_are_finite(state.params))).items() if not finite]


@jax.jit
def _are_finite(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), tree)


def _found(state: TrainState) -> str:
    """A sentence on which parameters are not finite after the last step that was started."""
    broken, count = not_finite(state), len(jax.tree.leaves(state.params))
    if not broken:
        return "All parameters are still finite"
    if len(broken) == count:
        return "No parameter is finite any more"
    return f"Parameters that are not finite by now: {', '.join(broken[:3])}, in all {len(broken)} of {count}"


class NonFiniteGuard(Listener):
    """Raises a `NonFiniteLossError` when the loss of a run is NaN or infinite; `fit` always has one.

    If the state skips steps without finite gradients, it stops the run after too many of them in a row.

    PyTorch: none.
    """

    def started(self, run: Run) -> None:
        self._run = run
        self._most = run.state.blueprint.options.most_skipped
        self._skipped = 0

    def took_note(self, step: int, metrics: Mapping[str, list[float]]) -> bool:
        return not self._most and all(map(math.isfinite, metrics["loss"]))

    def stepped(self, step: int, metrics: Mapping[str, float]) -> None:
        if self._most:
            self._skipped = self._skipped + 1 if metrics["skipped"] else 0
            if self._skipped > self._most:
                raise NonFiniteLossError(step, self._run.epoch, math.nan, self._run.state, self._skipped)
            if self._skipped:
                return
        if not math.isfinite(metrics["loss"]):
            raise NonFiniteLossError(step, self._run.epoch, metrics["loss"], self._run.state)
