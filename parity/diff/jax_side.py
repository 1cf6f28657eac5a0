"""JAX's side: the training steps of a port recorded, and single layers of it run again."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from parity.diff.casts import casts_of
from parity.diff.ports import Port, is_float
from parity.diff.ports.port import as_numpy
from parity.diff.records import Call, Place, Replayed, Step
from parity.diff.walk import Hidden, Passing, Walk, split

Loss = Callable[..., Any]
Forced = Mapping[Place, tuple[list[np.ndarray], list[np.ndarray | None]]]


class Reached(Exception):
    """The layer has returned, and the rest of the model need not run."""


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
        self._batch: tuple[Any, ...] = ()
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
            self._batch = self._batch or arrays
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
        return list(casts_of(jax.make_jaxpr(optimizer.update)(values, state, values).jaxpr))

    def _evaluated(self, model: Any, walk: Walk, batch: tuple[Any, ...]) -> tuple[jax.Array, Any]:
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
                if self._drops(passing):
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
            value, extra = self._evaluated(model, walk, batch)
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

    def replay(
        self,
        call: Call,
        inputs: Sequence[np.ndarray],
        cotangents: Sequence[np.ndarray | None],
        forced: Forced,
        others: Mapping[Place, Call],
        names: set[str],
    ) -> Replayed:
        """Run one layer on other inputs, and send other gradients of its outputs back through it.

        Args:
            call: the call as it was recorded. For a mark, the layer around it runs until the marked value is there.
            inputs: of the layer, in place of the recorded arrays.
            cotangents: of each output; None for zero.
            forced: calls inside that return given outputs instead, and the gradients of their inputs.
            others: the calls of the step; those outside of the layer return what they returned.
            names: of the parameters whose gradients are wanted.
        """
        wanted = sorted({slot.at for name in names for slot in self.port.slots.get(name, ())})
        wanted = [at for at in wanted if at < len(self.port.params)]
        run = self._layer(call, inputs, forced, others, wanted)
        floats = [to_jax(x, self.dtype) for x in inputs if is_float(x)]
        outputs, pullback, (inner, after) = jax.vjp(run, [self.port.params[at] for at in wanted], floats, has_aux=True)
        back = [
            jnp.zeros_like(y) if c is None or c.size != y.size else jnp.asarray(c, y.dtype).reshape(y.shape)
            for y, c in zip(outputs, [*cotangents, *[None] * len(outputs)], strict=False)
        ]
        back = [c if jnp.issubdtype(c.dtype, jnp.floating) else np.zeros(c.shape, jax.dtypes.float0) for c in back]
        gradients, input_gradients = pullback(back)
        found: list[Any] = [None] * len(self.port.params)
        for at, gradient in zip(wanted, gradients, strict=True):
            found[at] = gradient
        left = iter(input_gradients)
        return Replayed(
            [as_numpy(y) for y in outputs],
            [as_numpy(next(left)) if is_float(x) else None for x in inputs],
            self.port.arrays(found, []),
            self.port.arrays([None] * len(found), after),
            {place: [as_numpy(x) for x in arrays] for place, arrays in inner.items()},
        )

    def _layer(
        self,
        call: Call,
        inputs: Sequence[np.ndarray],
        forced: Forced,
        others: Mapping[Place, Call],
        wanted: Sequence[int],
    ) -> Callable[[list[Any], list[Any]], Any]:
        """One layer as a function of the wanted parameters and its floating inputs."""
        target = call.place
        host = others[call.within[-1]] if call.kind == "mark" else call
        # What lies inside of a call that returns what it returned is not reached.
        given: dict[Place, Any] = {
            place: [as_it_is(y, self.dtype) for y in other.outputs]
            for place, other in others.items()
            if place not in host.within and place != host.place and set(other.within) <= set(host.within)
        }
        given |= {place: self._forcing(*value) for place, value in forced.items()}
        maps = {place: other.maps for place, other in others.items()}

        def run(params: list[Any], floats: list[Any]) -> Any:
            left = iter(floats)
            fed = [next(left) if is_float(x) else as_it_is(x, self.dtype) for x in inputs]
            places: list[Place] = []

            def reached(outputs: list[Any]) -> None:
                walk.kept[target] = outputs
                if not walk.mapped and self.port.interruptible:
                    raise Reached

            def inside(passing: Passing) -> Any:
                if passing.place == target:
                    reached([passing.args[0]])
                if self._drops(passing):
                    return passing.args[0]
                walk.kept[passing.place] = split((passing.args, passing.kwargs))[1]
                places.append(passing.place)
                return passing() if passing.given is None else _forced(passing, others[passing.place].shape)

            def handle(passing: Passing) -> Any:
                if passing.place == host.place:
                    args, kwargs = host.arguments.filled(passing.given)
                    output = args[0] if self._drops(passing) else passing.call(*args, **kwargs)
                    if host is call:
                        reached(split(output)[1])
                    return output
                if host.place in passing.within:
                    return inside(passing)
                if passing.given is not None:
                    return others[passing.place].shape.filled(passing.given)
                return passing()

            walk = Walk(handle, {**given, host.place: fed}, maps)
            model = self.port.bind(self._with(wanted, params), self.port.rest)
            extra = None
            try:
                _, extra = self._evaluated(model, walk, self._batch)
                after = self.port.after(model, extra)
            except Reached:
                after = self.port.after(model, None)
            outputs = walk.kept[target]
            return outputs, ({place: walk.kept[place] for place in places}, after)

        return run

    def _drops(self, passing: Passing) -> bool:
        return self.silent and "Dropout" in passing.kind

    def _with(self, wanted: Sequence[int], params: Sequence[Any]) -> list[Any]:
        found = list(self.port.params)
        for at, value in zip(wanted, params, strict=True):
            found[at] = value
        return found

    def _forcing(self, outputs: Sequence[np.ndarray], gradients: Sequence[np.ndarray | None]) -> Any:
        back = [None if g is None else to_jax(g, self.dtype) for g in gradients]
        return [to_jax(y, self.dtype) for y in outputs], back

    def casts(
        self, call: Call, inputs: Sequence[np.ndarray], forced: Forced, others: Mapping[Place, Call]
    ) -> Iterator[tuple[str, str]]:
        """The casts to fewer digits inside a layer, and their lines."""
        run = self._layer(call, inputs, forced, others, [])
        floats = [to_jax(x, self.dtype) for x in inputs if is_float(x)]
        yield from casts_of(jax.make_jaxpr(lambda floats: run([], floats)[0])(floats).jaxpr)

    def replay_loss(self, ours: Call, outputs: Sequence[np.ndarray], batch: tuple[Any, ...]) -> Replayed:
        """The loss on other outputs of the model, and its gradients with respect to them."""
        arrays = tuple(to_jax(array, self.dtype) for array in batch)

        def run(floats: list[Any]) -> jax.Array:
            left = iter(floats)
            given = [next(left) if is_float(y) else to_jax(y, self.dtype) for y in outputs]

            def handle(passing: Passing) -> Any:
                if passing.place == ours.place:
                    return ours.shape.filled(passing.given)
                # The loss calls a part of the model by itself.
                return passing.args[0] if self._drops(passing) else passing()

            walk = Walk(handle, {ours.place: given}, {ours.place: ours.maps})
            return self._evaluated(self.port.bind(self.port.params, self.port.rest), walk, arrays)[0]

        value, gradients = jax.value_and_grad(run)([to_jax(y, self.dtype) for y in outputs if is_float(y)])
        left = iter(gradients)
        return Replayed([as_numpy(value)], [as_numpy(next(left)) if is_float(y) else None for y in outputs])


@lru_cache(maxsize=4)
def updating(optimizer: optax.GradientTransformation) -> Callable[..., Any]:
    """The step of an optimizer, compiled once."""

    def update(gradients: Any, state: Any, values: Any) -> Any:
        updates, state = optimizer.update(gradients, state, values)
        return optax.apply_updates(values, updates), state

    return jax.jit(update)


def _forced(passing: Passing, shape: Any) -> Any:
    """What a call is made to return, while the gradients of its inputs are made to be others."""
    outputs, gradients = passing.given
    floats = [x for x in split((passing.args, passing.kwargs))[1] if is_float(x)]
    back = [
        jnp.zeros_like(x) if g is None or g.size != x.size else jnp.asarray(g, x.dtype).reshape(x.shape)
        for x, g in zip(floats, [*gradients, *[None] * len(floats)], strict=False)
    ]
    return shape.filled(_constant(floats, outputs, back))


@jax.custom_vjp
def _constant(floats: list[Any], outputs: list[Any], back: list[Any]) -> list[Any]:
    return outputs


def _constant_forward(floats: list[Any], outputs: list[Any], back: list[Any]) -> Any:
    return outputs, (outputs, back)


def _constant_backward(kept: Any, cotangents: Any) -> Any:
    outputs, back = kept
    return back, jax.tree.map(_zero, outputs), jax.tree.map(jnp.zeros_like, back)


def _zero(value: Any) -> Any:
    floating = jnp.issubdtype(value.dtype, jnp.floating)
    return jnp.zeros_like(value) if floating else np.zeros(value.shape, jax.dtypes.float0)


_constant.defvjp(_constant_forward, _constant_backward)


def to_jax(array: Any, dtype: str) -> Any:
    """JAX's array, in `dtype` if it is a floating one; integers become int32."""
    array = np.asarray(array)
    return jnp.asarray(array, jnp.int32) if np.issubdtype(array.dtype, np.integer) else as_it_is(array, dtype)


def as_it_is(array: Any, dtype: str) -> Any:
    """JAX's array, in `dtype` if it is a floating one."""
    return jnp.asarray(array, dtype if jnp.issubdtype(array.dtype, jnp.floating) else array.dtype)


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
