"""One run of a port, in which every call of a layer passes by: recorded, fed with other arrays, or skipped.

Layers inside `jax.vmap`, as Equinox's models have them, see one example. Their arrays leave it, and enter it, with the
axis of the batch in front.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.extend.core import get_opaque_trace_state

from parity.diff import marks
from parity.diff.ports import Port
from parity.diff.records import Place

Maps = tuple[tuple[Place, int], ...]
"""The `jax.vmap`s around a call: inside which call each of them is, and the how-manieth."""

OUTSIDE: Place = ("", -1)


@dataclass
class Passing:
    """A call of a layer, or a mark, on its way through the handler.

    Attributes:
        place: which one it is.
        module: the layer; None for a mark.
        call: makes it.
        args: positional arguments.
        kwargs: named ones.
        within: the calls around it, outermost first.
        maps: the `jax.vmap`s around it.
        given: what the run was given for this place, for this example; None if it was given nothing.
    """

    place: Place
    module: Any
    call: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    within: tuple[Place, ...]
    maps: Maps
    given: Any

    @property
    def kind(self) -> str:
        if self.module is None:
            return "mark"
        return getattr(self.module, "__name__", type(self.module).__name__)

    def __call__(self) -> Any:
        return self.call(*self.args, **self.kwargs)


Handler = Callable[[Passing], Any]


class Hidden(Exception):
    """A layer is inside of `jax.jit`, `jax.lax.scan` or the like, where its arrays cannot leave."""


@dataclass
class Walk:
    """One run of a port.

    Attributes:
        handle: makes each call, and returns what the model goes on with.
        given: arrays by the place of a call.
        maps: the `jax.vmap`s around each of these places.
        strict: whether a layer whose arrays cannot leave raises `Hidden`; otherwise it is a part of the one around it.
        kept: arrays by place that are to leave the run.
    """

    handle: Handler
    given: Mapping[Place, Any] = field(default_factory=dict)
    maps: Mapping[Place, Maps] = field(default_factory=dict)
    strict: bool = False
    kept: dict[Place, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._around: list[Place] = []
        self._counts: dict[str, int] = {}
        self._maps: dict[Place, int] = {}
        self._inside: Maps = ()
        self._trace: Any = None

    @contextmanager
    def over(self, port: Port, model: Any) -> Iterator[None]:
        """Let the calls of a bound model pass by."""
        vmap = jax.vmap
        jax.vmap, self._trace = self._mapped(vmap), get_opaque_trace_state()
        try:
            with port.watching(model, self._passing), marks.listening(self._marked):
                yield
        finally:
            jax.vmap = vmap

    @property
    def mapped(self) -> bool:
        """Whether the run is inside `jax.vmap` now."""
        return bool(self._inside)

    def _passing(self, path: str, module: Any, call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        # The call of a parent class is a part of this call.
        if any(path == at for at, _ in self._around):
            return call(*args, **kwargs)
        if get_opaque_trace_state() != self._trace:
            if self.strict:
                raise Hidden
            return call(*args, **kwargs)
        number = self._counts[path] = self._counts.get(path, -1) + 1
        place = path, number
        within = tuple(self._around)
        self._around.append(place)
        try:
            given = self.given.get(place)
            return self.handle(Passing(place, module, call, args, kwargs, within, self._inside, given))
        finally:
            self._around.pop()

    def _marked(self, name: str, value: jax.Array) -> jax.Array:
        return self._passing(name, None, lambda value: value, (value,), {})

    def _mapped(self, vmap: Callable[..., Any]) -> Callable[..., Any]:
        """`jax.vmap` that lets arrays in and out."""

        def mapping(fun: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0, **options: Any) -> Any:
            def call(*args: Any, **kwargs: Any) -> Any:
                around = self._around[-1] if self._around else OUTSIDE
                count = self._maps[around] = self._maps.get(around, -1) + 1
                before, outer, kept, trace = self._inside, self.given, self.kept, self._trace
                inside = (*before, (around, count))
                entering = {
                    place: value for place, value in outer.items() if self.maps.get(place, ())[: len(inside)] == inside
                }

                def one(entering: Any, *args: Any, **kwargs: Any) -> Any:
                    self._inside, self.given, self.kept = inside, {**outer, **entering}, {}
                    self._trace = get_opaque_trace_state()
                    try:
                        return fun(*args, **kwargs), self.kept
                    finally:
                        self._inside, self.given, self.kept, self._trace = before, outer, kept, trace

                axes = (0, *in_axes) if isinstance(in_axes, tuple | list) else (0, *[in_axes] * len(args))
                output, leaving = vmap(one, axes, (out_axes, 0), **options)(entering, *args, **kwargs)
                kept.update(leaving)
                return output

            return call

        return mapping


@dataclass
class Arguments:
    """What a layer was called with: a tree whose arrays are kept elsewhere.

    Attributes:
        tree: the structure.
        leaves: the other leaves; a placeholder at the places of arrays.
    """

    tree: Any
    leaves: list[Any]

    def filled(self, arrays: Any) -> Any:
        left = iter(arrays)
        return jax.tree.unflatten(self.tree, [next(left) if leaf is ARRAY else leaf for leaf in self.leaves])


ARRAY = object()


def split(tree: Any) -> tuple[Arguments, list[Any]]:
    """A tree without its arrays, and these."""
    leaves, structure = jax.tree.flatten(tree, is_leaf=lambda leaf: leaf is None or isinstance(leaf, nnx.Pytree))
    arrays = [leaf for leaf in leaves if _is_array(leaf)]
    return Arguments(structure, [ARRAY if _is_array(leaf) else _still(leaf) for leaf in leaves]), arrays


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray) and not _is_key(leaf)


def _still(leaf: Any) -> Any:
    """A leaf outside of the trace that recorded it; random streams belong to theirs."""
    return nnx.Rngs(0) if isinstance(leaf, nnx.Rngs) else jax.random.key(0) if _is_key(leaf) else leaf
