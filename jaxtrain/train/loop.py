"""The training loop."""

from collections.abc import Iterable

from jaxtrain._ground.checks import check_flag, check_integer
from jaxtrain.train._leaves import committed, copied
from jaxtrain.train.again import again_if_asked
from jaxtrain.train.data import Batches, on_host
from jaxtrain.train.dispatch import Feed, feed, kept, mapped, scanned
from jaxtrain.train.epochs import in_epochs
from jaxtrain.train.evaluation import evaluated, held_out, metrics_of
from jaxtrain.train.interrupt import InterruptBetweenSteps
from jaxtrain.train.listeners.function import Hears
from jaxtrain.train.listeners.guard import NonFiniteGuard
from jaxtrain.train.listeners.history import History
from jaxtrain.train.listeners.listening import Listening
from jaxtrain.train.listeners.progress import progress_listeners
from jaxtrain.train.listeners.protocol import Listener, Run
from jaxtrain.train.placement import Placement, check_placement
from jaxtrain.train.rates import rates_of
from jaxtrain.train.sources import Source, Stream, are_arrays, steps_in_epoch
from jaxtrain.train.state import TrainState, check_callable, check_state
from jaxtrain.train.step import LossFn, Observe, make_eval_step, make_train_step
from jaxtrain.train.totals import Partial, Totals


@again_if_asked
def fit(
    state: TrainState,
    loss_fn: LossFn,
    data: Source,
    *,
    epochs: int,
    batch_size: int | None = None,
    validation: Source | None = None,
    validation_batch_size: int | None = None,
    metrics_fn: LossFn | None = None,
    shuffle: bool = True,
    drop_last: bool = False,
    seed: int = 0,
    start_epoch: int = 0,
    observe: Observe | None = None,
    accumulate: int = 1,
    steps_per_dispatch: int | None = None,
    placement: Placement | None = None,
    listeners: Iterable[Hears] = (),
    progress: bool = True,
) -> tuple[TrainState, History]:
    """Train, validate after every epoch, and return the state and its history.

    Ctrl-C ends the run after the current step, or program of steps, and returns the state and the history so far.
    SIGTERM ends the process with exit code 143 after it, when listeners have written what they have to.

    Args:
        state: the state to start from. It is copied, not consumed. Schedules in its optimizer that count epochs learn
            here how many steps an epoch has, see `schedules.per_epoch`.
        loss_fn: `loss_fn(model, batch)`, or `loss_fn(model, batch, key)`, returns a loss, or a loss and a dict of
            metrics, see `make_train_step`.
        data: the training data. With `batch_size`, a pytree of arrays with a common number of rows; a batch is a pytree
            like it, and a smaller last batch costs a second compilation. Without, something that yields batches again
            every epoch: a torch `DataLoader`, a grain loader, a `tf.data.Dataset`, a list; or a function of the
            epoch's number that returns its batches.
        epochs: last epoch (exclusive), at least 1.
        batch_size: rows in a batch of arrays, from 1 to the number of rows. Default None: `data` yields batches.
        validation: arrays or batches to evaluate after each epoch, in evaluation mode, with the average of the
            parameters if the state has one. Default None: no evaluation.
        validation_batch_size: rows in a batch of validation arrays, at least 1; with fewer rows, they are all in one
            batch. Default None: `batch_size`, or 1024 if there is none.
        metrics_fn: the function to evaluate on it, see `make_eval_step`. Default None: `loss_fn`.
        shuffle: visit the rows of arrays in a new order every epoch. Default True.
        drop_last: leave out a smaller last batch of arrays. Default False.
        seed: seed of the shuffling, at least 0. Default 0.
        start_epoch: first epoch, from 0 to `epochs` - 1. A run resumed with the state after k epochs and
            `start_epoch=k` repeats what the uninterrupted run would have done, bit for bit. Default 0.
        observe: `observe(gradients, updates, params)` returns more metrics, see `make_train_step`. Default None.
        accumulate: compute the gradients of a batch in so many parts, at least 1, see `make_train_step`. Default 1.
        steps_per_dispatch: the most steps in one program, at least 1. Default None: many for small steps on arrays in
            memory, one elsewhere; the logger "jaxtrain" says which and why.
        placement: the devices over which state and batches are spread. `batch_size` counts the rows on all devices and
            is a multiple of those along the data. In a run of several processes each has the same arrays; what yields
            batches yields the part of the process. Default None: the run stays on the device of its state.
        listeners: what follows the run: `Listener` objects, and functions that are called with the entries of each
            epoch, a dict. Default none.
        progress: True for a bar (if rich is installed; otherwise a line for each epoch). Default True.

    Returns:
        The state after the last step, and a `History` with the lists "epoch", "loss" and each metric, "lr" if the
        optimizer tells its rate (see `learning_rates`), and "val_loss" and so on with validation data.

    Raises:
        NonFiniteLossError: if the training loss is NaN or infinite. A `FloatingPointError` that names the step.
        TypeError: if an argument has the wrong type.
        ValueError: if data have no rows or differ in their number of rows, a number is out of range, or a schedule in
            the optimizer ends before the run.

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
    check_state("fit", state)
    if metrics_fn is not None and validation is None:
        raise ValueError(
            "fit: expected validation data for metrics_fn, got None; pass it, or let loss_fn return metrics"
        )
    if validation_batch_size is not None and validation is None:
        raise ValueError("fit: expected validation data for validation_batch_size, got None; pass it")
    check_callable("fit", "loss_fn", loss_fn)
    check_flag("fit", "shuffle", shuffle)
    check_flag("fit", "drop_last", drop_last)
    check_integer("fit", "epochs", epochs, 1)
    check_integer("fit", "start_epoch", start_epoch, 0, epochs - 1)
    if steps_per_dispatch is not None:
        check_integer("fit", "steps_per_dispatch", steps_per_dispatch, 1)
    batches = _batches(data, batch_size, shuffle, seed, drop_last)
    check_placement("fit", placement)
    state = in_epochs(state, steps_in_epoch(batches), epochs - start_epoch)
    if placement is not None:
        if batch_size is not None:
            placement.check_rows("fit: batch_size", batch_size)
        state = placement.put(state)
    train_step = kept(make_train_step, batch_size, loss_fn, observe=observe, accumulate=accumulate, placement=placement)
    training = feed("fit", train_step, scanned, batches, state, steps_per_dispatch, placement)
    rows = batch_size if validation_batch_size is None else validation_batch_size
    evaluation = _evaluation(state, metrics_fn or loss_fn, validation, rows, placement)

    if isinstance(listeners, Listener) or not isinstance(listeners, Iterable):
        raise TypeError(f"fit: listeners must be a list of jaxtrain.train.Listener objects, got {listeners!r} alone")
    run = Run(range(start_epoch, epochs), training.steps, copied(state), start_epoch, History())

    def trained() -> dict[str, float]:
        rates = rates_of(run.state)
        return {**run.totals.finish(), **{name: float(rate) for name, rate in rates.items()}}

    with (
        InterruptBetweenSteps() as interrupt,
        Listening(run, [run.history, NonFiniteGuard(), *listeners, *progress_listeners(progress)]) as told,
    ):
        step, run.state = int(run.state.step) - run.begun.steps, committed(run.state)
        for epoch in run.epochs:
            begun = run.begun if epoch == run.epochs.start else Partial()
            run.epoch, run.totals = epoch, (totals := Totals(told.stepped, step, begun))
            following = epoch + 1 if epoch + 1 in run.epochs else None
            for dispatch, steps in training.epoch(epoch, begun.steps, following):
                run.state, metrics = dispatch(run.state)
                totals.add(metrics, steps)
                told.dispatched()
                interrupt.check()
            if evaluation is None:
                averages, entries = {}, trained()
            else:  # What the steps left is read while the device evaluates.
                averages, entries = metrics_of(evaluation, evaluated(run.state), trained)
            entries = {"epoch": epoch, **entries, **{f"val_{name}": average for name, average in averages.items()}}
            run.steps = training.steps
            step += totals.steps
            told.epoch_ended(entries)
            interrupt.check()
    return run.state, run.history


def _batches(data: Source, batch_size: int | None, shuffle: bool, seed: int, drop_last: bool) -> Batches | Stream:
    """The training data of `fit`, cut into batches."""
    if batch_size is not None:
        arrays, rows = on_host("fit: data", data)
        check_integer("fit", "batch_size", batch_size, 1, rows)
        check_integer("fit", "seed", seed, 0)
        return Batches(arrays, batch_size, shuffle, seed=seed, drop_last=drop_last)
    if are_arrays(data):
        raise ValueError("fit: expected batch_size with arrays in memory, got None; pass it, or a list of batches")
    if drop_last:
        raise ValueError("fit: expected drop_last=False with an iterable of batches, got True; leave them out there")
    return Stream("fit: data", data)


def _evaluation(
    state: TrainState,
    metrics_fn: LossFn,
    validation: Source | None,
    batch_size: int | None,
    placement: Placement | None,
) -> Feed | None:
    if validation is None:
        return None
    if batch_size is not None:
        check_integer("fit", "validation_batch_size", batch_size, 1)
    eval_step = kept(make_eval_step, batch_size, metrics_fn, placement=placement)
    batches = held_out("fit: validation", validation, batch_size or 1024)
    return feed("fit: validation", eval_step, mapped, batches, evaluated(state), None, placement)
