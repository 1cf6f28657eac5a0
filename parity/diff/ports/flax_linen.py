"""Ports in Flax Linen."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
from flax import linen

from parity.diff.ports.port import Around, Port, in_dtype
from parity.diff.ports.tree_names import slots_of


class LinenPort(Port):
    """A Linen module with its variables.

    Args:
        module: the module.
        variables: what `init` returned, with PyTorch's weights in it.
        keywords: what each call of the model gets besides the batch, such as `train=True`.
        dtype: "float64" or "float32".
        names: rules from our names to PyTorch's.
        as_is: PyTorch's names of arrays that keep our order of axes.
        known: PyTorch's names.
    """

    def __init__(
        self,
        module: linen.Module,
        variables: Mapping[str, Any],
        keywords: Mapping[str, Any],
        dtype: str,
        names: Mapping[str, str] | None,
        as_is: Collection[str],
        known: Collection[str],
    ):
        if "params" not in variables:
            raise ValueError(f"diff: expected Linen's variables to hold 'params', got {sorted(variables)}")
        self.module, self.keywords = module, dict(keywords)
        variables = in_dtype(dict(variables), dtype)
        rest = {name: tree for name, tree in variables.items() if name != "params"}
        params, self._params = jax.tree.flatten_with_path(variables["params"])
        others, self._rest = jax.tree.flatten_with_path(rest)
        self.params, self.rest = [leaf for _, leaf in params], [leaf for _, leaf in others]
        self.collections = list(rest)
        # New statistics leave a run at its end.
        self.interruptible = not rest
        paths = [tuple(key.key for key in path) for path, _ in params]
        paths += [tuple(key.key for key in path[1:]) for path, _ in others]
        shapes = [leaf.shape for leaf in (*self.params, *self.rest)]
        self.slots = slots_of(paths, shapes, names, as_is, known, flax=True)

    def tree(self, params: Sequence[Any]) -> Any:
        return jax.tree.unflatten(self._params, list(params))

    def bind(self, params: Sequence[Any], rest: Sequence[Any]) -> "Bound":
        return Bound(self, {"params": self.tree(params), **jax.tree.unflatten(self._rest, list(rest))})

    def after(self, model: Any, extra: Any) -> list[Any]:
        return jax.tree.leaves({name: model.variables[name] for name in self.collections})

    @contextmanager
    def watching(self, model: Any, around: Around) -> Iterator[None]:
        def intercept(call: Any, args: Any, kwargs: Any, context: Any) -> Any:
            if context.method_name != "__call__":
                return call(*args, **kwargs)
            return around(".".join(context.module.path), context.module, call, args, kwargs)

        with linen.intercept_methods(intercept):
            yield


class Bound:
    """The module with its variables, called by the loss as if it were a function; new statistics stay in it."""

    def __init__(self, port: LinenPort, variables: dict[str, Any]):
        self.port, self.variables = port, variables

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        output, changed = self.port.module.apply(
            self.variables,
            *args,
            **{**self.port.keywords, **kwargs},
            mutable=self.port.collections,
            rngs={"dropout": jax.random.key(0)},
        )
        self.variables = {**self.variables, **changed}
        return output
