"""Which port a model needs."""

import sys
from collections.abc import Collection, Mapping
from typing import Any

import jax
from flax import linen, nnx

from parity.diff.ports.flax_linen import LinenPort
from parity.diff.ports.flax_nnx import NnxPort
from parity.diff.ports.function import FunctionPort
from parity.diff.ports.port import Port


def port_of(
    model: Any,
    dtype: str,
    *,
    names: Mapping[str, str] | None = None,
    as_is: Collection[str] = (),
    known: Collection[str] = (),
) -> Port:
    """The port of a model.

    Args:
        model: an NNX module; a Linen module with its variables, and perhaps keywords; an Equinox module, perhaps with
            its state; or a function with its parameters.
        dtype: "float64" or "float32".
        names: rules from our names to PyTorch's.
        as_is: regular expressions of PyTorch's names whose arrays have our order of axes.
        known: PyTorch's names, which tell whether it packs query, key and value.
    """
    if isinstance(model, nnx.Module):
        return NnxPort(model, dtype, names, as_is)
    first, *more = model if isinstance(model, tuple) else (model,)
    if isinstance(first, linen.Module) and more and isinstance(more[0], Mapping) and len(more) <= 2:
        return LinenPort(first, more[0], more[1] if len(more) > 1 else {}, dtype, names, as_is, known)
    # Whoever passes an Equinox module has imported it.
    equinox = sys.modules.get("equinox")
    if equinox is not None and isinstance(first, equinox.Module) and len(more) <= 1:
        from parity.diff.ports.with_equinox import EquinoxPort

        return EquinoxPort(first, more[0] if more else None, dtype, names, as_is, known)
    if callable(first) and len(more) == 1 and not isinstance(first, linen.Module) and jax.tree.leaves(more[0]):
        return FunctionPort(first, more[0], dtype, names, as_is)
    raise TypeError(
        "diff: expected the port to be an nnx.Module, (a Linen module, its variables), an Equinox module, or (a "
        f"function, its parameters), got {_said(model)}"
    )


def _said(model: Any) -> str:
    if isinstance(model, type):
        return f"the class {model.__name__}; make an instance of it"
    if isinstance(model, tuple):
        return f"({', '.join(type(each).__name__ for each in model)})"
    kind = type(model).__name__
    if isinstance(model, linen.Module):
        return f"the Linen module {kind} alone; pass ({kind}(...), variables)"
    if type(model).__module__.startswith("torch."):
        return f"PyTorch's {kind}; pass PyTorch's module first, then the port"
    return f"a {kind} alone; pass (it, its parameters)" if callable(model) else kind
