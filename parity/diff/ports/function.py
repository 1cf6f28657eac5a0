"""Ports that are functions of their parameters, whose intermediate values are marked."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import jax

from parity.diff.ports.port import Around, Port, in_dtype, is_float
from parity.diff.ports.tree_names import slots_of


class FunctionPort(Port):
    """`function(params, *batch)`; the integers among its parameters are not trained."""

    def __init__(
        self,
        function: Callable[..., Any],
        params: Any,
        dtype: str,
        names: Mapping[str, str] | None,
        as_is: Collection[str],
    ):
        self.function = function
        with_paths, self._tree = jax.tree.flatten_with_path(in_dtype(params, dtype))
        self._floats = [is_float(leaf) for _, leaf in with_paths]
        ordered = sorted(with_paths, key=lambda pair: not is_float(pair[1]))
        self.params = [leaf for _, leaf in ordered if is_float(leaf)]
        self.rest = [leaf for _, leaf in ordered if not is_float(leaf)]
        paths = [tuple(_key(key) for key in path) for path, _ in ordered]
        self.slots = slots_of(paths, [getattr(leaf, "shape", ()) for _, leaf in ordered], names, as_is, flax=True)

    def tree(self, params: Sequence[Any], rest: Sequence[Any] | None = None) -> Any:
        floats, others = iter(params), iter(self.rest if rest is None else rest)
        return jax.tree.unflatten(self._tree, [next(floats) if float_ else next(others) for float_ in self._floats])

    def bind(self, params: Sequence[Any], rest: Sequence[Any]) -> Callable[..., Any]:
        return Bound(self.function, self.tree(params, rest))

    def watching(self, model: Any, around: Around) -> AbstractContextManager[None]:
        @contextmanager
        def watched():
            model.around = around
            try:
                yield
            finally:
                model.around = None

        return watched()


class Bound:
    """The function with its parameters, as the loss calls it."""

    def __init__(self, function: Callable[..., Any], params: Any):
        self.function, self.params = function, params
        self.around: Around | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            return self.function(self.params, *args, **kwargs)

        return self.around("", self.function, call, args, kwargs) if self.around else call(*args, **kwargs)


def _key(key: Any) -> str:
    return str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key))))
