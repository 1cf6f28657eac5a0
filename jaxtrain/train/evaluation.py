"""Metrics and predictions over whole data sets."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import PyTree

from jaxtrain._ground.checks import check_integer
from jaxtrain.train.data import Batches, on_host
from jaxtrain.train.dispatch import Feed, Single, accelerator, kept, put
from jaxtrain.train.metrics import Average
from jaxtrain.train.placement import Placement, check_parts, check_placement, placed, placement_of
from jaxtrain.train.sources import Source, Stream, are_arrays
from jaxtrain.train.state import TrainState, check_callable, check_state
from jaxtrain.train.step import EvalStep
from jaxtrain.train.totals import Totals


def evaluate(eval_step: EvalStep, state: TrainState, data: Source, *, batch_size: int = 1024) -> dict[str, float]:
    """Average the metrics of an evaluation step over a data set.

    Args:
        eval_step: an evaluation step from `make_eval_step`.
        state: the state to evaluate. It does not change.
        data: a pytree of arrays with a common number of rows, or batches, see `fit`. In a run of several processes,
            batches need a step with a `placement`.
        batch_size: rows in a batch of arrays, at least 1; with fewer rows, they are all in one batch. Default 1024.

    Returns:
        The average of each metric over all examples, as Python floats.

    Raises:
        TypeError: if `state` is not a `TrainState`, or something in `data` is not an array of numbers.
        ValueError: if `data` has no rows or arrays that differ in their number of rows, `batch_size` is below 1, or
            several processes have batches and a step without a placement.

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
    if not callable(eval_step) or not isinstance(state, TrainState) or isinstance(data, TrainState):
        raise TypeError(
            f"evaluate: expected an evaluation step, a TrainState and data, got {type(eval_step).__name__}, "
            f"{type(state).__name__} and {type(data).__name__}; call evaluate(eval_step, state, data)"
        )
    check_state("evaluate", state)
    check_integer("evaluate", "batch_size", batch_size, 1)

    def averaged(state: TrainState, batch: PyTree) -> Mapping[str, Average]:
        metrics = eval_step(state, batch)
        if not isinstance(metrics, Mapping):
            raise TypeError(f"evaluate: expected a step from make_eval_step, got one that returns {type(metrics)}")
        return metrics

    batches, placement = held_out("evaluate: data", data, batch_size), placement_of(eval_step)
    if isinstance(batches, Stream):
        check_parts("evaluate", state, placement, "pass make_eval_step(metrics_fn, placement=...)")
    single = Single(averaged, batches, placement, accelerator(state, placement))
    return metrics_of(single, state)[0]


def predict(
    state: TrainState,
    function: Callable[[Any, Any], PyTree],
    data: Source,
    *,
    batch_size: int = 1024,
    placement: Placement | None = None,
) -> PyTree:
    """Apply a function of the model to a data set, in evaluation mode.

    Args:
        state: the state whose model predicts. It does not change.
        function: `function(model, batch)` returns an array, or a pytree of arrays, with one row for each example.
        data: a pytree of arrays with a common number of rows, or batches, see `fit`.
        batch_size: rows in a batch of arrays, at least 1; with fewer rows, they are all in one batch. Default 1024.
        placement: the devices over which the state was spread, see `fit`; they share the rows of each batch. In a run
            of several processes, batches need it. Default None: each device that has the state computes all rows.

    Returns:
        The rows of all batches, in order, as NumPy arrays; in a run of several processes, all rows in each.

    Raises:
        TypeError: if `state` is not a `TrainState`, or something in `data` is not an array of numbers.
        ValueError: if `data` has no rows or arrays that differ in their number of rows, `batch_size` is below 1, the
            function returns another number of rows, or several processes have batches and no placement.

    Example:
        >>> import numpy as np
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> state = train.TrainState.create(nnx.Dropout(0.5, rngs=nnx.Rngs(0)), optax.sgd(0.1))
        >>> train.predict(state, lambda model, x: model(2 * x), np.arange(5), batch_size=2)
        array([0, 2, 4, 6, 8], dtype=int32)

    PyTorch: `torch.cat([model(x) for x in loader])` under `model.eval()` and `torch.no_grad()`.
    """
    check_state("predict", state)
    check_integer("predict", "batch_size", batch_size, 1)
    check_callable("predict", "function", function)
    check_placement("predict", placement)
    batches = held_out("predict: data", data, batch_size)
    if isinstance(batches, Stream):
        check_parts("predict", state, placement, "pass placement=")
    where: Any = state.step.sharding
    # What lies on devices of other processes cannot be read here.
    gathered = None if where.is_fully_addressable else NamedSharding(where.mesh, PartitionSpec())
    step = kept(_make_predict_step, batch_size, function, placement=placement, gathered=gathered)
    to_devices = put(batches, placement, accelerator(state, placement))
    parts = [step(state, to_devices(batch)) for batch in batches.epoch(0)]
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *jax.device_get(parts))


def _make_predict_step(
    function: Callable[[Any, Any], PyTree], *, placement: Placement | None, gathered: NamedSharding | None
) -> Callable[[TrainState, PyTree], PyTree]:
    def predict_step(state: TrainState, batch: PyTree) -> list[PyTree]:
        model = state.blueprint.computing(state.params, state.model_state, state.key, state.step, train=False)
        rows = function(model, batch)
        sizes = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(rows)}
        if not sizes or not sizes <= {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(batch)} - {()}:
            raise ValueError(
                f"predict: expected arrays with a row for each example, got the shapes {jax.tree.map(jnp.shape, rows)} "
                f"for a batch of {jax.tree.map(jnp.shape, batch)}; for an average call evaluate"
            )
        # In a list: a tuple would be a state and metrics.
        return [rows]

    step = jax.jit(placed(predict_step, placement), out_shardings=gathered)
    return lambda state, batch: step(state, batch)[0]


def held_out(where: str, data: Source, batch_size: int) -> Batches | Stream:
    """Batches for evaluation: those of an iterable; of arrays in order, and a single one if there are few rows."""
    if not are_arrays(data):
        return Stream(where, data)
    arrays, rows = on_host(where, data)
    return Batches(arrays, min(batch_size, rows))


def metrics_of(
    feed: Feed, state: TrainState, meanwhile: Callable[[], Any] = lambda: None
) -> tuple[dict[str, float], Any]:
    """The averages over one pass through a feed of evaluation steps, and what `meanwhile` returned.

    `meanwhile()` is called when the first step is under way.
    """
    totals, result = Totals(), None
    for number, (dispatch, steps) in enumerate(feed.epoch(0)):
        totals.add(dispatch(state), steps)
        if number == 0:
            result = meanwhile()
    return totals.finish(), result


def evaluated(state: TrainState) -> TrainState:
    """The state that `fit` evaluates: its average if it has one."""
    return state if state.average is None else state.averaged()
