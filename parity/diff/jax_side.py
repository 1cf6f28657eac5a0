"""JAX's side: the training steps of a port recorded."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from parity.diff.casts import casts_of
from parity.diff.jax_arrays import to_jax
from parity.diff.ports import Port, is_float
from parity.diff.ports.port import as_numpy
from parity.diff.records import Call, Place, Step
from parity.diff.walk import Hidden, Passing, Walk, split

Loss = Callable[..., Any]


class JaxSide:
    """A port in training.

    Args:
        port: the model.
        loss: called with the model and the batch; None for a fixed function of the output.
        dtype: "float64" or "float32".
        silent: whether dropout layers return their input.
    """

    def __init__(self, port: Port, loss: Loss | None, *, dtype: str = "float64", silent: bool = False):
        self.port, self.loss, self.dtype, self.silent = port, loss, dtype, silent
        self.unrolled = False
        self.batch: tuple[Any, ...] = ()
        self._seen: list[Call] = []

    def arrays(self) -> dict[str, np.ndarray]:
        """The variables under PyTorch's names, in its layout."""
        return self.port.arrays(self.port.params, self.port.rest)

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over values, by the names that `arrays` gives them."""
        self.port.params, self.port.rest = self.port.filled(arrays)

    def trained(
        self, gradients: Sequence[Mapping[str, np.ndarray]], optimizer: optax.GradientTransformation
    ) -> list[dict[str, np.ndarray]]:
        """The parameters after each step of the optimizer on given gradients; zeros where none is given."""
        values, update = self.port.tree(self.port.params), updating(optimizer)
        zeros = {name: np.zeros_like(array) for name, array in self.arrays().items()}
        state, found = optimizer.init(values), []
        for given in gradients:
            back, _ = self.port.filled(zeros | dict(given))
            values, state = update(self.port.tree(back), state, values)
            found.append(self.port.arrays(jax.tree.leaves(values), []))
        return found

    def recorded(
        self, batches: Sequence[tuple[Any, ...]], optimizer: optax.GradientTransformation | None
    ) -> list[Step]:
        """Train, one step a batch, and record each step."""
        params, rest = self.port.params, self.port.rest
        state = optimizer.init(self.port.tree(params)) if optimizer else None
        steps = []
        for batch in batches:
            arrays = tuple(to_jax(array, self.dtype) for array in batch)
            self.batch = self.batch or arrays
            step, gradients, rest = self._step(params, rest, arrays)
            if optimizer:
                update = updating(optimizer)
                values, state = update(self.port.tree(gradients), state, self.port.tree(params))
                params = jax.tree.leaves(values)
                step.parameters = self.port.arrays(params, [])
            steps.append(step)
        return steps

    def optimizer_casts(self, optimizer: optax.GradientTransformation) -> list[tuple[str, str]]:
        """The casts to fewer digits inside an optimizer, and their lines."""
        values = self.port.tree(self.port.params)
        state = optimizer.init(values)
        return list(casts_of(jax.make_jaxpr(optimizer.update)(values, state, values).jaxpr, counts=True))

    def evaluated(self, model: Any, walk: Walk, batch: tuple[Any, ...]) -> tuple[jax.Array, Any]:
        """The loss, and what it returned besides."""
        with walk.over(self.port, model), jax.disable_jit() if self.unrolled else nullcontext():
            if self.loss is None:
                return mean_sine(self.port.on_batch(model, *batch)), None
            returned: Any = self.loss(model, *batch)
        pair: tuple[Any, Any] = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)
        value, extra = pair
        if getattr(value, "shape", None) != ():
            raise ValueError(
                f"diff: expected our loss to return a scalar, got {_described(value)}; take the mean of it"
            )
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise ValueError(f"diff: expected our loss to return a float, got {value.dtype}")
        return value, extra

    def called(self, batch: tuple[Any, ...]) -> list[Call]:
        """The calls of a step, without their arrays."""
        calls, run = self._recording(self.port.rest, tuple(to_jax(array, self.dtype) for array in batch))
        self._shapes(run, self.port.params)
        return calls

    def _recording(self, rest: list[Any], batch: tuple[Any, ...]) -> tuple[list[Call], Callable[..., Any]]:
        """A list of calls, and a function of parameters and taps that fills it and returns the arrays."""
        calls: list[Call] = []

        def run(params: list[Any], taps: Mapping[Place, list[Any]]) -> Any:
            calls.clear()

            def handle(passing: Passing) -> Any:
                arguments, inputs = split((passing.args, passing.kwargs))
                output, dropped = passing(), None
                if self.drops(passing):
                    output, dropped = passing.args[0], output
                    dropped = None if dropped is output else dropped
                shape, outputs = split(output)
                if passing.given is not None:
                    outputs = [y if tap is None else y + tap for y, tap in zip(outputs, passing.given, strict=True)]
                call = Call(*passing.place, passing.kind, arguments, [], [], shape=shape)
                call.within, call.maps, call.rate = passing.within, passing.maps, rate_of(passing)
                calls.append(call)
                walk.kept[passing.place] = inputs, outputs, dropped
                return shape.filled(outputs)

            maps = {call.place: call.maps for call in self._seen} if taps else {}
            walk = Walk(handle, taps, maps, strict=not self.unrolled)
            model = self.port.bind(params, rest)
            value, extra = self.evaluated(model, walk, batch)
            return value, (walk.kept, self.port.after(model, extra))

        return calls, run

    def _step(self, params: list[Any], rest: list[Any], batch: tuple[Any, ...]) -> tuple[Step, list[Any], list[Any]]:
        calls, run = self._recording(rest, batch)
        _, (kept, _) = self._shapes(run, params)
        self._seen = list(calls)
        zeros = lru_cache(jnp.zeros)
        taps = {
            place: [zeros(y.shape, y.dtype) if jnp.issubdtype(y.dtype, jnp.floating) else None for y in outputs]
            for place, (_, outputs, _) in kept.items()
        }
        (value, (kept, after)), (gradients, back) = jax.value_and_grad(run, (0, 1), has_aux=True)(params, taps)
        for call in calls:
            inputs, outputs, dropped = kept[call.place]
            call.inputs, call.outputs = [as_numpy(x) for x in inputs], [as_numpy(y) for y in outputs]
            call.output_gradients = [None if g is None else as_numpy(g) for g in back[call.place]]
            call.dropped = None if dropped is None else as_numpy(dropped)
        arrays = self.port.arrays([None] * len(params), after)
        found = self.port.arrays(gradients, [])
        return Step(list(calls), float(value), found, arrays), gradients, after

    def _shapes(self, run: Callable[..., Any], params: list[Any]) -> Any:
        """The shapes of a run; with `jax.jit` and `jax.lax.scan` unrolled if layers are inside of them."""
        try:
            return jax.eval_shape(lambda params: run(params, {}), params)
        except Hidden:
            self.unrolled = True
        return jax.eval_shape(lambda params: run(params, {}), params)

    def drops(self, passing: Passing) -> bool:
        """Whether a call is one of a dropout layer that is to return its input."""
        return self.silent and "Dropout" in passing.kind


@lru_cache(maxsize=4)
def updating(optimizer: optax.GradientTransformation) -> Callable[..., Any]:
    """The step of an optimizer, compiled once."""

    def update(gradients: Any, state: Any, values: Any) -> Any:
        updates, state = optimizer.update(gradients, state, values)
        return optax.apply_updates(values, updates), state

    return jax.jit(update)


def rate_of(passing: Passing) -> float | None:
    """The rate of a dropout layer."""
    if "Dropout" not in passing.kind:
        return None
    rate = getattr(passing.module, "p", getattr(passing.module, "rate", None))
    return float(rate) if isinstance(rate, int | float) else None


def mean_sine(output: Any) -> jax.Array:
    """The loss where none is given, as on PyTorch's side."""
    leaf = next((leaf for leaf in jax.tree.leaves(output) if is_float(leaf)), None)
    if leaf is None:
        raise ValueError(f"diff: expected the port to return an array of floats, got {_described(output)}")
    return jnp.sin(leaf).mean()


def _described(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"an array of shape {tuple(shape)}" if shape is not None else type(value).__name__
