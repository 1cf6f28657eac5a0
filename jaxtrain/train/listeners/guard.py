"""A run whose loss is NaN or infinite stops."""

import math
from collections.abc import Mapping

from jaxtrain.train.listeners.protocol import Listener, Run
from jaxtrain.train.rates import learning_rates
from jaxtrain.train.state import TrainState


class NonFiniteLossError(FloatingPointError):
    """The training loss is NaN or infinite.

    Attributes:
        step: `state.step` when the loss was computed: the number of updates before, and the count that schedules saw.
        epoch: its epoch, counted from 0 as in the history.
        loss: the loss.
        state: the last state. It is a few steps younger than the loss, for metrics are read late.

    PyTorch: none; a loss of NaN goes unnoticed.
    """

    def __init__(self, step: int, epoch: int, loss: float, state: TrainState) -> None:
        rates = ", ".join(f"{name} {rate:.4g}" for name, rate in learning_rates(state).items())
        super().__init__(
            f"the loss is {loss} at step {step}, in epoch {epoch} (both counted from 0){rates and f', with {rates}'}. "
            "Lower the learning rate, chain jaxtrain.optim.clip_grad_norm before the optimizer, look for NaN in the "
            "data and for labels outside the range of the classes, or let jax.config.update('jax_debug_nans', True) "
            "find the operation"
        )
        self.step = step
        self.epoch = epoch
        self.loss = loss
        self.state = state


class NonFiniteGuard(Listener):
    """Stops a run whose loss is NaN or infinite by a `NonFiniteLossError`; `fit` always has one.

    PyTorch: none.
    """

    def started(self, run: Run) -> None:
        self._run = run

    def stepped(self, step: int, metrics: Mapping[str, float]) -> None:
        if not math.isfinite(metrics["loss"]):
            raise NonFiniteLossError(step, self._run.epoch, metrics["loss"], self._run.state)
