"""Single layers of a port, and its loss, run again on other arrays."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from parity.diff.casts import casts_of
from parity.diff.forced import Forced, forced_call, forcing
from parity.diff.jax_arrays import as_it_is, to_jax
from parity.diff.jax_side import JaxSide
from parity.diff.ports import is_float
from parity.diff.ports.port import as_numpy
from parity.diff.records import Call, Place, Replayed
from parity.diff.walk import Passing, Walk, split


class Reached(Exception):
    """The layer has returned, and the rest of the model need not run."""


def replay(
    side: JaxSide,
    call: Call,
    inputs: Sequence[np.ndarray],
    cotangents: Sequence[np.ndarray | None],
    forced: Forced,
    others: Mapping[Place, Call],
    names: set[str],
) -> Replayed:
    """Run one layer on other inputs, and send other gradients of its outputs back through it.

    Args:
        side: the port.
        call: the call as it was recorded. For a mark, the layer around it runs until the marked value is there.
        inputs: of the layer, in place of the recorded arrays.
        cotangents: of each output; None for zero.
        forced: calls inside that return given outputs instead, and the gradients of their inputs.
        others: the calls of the step; those outside of the layer return what they returned.
        names: of the parameters whose gradients are wanted.
    """
    wanted = sorted({slot.at for name in names for slot in side.port.slots.get(name, ())})
    wanted = [at for at in wanted if at < len(side.port.params)]
    run = _layer(side, call, inputs, forced, others, wanted)
    floats = [to_jax(x, side.dtype) for x in inputs if is_float(x)]
    outputs, pullback, (inner, after) = jax.vjp(run, [side.port.params[at] for at in wanted], floats, has_aux=True)
    back = [
        jnp.zeros_like(y) if c is None or c.size != y.size else jnp.asarray(c, y.dtype).reshape(y.shape)
        for y, c in zip(outputs, [*cotangents, *[None] * len(outputs)], strict=False)
    ]
    back = [c if jnp.issubdtype(c.dtype, jnp.floating) else np.zeros(c.shape, jax.dtypes.float0) for c in back]
    gradients, input_gradients = pullback(back)
    found: list[Any] = [None] * len(side.port.params)
    for at, gradient in zip(wanted, gradients, strict=True):
        found[at] = gradient
    left = iter(input_gradients)
    return Replayed(
        [as_numpy(y) for y in outputs],
        [as_numpy(next(left)) if is_float(x) else None for x in inputs],
        side.port.arrays(found, []),
        side.port.arrays([None] * len(found), after),
        {place: [as_numpy(x) for x in arrays] for place, arrays in inner.items()},
    )


def _layer(
    side: JaxSide,
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
        place: [as_it_is(y, side.dtype) for y in other.outputs]
        for place, other in others.items()
        if place not in host.within and place != host.place and set(other.within) <= set(host.within)
    }
    given |= {place: forcing(*value, side.dtype) for place, value in forced.items()}
    maps = {place: other.maps for place, other in others.items()}

    def run(params: list[Any], floats: list[Any]) -> Any:
        left = iter(floats)
        fed = [next(left) if is_float(x) else as_it_is(x, side.dtype) for x in inputs]
        places: list[Place] = []

        def reached(outputs: list[Any]) -> None:
            walk.kept[target] = outputs
            if not walk.mapped and side.port.interruptible:
                raise Reached

        def inside(passing: Passing) -> Any:
            if passing.place == target:
                reached([passing.args[0]])
            if side.drops(passing):
                return passing.args[0]
            walk.kept[passing.place] = split((passing.args, passing.kwargs))[1]
            places.append(passing.place)
            return passing() if passing.given is None else forced_call(passing, others[passing.place].shape)

        def handle(passing: Passing) -> Any:
            if passing.place == host.place:
                args, kwargs = host.arguments.filled(passing.given)
                output = args[0] if side.drops(passing) else passing.call(*args, **kwargs)
                if host is call:
                    reached(split(output)[1])
                return output
            if host.place in passing.within:
                return inside(passing)
            if passing.given is not None:
                return others[passing.place].shape.filled(passing.given)
            return passing()

        walk = Walk(handle, {**given, host.place: fed}, maps)
        model = side.port.bind(_with(side, wanted, params), side.port.rest)
        extra = None
        try:
            _, extra = side.evaluated(model, walk, side.batch)
            after = side.port.after(model, extra)
        except Reached:
            after = side.port.after(model, None)
        outputs = walk.kept[target]
        return outputs, ({place: walk.kept[place] for place in places}, after)

    return run


def _with(side: JaxSide, wanted: Sequence[int], params: Sequence[Any]) -> list[Any]:
    found = list(side.port.params)
    for at, value in zip(wanted, params, strict=True):
        found[at] = value
    return found


def layer_casts(
    side: JaxSide, call: Call, inputs: Sequence[np.ndarray], forced: Forced, others: Mapping[Place, Call]
) -> Iterator[tuple[str, str]]:
    """The casts to fewer digits inside a layer, and their lines."""
    run = _layer(side, call, inputs, forced, others, [])
    floats = [to_jax(x, side.dtype) for x in inputs if is_float(x)]
    yield from casts_of(jax.make_jaxpr(lambda floats: run([], floats)[0])(floats).jaxpr)


def replay_loss(side: JaxSide, ours: Call, outputs: Sequence[np.ndarray], batch: tuple[Any, ...]) -> Replayed:
    """The loss on other outputs of the model, and its gradients with respect to them."""
    arrays = tuple(to_jax(array, side.dtype) for array in batch)

    def run(floats: list[Any]) -> jax.Array:
        left = iter(floats)
        given = [next(left) if is_float(y) else to_jax(y, side.dtype) for y in outputs]

        def handle(passing: Passing) -> Any:
            if passing.place == ours.place:
                return ours.shape.filled(passing.given)
            # The loss calls a part of the model by itself.
            return passing.args[0] if side.drops(passing) else passing()

        walk = Walk(handle, {ours.place: given}, {ours.place: ours.maps})
        return side.evaluated(side.port.bind(side.port.params, side.port.rest), walk, arrays)[0]

    value, gradients = jax.value_and_grad(run)([to_jax(y, side.dtype) for y in outputs if is_float(y)])
    left = iter(gradients)
    return Replayed([as_numpy(value)], [as_numpy(next(left)) if is_float(y) else None for y in outputs])
