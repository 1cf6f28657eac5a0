"""Programs of ours, compiled once for all inputs that lead to the same one.

PyTorch writes one option in several ways, such as `dilation=1` and `dilation=(1,)`. Each way is traced; what is traced
alike is compiled once.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from parity._compilation import compiled

MOST = 400
"""How many programs are kept: thousands use up a process's memory maps."""

_by_call: dict[Any, Callable[..., Any]] = {}
_by_text: dict[Any, Callable[..., Any]] = {}


def clear() -> None:
    """Forget all programs."""
    _by_call.clear()
    _by_text.clear()
    jax.clear_caches()


def run(function: Callable[..., Any], dtype: str, constants: tuple[Any, ...], arrays: tuple[Any, ...]) -> Any:
    """`function(*constants, *arrays)`, compiled as in a run in `dtype`."""
    leaves, structure = jax.tree.flatten(arrays)
    call = function, dtype, constants, structure, tuple((leaf.shape, leaf.dtype) for leaf in leaves)
    if call not in _by_call:
        _by_call[call] = _program(function, dtype, constants, arrays)
    return _by_call[call](*arrays)


def _program(function: Callable[..., Any], dtype: str, constants: tuple[Any, ...], arrays: tuple[Any, ...]) -> Any:
    if len(_by_text) >= MOST:
        clear()
    traced = compiled(function, dtype, tuple(range(len(constants)))).trace(*constants, *arrays)
    tables = [np.asarray(table) for table in traced.jaxpr.consts]
    text = dtype, str(traced.jaxpr), *((table.shape, table.tobytes()) for table in tables)
    if text not in _by_text:
        _by_text[text] = traced.lower().compile()
    return _by_text[text]
