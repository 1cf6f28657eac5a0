"""A learning rate that falls when a quantity of the history stops improving."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from jaxtrain.train.listeners.best import Watched
from jaxtrain.train.listeners.protocol import Listener, Run
from jaxtrain.train.rates import set_learning_rate
from jaxtrain.train.state import TrainState


class PlateauRule(Protocol):
    """What `jaxtrain.schedules.reduce_lr_on_plateau` returns: two functions, whose states have a field `lr`."""

    @property
    def init(self) -> Callable[[], Any]: ...

    @property
    def update(self) -> Callable[[Any, Any], Any]: ...


class ReduceLROnPlateau(Listener):
    """Sets the learning rate after each epoch by a rule that watches a quantity of the history.

    The optimizer must keep its rate in its state, where it can be set: `optax.inject_hyperparams(optim.sgd)(lr=0.1)`.

    Args:
        name: the quantity, "val_loss" for instance.
        rule: the rule, `jaxtrain.schedules.reduce_lr_on_plateau(0.1, patience=5)`, which also has the first rate.
        memory: the state of the rule to begin with, such as that of a PyTorch run, `interop.load_scheduler(rule, ...)`.
            Default None: the rule's first state.

    Raises:
        KeyError: if the run does not log the quantity.
        ValueError: if the state of the optimizer has no rate that can be set.

    Example:
        >>> import numpy as np
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import optim, schedules, train
        >>> optimizer = optax.inject_hyperparams(optim.sgd)(lr=2.0)
        >>> state = train.TrainState.create(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), optimizer)
        >>> def loss_fn(model, x):
        ...     return (model(x) ** 2).mean()
        >>> rule = schedules.reduce_lr_on_plateau(2.0, factor=0.5, patience=0)
        >>> state, history = train.fit(
        ...     state, loss_fn, np.ones((4, 1), np.float32), epochs=4, batch_size=4,
        ...     listeners=[train.ReduceLROnPlateau("loss", rule)], progress=False,
        ... )
        >>> history["lr"]
        [2.0, 2.0, 1.0, 0.5]

    PyTorch: `scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)` and `scheduler.step(val_loss)`.
    """

    def __init__(self, name: str, rule: PlateauRule, memory: Any = None) -> None:
        # The rule compares the values; this only reads them, for which any mode will do.
        self._watched = Watched("ReduceLROnPlateau", name, "min")
        if not (hasattr(rule, "init") and hasattr(rule, "update")):
            raise TypeError(
                f"ReduceLROnPlateau: rule must be a jaxtrain.schedules.reduce_lr_on_plateau, got {rule!r}; pass "
                "schedules.reduce_lr_on_plateau(lr)"
            )
        self._rule, self._first = rule, memory

    def started(self, run: Run) -> None:
        self.memory = self._rule.init() if self._first is None else self._first
        run.state = set_learning_rate(run.state, self.memory.lr)

    def epoch_ended(self, epoch: int, entries: Mapping[str, float], state: TrainState) -> TrainState:
        self.memory = self._rule.update(self.memory, self._watched.read(entries))
        return set_learning_rate(state, self.memory.lr)
