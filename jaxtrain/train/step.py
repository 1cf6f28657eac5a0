"""One training step and one evaluation step, each a single compiled program."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, PyTree

from jaxtrain._ground.checks import check_integer
from jaxtrain.train._leaves import after, select
from jaxtrain.train._shapes import ShapeWatch
from jaxtrain.train.accumulation import MakeKey, gradients_of, value_of
from jaxtrain.train.blueprint import Variables
from jaxtrain.train.grad_scaler import all_finite
from jaxtrain.train.metrics import Average, Metrics, as_average
from jaxtrain.train.placement import Placement, check_placement, placed
from jaxtrain.train.state import TrainState, check_callable, check_loss, check_state

Averages = dict[str, Average]
LossFn = Callable[..., Any]
"""`loss_fn(model, batch)` or `loss_fn(model, batch, key)`."""
Observe = Callable[[Variables, Variables, Variables], Mapping[str, Any]]
TrainStep = Callable[[TrainState, Any], tuple[TrainState, Metrics]]
EvalStep = Callable[[TrainState, Any], Metrics]


def make_train_step(
    loss_fn: LossFn, *, observe: Observe | None = None, accumulate: int = 1, placement: Placement | None = None
) -> TrainStep:
    """Compile one update of the parameters.

    The step computes the loss in training mode and its gradient, lets the optimizer update the parameters, and keeps
    the new values of the module's other variables. It is a plain `jax.jit` of a function from pytrees to pytrees, and
    can be lowered, exported, scanned and sharded like any other.

    Args:
        loss_fn: `loss_fn(model, batch)` returns a loss, or a loss and a dict of metrics. `model` is the NNX module in
            training mode, `batch` the argument of the step. The loss is a scalar, or an `Average` whose `value` is
            minimized, for example over non-padding tokens. A metric is an `Average`, or an array with one value for
            each example, or a scalar: the mean over the rows of the batch. If `loss_fn` has a third argument called
            `key`, it gets a random key, another one at each step.
        observe: `observe(gradients, updates, params)` returns more metrics: the norm of the gradients, for instance. It
            runs in the compiled step; `params` are those before the update. Default None.
        accumulate: compute the gradients of a batch in so many parts, one after the other, at least 1. The update is
            that of the whole batch, the memory that of a part. A batch norm sees the parts. Default 1.
        placement: the devices over which the step is spread. Place the first state with its `put`, and each batch with
            its `put_batch`. Default None: the step runs where its state lies.

    Returns:
        `step(state, batch) -> (state, metrics)`. The given state is consumed (donated): continue with the returned one.
        Only the optimizer changes parameters; what `loss_fn` writes into an `nnx.Param` is lost. `metrics` maps
        "loss" and each metric of `loss_fn` to an `Average`; add the averages of several steps before dividing.
        Transformations that take extra arguments get `value` (the loss), `grad`, and `value_fn`, the loss as a function
        of the parameters. In a profile, the parts of the step are called `loss` and `optimizer`. If the state skips
        steps whose gradients are not finite, there is a metric "skipped", 1 for such a step, and the step's other
        metrics count nothing.

    Raises:
        TypeError: if `loss_fn` returns something else, or a loss that is not a scalar (when the step is first called).
        ValueError: if `loss_fn` adds variables to the module, or `accumulate` is below 1.

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> state = train.TrainState.create(nnx.Linear(2, 1, rngs=nnx.Rngs(0)), optax.sgd(0.1))
        >>> step = train.make_train_step(lambda model, batch: ((model(batch) - 1.0) ** 2).mean())
        >>> for _ in range(100):
        ...     state, metrics = step(state, jnp.ones((4, 2)))
        >>> int(state.step), int(metrics["loss"].count), bool(metrics["loss"].value < 1e-9)
        (100, 4, True)

    PyTorch: `model.train(); optimizer.zero_grad(); loss = loss_fn(model(x), y); loss.backward(); optimizer.step()`.
    """
    check_callable("make_train_step", "loss_fn", loss_fn)
    if observe is not None:
        check_callable("make_train_step", "observe", observe)
    check_integer("make_train_step", "accumulate", accumulate, 1)
    check_placement("make_train_step", placement)
    watch = ShapeWatch("train step", expected=2)
    call = with_key(loss_fn)
    place = () if placement is None else (placement.constrained,)

    def train_step(state: TrainState, batch: PyTree) -> tuple[TrainState, Metrics]:
        check_state("train step", state)
        watch.see(batch)

        def objective(model: nnx.Module, part: PyTree, key: MakeKey) -> tuple[Float[Array, ""], Averages]:
            return _loss_and_metrics("train step: loss_fn", call(model, part, key), part)

        with jax.named_scope("loss"):
            gradients, loss, metrics, seen = gradients_of(objective, state, batch, accumulate, *place)

        def value_fn(params: Variables) -> Float[Array, ""]:
            return value_of(objective, dataclasses.replace(state, params=params), batch, accumulate, *place)

        with jax.named_scope("optimizer"):
            new, updates = seen.updated(gradients, value=loss, grad=gradients, value_fn=value_fn)
            new = after(loss, new)
        if observe is not None:
            metrics = _with_observed(metrics, observe(gradients, updates, state.params), batch)
        if state.blueprint.options.most_skipped:
            new, metrics = _skipping(all_finite(gradients), state, new, metrics)
        return new, Metrics.of(metrics)

    return jax.jit(placed(train_step, placement), donate_argnums=0)


def make_eval_step(metrics_fn: LossFn, *, placement: Placement | None = None) -> EvalStep:
    """Compile the evaluation of one batch, in evaluation mode: no dropout, running statistics.

    Args:
        metrics_fn: `metrics_fn(model, batch)` returns a dict of metrics, or what the `loss_fn` of `make_train_step`
            returns. Metrics are the same as there. A third argument called `key` is the same for all batches.
        placement: as there. Default None.

    Returns:
        `step(state, batch) -> metrics`, a mapping from names to `Average`. The state does not change, and nothing
        that `metrics_fn` does to the module lasts.

    Raises:
        TypeError: if `metrics_fn` returns something else (when the step is first called).

    Example:
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> state = train.TrainState.create(nnx.Dropout(0.5, rngs=nnx.Rngs(0)), optax.sgd(0.1))
        >>> step = train.make_eval_step(lambda model, batch: {"kept": model(batch) == batch})
        >>> metrics = step(state, jnp.ones((3, 5)))
        >>> int(metrics["kept"].total), int(metrics["kept"].count)
        (15, 15)

    PyTorch: `model.eval()` and `with torch.no_grad():`.
    """
    check_callable("make_eval_step", "metrics_fn", metrics_fn)
    check_placement("make_eval_step", placement)
    watch = ShapeWatch("evaluation step", expected=4)
    call = with_key(metrics_fn)

    def eval_step(state: TrainState, batch: PyTree) -> Metrics:
        check_state("evaluation step", state)
        watch.see(batch)
        model = state.blueprint.computing(state.params, state.model_state, state.key, state.step, train=False)
        result = call(model, batch, state.step_key)
        if isinstance(result, Mapping):
            return Metrics.of({name: as_average(name, metric, batch) for name, metric in result.items()})
        return Metrics.of(_loss_and_metrics("evaluation step: metrics_fn", result, batch)[1])

    return jax.jit(placed(eval_step, placement))


def _skipping(
    finite: Bool[Array, ""], before: TrainState, new: TrainState, metrics: Averages
) -> tuple[TrainState, Averages]:
    """The state and the metrics of a step whose update was skipped if it was not finite."""
    model_state = select(finite, new.model_state, before.model_state)
    counted = {
        name: Average(jnp.where(finite, metric.total, 0), jnp.where(finite, metric.count, 0))
        for name, metric in metrics.items()
    }
    skipped = Average((~finite).astype(jnp.int32), jnp.int32(1))
    return dataclasses.replace(new, model_state=model_state), {**counted, "skipped": skipped}


def with_key(function: LossFn) -> Callable[[Any, Any, MakeKey], Any]:
    """`function(model, batch, key())` of a function that may not want the key, which is then never derived."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):  # A builtin has no signature.
        parameters = []
    positional = [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    if positional[2:3] == ["key"]:
        return lambda model, batch, key: function(model, batch, key())
    return lambda model, batch, key: function(model, batch)


def _loss_and_metrics(where: str, result: Any, batch: PyTree) -> tuple[Float[Array, ""], Averages]:
    """The loss to minimize, and all metrics including the loss."""
    loss, metrics = result if type(result) is tuple and len(result) == 2 else (result, {})
    value: Any = loss.value if isinstance(loss, Average) else loss
    if not isinstance(metrics, Mapping) or not all(map(_is_free, metrics)):
        raise TypeError(
            f"{where} must return a loss, or a loss and a dict of metrics, whose names are strings other than 'loss', "
            f"'skipped', 'epoch', 'lr' and 'val_...', which a run logs itself; got metrics {metrics!r}"
        )
    check_loss(where, value)
    metrics = {"loss": loss, **metrics}
    return value, {name: as_average(name, metric, batch) for name, metric in metrics.items()}


def _is_free(name: Any) -> bool:
    """Whether a metric may have this name."""
    return isinstance(name, str) and name not in ("loss", "skipped", "epoch", "lr") and not name.startswith("val_")


def _with_observed(metrics: Averages, observed: Any, batch: PyTree) -> Averages:
    """The metrics of `loss_fn` and those of `observe`."""
    if not isinstance(observed, Mapping) or not all(map(_is_free, observed)) or observed.keys() & metrics.keys():
        raise TypeError(
            f"observe must return a dict of metrics with other names than {', '.join(map(repr, metrics))}, got "
            f"{observed!r}"
        )
    return metrics | {name: as_average(name, metric, batch) for name, metric in observed.items()}
