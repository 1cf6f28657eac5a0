"""JAX's side, an NNX module: its training steps recorded, and single layers of it run again."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxtrain import interop
from parity.diff import marks
from parity.diff.casts import casts_of
from parity.diff.records import Call, Place, Replayed, Step

Loss = Callable[..., jax.Array]
Around = Callable[[str, Any, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


def paths_of(model: nnx.Module) -> dict[str, nnx.Module]:
    """The modules by their paths, with the layers of an `nnx.Sequential` numbered as in PyTorch."""
    sequences = {path for path, node in nnx.iter_modules(model) if isinstance(node, nnx.Sequential)}
    found = {}
    for path, node in sorted(nnx.iter_modules(model), key=lambda pair: len(pair[0])):
        parts = [str(key) for at, key in enumerate(path) if not (key == "layers" and path[:at] in sequences)]
        found.setdefault(".".join(parts), node)
    return found


@contextmanager
def tapped(model: nnx.Module, around: Around) -> Iterator[None]:
    """Send every call of a module inside `model` through `around(path, module, call, args, kwargs)`."""
    by_id = {id(node): path for path, node in paths_of(model).items()}
    active: set[int] = set()
    patched: list[tuple[type, Any]] = []

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(module: Any, *args: Any, **kwargs: Any) -> Any:
            # The call of a parent class is a part of this call.
            if id(module) not in by_id or id(module) in active:
                return original(module, *args, **kwargs)
            active.add(id(module))
            try:
                return around(by_id[id(module)], module, lambda *a, **k: original(module, *a, **k), args, kwargs)
            finally:
                active.discard(id(module))

        return call

    for kind in {type(node) for node in paths_of(model).values()}:
        if (original := getattr(kind, "__call__", None)) is not None:  # noqa: B004  # It is replaced below.
            patched.append((kind, vars(kind).get("__call__")))
            setattr(kind, "__call__", wrap(original))  # noqa: B010  # Type checkers refuse the assignment.
    try:
        yield
    finally:
        for kind, own in patched:
            if own is None:
                del kind.__call__
            else:
                setattr(kind, "__call__", own)  # noqa: B010


def cast(model: nnx.Module, dtype: str) -> nnx.Module:
    """A copy, with float32 variables and dtypes in float64 if that is asked for. Half precision stays."""
    model = nnx.clone(model)
    if dtype == "float64":
        for _, node in nnx.iter_modules(model):
            for name in ("dtype", "param_dtype"):
                if getattr(node, name, None) is not None and jnp.dtype(getattr(node, name)) == jnp.float32:
                    setattr(node, name, jnp.float64)
        for _, variable in nnx.iter_graph(model):
            if isinstance(variable, nnx.Variable) and not isinstance(variable, nnx.RngState):
                value = variable.get_value()
                if value.dtype == jnp.float32:
                    variable.set_value(jnp.asarray(value, jnp.float64))
    return model


def to_jax(array: Any, dtype: str) -> Any:
    array = np.asarray(array)
    if np.issubdtype(array.dtype, np.floating):
        return jnp.asarray(array, dtype)
    return jnp.asarray(array, jnp.int32 if np.issubdtype(array.dtype, np.integer) else None)


def is_float(value: Any) -> bool:
    return isinstance(value, jax.Array | np.ndarray) and jnp.issubdtype(value.dtype, jnp.floating)


@dataclass
class Arguments:
    """What a layer was called with: a tree whose arrays are kept elsewhere.

    Attributes:
        tree: the structure.
        leaves: the other leaves; None at the places of arrays.
    """

    tree: Any
    leaves: list[Any]

    def filled(self, arrays: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        left = iter(arrays)
        return jax.tree.unflatten(self.tree, [next(left) if leaf is ARRAY else leaf for leaf in self.leaves])


ARRAY = object()


def split(tree: Any) -> tuple[Arguments, list[Any]]:
    """A tree without its arrays, and these."""
    leaves, structure = jax.tree.flatten(tree, is_leaf=lambda leaf: leaf is None or isinstance(leaf, nnx.Pytree))
    arrays = [leaf for leaf in leaves if isinstance(leaf, jax.Array | np.ndarray)]
    # Random streams belong to the trace that recorded them.
    rest = [
        ARRAY if isinstance(leaf, jax.Array | np.ndarray) else nnx.Rngs(0) if isinstance(leaf, nnx.Rngs) else leaf
        for leaf in leaves
    ]
    return Arguments(structure, rest), arrays


class JaxSide:
    """An NNX module in training.

    Args:
        model: the module; it stays as it is.
        loss: called with the module and the batch.
        names: rules from our names to PyTorch's, as `interop.load_state_dict` takes them.
        as_is: PyTorch's names of arrays that have our order of axes.
        dtype: "float64" or "float32".
        silent: paths of dropout layers, which return their input.
    """

    def __init__(
        self,
        model: nnx.Module,
        loss: Loss,
        *,
        names: Mapping[str, str] | None = None,
        as_is: Collection[str] = (),
        dtype: str = "float64",
        silent: Collection[str] = (),
    ):
        self.model, self.loss, self.names, self.as_is, self.dtype = cast(model, dtype), loss, names, as_is, dtype
        self.silent = set(silent)

    def arrays(self, state: nnx.State | None = None) -> dict[str, np.ndarray]:
        """The variables under PyTorch's names, in its layout; with `state` in place of those that it has."""
        model = nnx.clone(self.model)
        if state is not None:
            nnx.update(model, state)
        found = interop.state_dict(model, names=self.names, as_is=self.as_is)
        return {name: as_numpy(array) for name, array in found.items()}

    def parameter_names(self) -> set[str]:
        """PyTorch's names of what is trained."""
        marked = jax.tree.map(lambda value: jnp.full_like(value, jnp.nan), nnx.state(self.model, nnx.Param))
        return {name for name, array in self.arrays(marked).items() if np.isnan(array).any()}

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Take over values, by the names that `arrays` gives them."""
        interop.load_state_dict(self.model, self.arrays() | dict(arrays), names=self.names, as_is=self.as_is)

    def trained(
        self, gradients: Sequence[Mapping[str, np.ndarray]], optimizer: optax.GradientTransformation
    ) -> list[dict[str, np.ndarray]]:
        """The parameters after each step of the optimizer on given gradients; zeros where none is given."""
        params = nnx.state(self.model, nnx.Param)
        values = nnx.to_pure_dict(params)
        state, found = optimizer.init(values), []
        for given in gradients:
            model = nnx.clone(self.model)
            zeros = {name: np.zeros_like(array) for name, array in self.arrays().items()}
            interop.load_state_dict(model, zeros | dict(given), names=self.names, as_is=self.as_is)
            back = nnx.to_pure_dict(nnx.state(model, nnx.Param))
            updates, state = optimizer.update(back, state, values)
            values = optax.apply_updates(values, updates)
            found.append(self._only(with_values(params, values)))
        return found

    def casts(self, call: Call, inputs: Sequence[np.ndarray]) -> Iterator[tuple[str, str]]:
        """The casts to fewer digits inside a layer, and their lines."""
        graph, state = nnx.split(self.model)

        def run(state: Any, arrays: list[Any]) -> Any:
            layer: Any = paths_of(nnx.merge(graph, state, copy=True))[call.path]
            args, kwargs = call.arguments.filled(arrays)
            return split(layer(*args, **kwargs))[1]

        yield from casts_of(jax.make_jaxpr(run)(state, [to_jax(x, self.dtype) for x in inputs]).jaxpr)

    def recorded(
        self, batches: Sequence[tuple[Any, ...]], optimizer: optax.GradientTransformation | None
    ) -> list[Step]:
        """Train, one step a batch, and record each step."""
        graph, params, rest = nnx.split(self.model, nnx.Param, ...)
        state = optimizer.init(nnx.to_pure_dict(params)) if optimizer else None
        steps = []
        for batch in batches:
            arrays = tuple(to_jax(array, self.dtype) for array in batch)
            step, gradients, rest = self._step(graph, params, rest, arrays)
            if optimizer:
                values = nnx.to_pure_dict(params)
                updates, state = optimizer.update(nnx.to_pure_dict(gradients), state, values)
                params = with_values(params, optax.apply_updates(values, updates))
            step.parameters = self._only(params)
            steps.append(step)
        return steps

    def _only(self, state: nnx.State) -> dict[str, np.ndarray]:
        return {name: array for name, array in self.arrays(state).items() if name in self._trained}

    @property
    def _trained(self) -> set[str]:
        if not hasattr(self, "_names"):
            self._names = self.parameter_names()
        return self._names

    def _step(self, graph: Any, params: Any, rest: Any, batch: tuple[Any, ...]) -> tuple[Step, Any, Any]:
        calls: list[Call] = []

        def run(params: Any, taps: Any) -> Any:
            calls.clear()
            given, returned = [], []
            model = nnx.merge(graph, params, rest, copy=True)
            counts: dict[str, int] = {}

            def keep(path: str, kind: str, arguments: Arguments, inputs: list[Any], output: Any) -> Any:
                number = counts[path] = counts.get(path, -1) + 1
                shape, outputs = split(output)
                if taps is not None:
                    outputs = [
                        value if tap is None else value + tap
                        for value, tap in zip(outputs, taps[len(calls)], strict=True)
                    ]
                calls.append(Call(path, number, kind, arguments, [], [], shape=shape))
                given.append(inputs)
                returned.append(outputs)
                return shape.filled(outputs)

            def around(path: str, module: Any, call: Any, args: Any, kwargs: Any) -> Any:
                arguments, inputs = split((args, kwargs))
                output = args[0] if path in self.silent else call(*args, **kwargs)
                return keep(path, type(module).__name__, arguments, inputs, output)

            def marked(name: str, value: jax.Array) -> jax.Array:
                return keep(name, "mark", split(((), {}))[0], [], value)

            with tapped(model, around), marks.listening(marked):
                value = self.loss(model, *batch)
            return value, (given, returned, nnx.state(model, nnx.Not(nnx.Param)))

        _, (_, shapes, _) = jax.eval_shape(lambda params: run(params, None), params)
        taps = [[jnp.zeros(o.shape, o.dtype) if is_float_type(o) else None for o in outputs] for outputs in shapes]
        (value, (given, returned, after)), (gradients, cotangents) = jax.value_and_grad(run, (0, 1), has_aux=True)(
            params, taps
        )
        for call, inputs, outputs, grads in zip(calls, given, returned, cotangents, strict=True):
            call.inputs, call.outputs = [as_numpy(x) for x in inputs], [as_numpy(y) for y in outputs]
            call.output_gradients = [None if g is None else as_numpy(g) for g in grads]
        buffers = {n: a for n, a in self.arrays(after).items() if n not in self._trained}
        return Step(list(calls), float(value), self._only(gradients), buffers), gradients, after

    def replay(
        self,
        call: Call,
        inputs: Sequence[np.ndarray],
        cotangents: Sequence[np.ndarray | None],
        forced: Mapping[Place, tuple[list[np.ndarray], list[np.ndarray | None]]],
    ) -> Replayed:
        """Run one layer on other inputs, and send other gradients of its outputs back through it.

        Args:
            call: the call as it was recorded.
            inputs: in place of the recorded arrays.
            cotangents: of each output; None for zero.
            forced: calls inside that return given outputs instead, and the gradients of their inputs.
        """
        graph, params, rest = nnx.split(self.model, nnx.Param, ...)
        path, inner, after = call.path, {}, {}

        def run(params: Any, floats: list[Any]) -> Any:
            model = nnx.merge(graph, params, rest, copy=True)
            layer: Any = paths_of(model)[path]
            counts: dict[str, int] = {}
            inside: dict[Place, list[Any]] = {}

            def around(at: str, module: Any, original: Any, args: Any, kwargs: Any) -> Any:
                if at in self.silent:
                    return args[0]
                if at != path:
                    counts[at] = counts.get(at, -1) + 1
                    inside[at, counts[at]] = split((args, kwargs))[1]
                    if (at, counts[at]) in forced:
                        return self._forced(*forced[at, counts[at]], (args, kwargs), original)
                return original(*args, **kwargs)

            left = iter(floats)
            arrays = [next(left) if is_float(x) else to_jax(x, self.dtype) for x in inputs]
            args, kwargs = call.arguments.filled(arrays)
            with tapped(model, around):
                output = layer(*args, **kwargs)
            return split(output)[1], (inside, nnx.state(model, nnx.Not(nnx.Param)))

        floats = [to_jax(x, self.dtype) for x in inputs if is_float(x)]
        outputs, pullback, (inner, after) = jax.vjp(run, params, floats, has_aux=True)
        back = [
            jnp.zeros_like(y) if c is None or c.size != y.size else jnp.asarray(c, y.dtype).reshape(y.shape)
            for y, c in zip(outputs, [*cotangents, *[None] * len(outputs)], strict=False)
        ]
        back = [c if jnp.issubdtype(c.dtype, jnp.floating) else np.zeros(c.shape, jax.dtypes.float0) for c in back]
        gradients, input_gradients = pullback(back)
        left = iter(input_gradients)
        return Replayed(
            [as_numpy(y) for y in outputs],
            [as_numpy(next(left)) if is_float(x) else None for x in inputs],
            self._only(gradients),
            {name: array for name, array in self.arrays(after).items() if name not in self._trained},
            {place: [as_numpy(x) for x in arrays] for place, arrays in inner.items()},
        )

    def _forced(self, outputs: Any, gradients: Any, arguments: Any, original: Any) -> Any:
        """What a call is made to return, while the gradients of its inputs are made to be others."""
        _, arrays = split(arguments)
        structure, _ = split(original(*arguments[0], **arguments[1]))
        floats = [x for x in arrays if is_float(x)]
        returned = [to_jax(y, self.dtype) for y in outputs]
        back = [
            jnp.zeros_like(x) if g is None or g.size != x.size else jnp.asarray(g, x.dtype).reshape(x.shape)
            for x, g in zip(floats, [*gradients, *[None] * len(floats)], strict=False)
        ]

        @jax.custom_vjp
        def constant(xs: list[Any]) -> list[Any]:
            return returned

        constant.defvjp(lambda xs: (returned, None), lambda _, cotangent: (back,))
        return structure.filled(constant(floats))

    def replay_loss(self, ours: Call, outputs: Sequence[np.ndarray], batch: tuple[Any, ...]) -> Replayed:
        """The loss on other outputs of the model, and its gradients with respect to them."""
        model = nnx.clone(self.model)
        arrays = tuple(to_jax(array, self.dtype) for array in batch)
        shape = ours.shape

        def run(floats: list[Any]) -> jax.Array:
            def around(at: str, module: Any, original: Any, args: Any, kwargs: Any) -> Any:
                if at:  # The loss calls a part of the model by itself.
                    return args[0] if at in self.silent else original(*args, **kwargs)
                left = iter(floats)
                return shape.filled([next(left) if is_float(y) else to_jax(y, self.dtype) for y in outputs])

            with tapped(model, around):
                return self.loss(model, *arrays)

        value, gradients = jax.value_and_grad(run)([to_jax(y, self.dtype) for y in outputs if is_float(y)])
        left = iter(gradients)
        return Replayed([as_numpy(value)], [as_numpy(next(left)) if is_float(y) else None for y in outputs])


def with_values(state: nnx.State, values: Any) -> nnx.State:
    """The state with the values of a nested dict."""
    state = jax.tree.map(lambda value: value, state)
    nnx.replace_by_pure_dict(state, values)
    return state


def as_numpy(value: Any) -> np.ndarray:
    array = np.asarray(value)
    return array.astype(np.float64) if jnp.issubdtype(array.dtype, jnp.floating) else array


def is_float_type(value: Any) -> bool:
    return jnp.issubdtype(value.dtype, jnp.floating)


def mean_sine(model: Any, *batch: jax.Array) -> jax.Array:
    """The loss where none is given, as on PyTorch's side."""
    return jnp.sin(next(leaf for leaf in jax.tree.leaves(model(*batch)) if is_float_type(leaf))).mean()
