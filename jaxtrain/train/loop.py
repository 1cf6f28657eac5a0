"""The training loop."""

import math
from collections.abc import Callable

from jaxtyping import PyTree

from jaxtrain._ground.checks import check_integer
from jaxtrain.train.data import Batches, on_host
from jaxtrain.train.history import History, learning_rates
from jaxtrain.train.metrics import Totals
from jaxtrain.train.progress import Progress, chosen
from jaxtrain.train.state import TrainState, copied
from jaxtrain.train.step import EvalStep, LossFn, Metrics, make_eval_step, make_train_step


class NonFiniteLossError(FloatingPointError):
    """The training loss is NaN or infinite.

    Attributes:
        step: `state.step` when the loss was computed: the number of updates before, and the count that schedules saw.
        epoch: its epoch, counted from 0 as in the history.
        loss: the loss.

    PyTorch: none; a loss of NaN goes unnoticed.
    """

    def __init__(self, step: int, epoch: int, loss: float) -> None:
        super().__init__(
            f"the loss is {loss} at step {step}, in epoch {epoch} (both counted from 0). Lower the learning rate, "
            "chain jaxtrain.optim.clip_grad_norm before the optimizer, look for NaN in the data, or let "
            "jax.config.update('jax_debug_nans', True) find the operation"
        )
        self.step = step
        self.epoch = epoch
        self.loss = loss


def fit(
    state: TrainState,
    loss_fn: LossFn,
    data: PyTree,
    *,
    epochs: int,
    batch_size: int,
    validation: PyTree | None = None,
    metrics_fn: LossFn | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
    seed: int = 0,
    start_epoch: int = 0,
    progress: bool | Progress = True,
) -> tuple[TrainState, History]:
    """Train on arrays that fit in memory, validate after every epoch, and return the state and its history.

    A smaller last batch is trained on like the others; it costs a second compilation. Metrics are read a step late and
    in chunks, so that the device never waits for the host.

    Args:
        state: the state to start from. It is copied, not consumed.
        loss_fn: `loss_fn(model, batch)` returns a loss, or a loss and a dict of metrics, see `make_train_step`.
        data: the training data, a pytree of arrays with a common number of rows. A batch is a pytree like it.
        epochs: last epoch (exclusive), at least 1.
        batch_size: rows in a batch, from 1 to the number of rows.
        validation: data to evaluate after each epoch, in evaluation mode and batches of the same size. Default None: no
            evaluation.
        metrics_fn: the function to evaluate on it, see `make_eval_step`. Default None: `loss_fn`.
        shuffle: visit the rows in a new order every epoch. Default True.
        drop_last: leave out a smaller last batch. Default False.
        seed: seed of the shuffling, at least 0. Default 0.
        start_epoch: first epoch, at least 0. A run resumed with the state after k epochs and `start_epoch=k`
            repeats what the uninterrupted run would have done, bit for bit. Default 0.
        progress: True for a bar (if rich is installed; otherwise a line for each epoch), False for silence, or your own
            `Progress`. Default True.

    Returns:
        The state after the last step, and a `History` with the lists "epoch", "loss" and each metric, "lr" if the
        optimizer tells its rate (see `learning_rates`), and "val_loss" and so on with validation data.

    Raises:
        NonFiniteLossError: if the training loss is NaN or infinite. A `FloatingPointError` that names the step.
        TypeError: if an argument has the wrong type.
        ValueError: if data have no rows or differ in their number of rows, or a number is out of range.

    Example:
        >>> import numpy as np
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> x = np.linspace(-1, 1, 50, dtype=np.float32)[:, None]
        >>> state = train.TrainState.create(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), optax.sgd(0.1))
        >>> def loss_fn(model, batch):
        ...     x, y = batch
        ...     return ((model(x) - y) ** 2).mean()
        >>> state, history = train.fit(state, loss_fn, (x, 3 * x + 1), epochs=60, batch_size=16, progress=False)
        >>> round(float(state.params["kernel"][0, 0]), 3), int(state.step), len(history["loss"])
        (3.0, 240, 60)

    PyTorch: none; every script has its own two nested loops.
    """
    if not isinstance(state, TrainState):
        raise TypeError(f"fit: state must be a TrainState, see TrainState.create, got {state!r}")
    if metrics_fn is not None and validation is None:
        raise ValueError(
            "fit: expected validation data for metrics_fn, got None; pass it, or let loss_fn return metrics"
        )
    arrays, rows = on_host("fit: data", data)
    check_integer("fit", "batch_size", batch_size, 1, rows)
    check_integer("fit", "seed", seed, 0)
    batches = Batches(arrays, batch_size, shuffle, seed=seed, drop_last=drop_last)
    held_out = None if validation is None else _in_order("fit: validation", validation, batch_size)
    ahead = range(check_integer("fit", "start_epoch", start_epoch, 0), check_integer("fit", "epochs", epochs, 1))

    train_step, eval_step = make_train_step(loss_fn), make_eval_step(metrics_fn or loss_fn)
    state, step, history, shown = copied(state), int(state.step), History(), chosen(progress)
    shown.start(ahead, len(batches))
    try:
        for epoch in ahead:
            totals = Totals(_stop_unless_finite(step, epoch))
            for batch in batches.epoch(epoch):
                state, metrics = train_step(state, batch)
                read_before = totals.steps
                totals.add(metrics)
                if totals.steps > read_before:
                    shown.advance(totals.steps, totals.averages())
            entries = {"epoch": epoch, **totals.finish(), **learning_rates(state)}
            if held_out is not None:
                averages = _evaluate(eval_step, state, held_out)
                entries |= {f"val_{name}": average for name, average in averages.items()}
            history.append(entries)
            shown.epoch(entries)
            step += len(batches)
    finally:
        shown.stop()
    return state, history


def evaluate(eval_step: EvalStep, state: TrainState, data: PyTree, *, batch_size: int = 1024) -> dict[str, float]:
    """Average the metrics of an evaluation step over arrays that fit in memory.

    Args:
        eval_step: an evaluation step from `make_eval_step`.
        state: the state to evaluate. It does not change.
        data: a pytree of arrays with a common number of rows.
        batch_size: rows in a batch, at least 1; with fewer rows, they are all in one batch. Default 1024.

    Returns:
        The average of each metric over all examples, as Python floats.

    Raises:
        TypeError: if something in `data` is not an array of numbers.
        ValueError: if `data` has no rows or arrays that differ in their number of rows, or `batch_size` is below 1.

    Example:
        >>> import numpy as np
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> state = train.TrainState.create(nnx.Dropout(0.5, rngs=nnx.Rngs(0)), optax.sgd(0.1))
        >>> eval_step = train.make_eval_step(lambda model, batch: {"mean": model(batch)})
        >>> train.evaluate(eval_step, state, np.arange(5, dtype=np.float32), batch_size=2)
        {'mean': 2.0}

    PyTorch: the loop under `model.eval()` and `torch.no_grad()`.
    """
    check_integer("evaluate", "batch_size", batch_size, 1)
    return _evaluate(eval_step, state, _in_order("evaluate: data", data, batch_size))


def _in_order(where: str, data: PyTree, batch_size: int) -> Batches:
    """Batches for evaluation: in order, and a single one if there are fewer rows than `batch_size`."""
    arrays, rows = on_host(where, data)
    return Batches(arrays, min(batch_size, rows))


def _evaluate(eval_step: EvalStep, state: TrainState, batches: Batches) -> dict[str, float]:
    totals = Totals()
    for batch in batches.epoch():
        totals.add(eval_step(state, batch))
    return totals.finish()


def _stop_unless_finite(first_step: int, epoch: int) -> Callable[[int, Metrics], None]:
    def check(index: int, metrics: Metrics) -> None:
        loss = float(metrics["loss"].value)
        if not math.isfinite(loss):
            raise NonFiniteLossError(first_step + index, epoch, loss)

    return check
