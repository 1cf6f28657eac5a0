"""Marks in a JAX function: names for values that are compared with a layer of PyTorch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import jax

Value = TypeVar("Value", bound=jax.Array)

_listener: list[Callable[[str, jax.Array], jax.Array]] = []


def mark(name: str, value: Value) -> Value:
    """Name a value in a JAX function, so that a diff compares it with the output of PyTorch's layer of that name.

    Outside a diff, it returns the value and does nothing else.

    Args:
        name: the path of PyTorch's layer, such as "encoder.0.attention".
        value: an array.

    Returns:
        The value.

    Raises:
        TypeError: if the name is not text, or, in a diff, the value is not an array.

    Example:
        >>> import jax.numpy as jnp
        >>> from parity import diff
        >>> diff.mark("encoder", jnp.ones(2)).tolist()
        [1.0, 1.0]
    """
    if not isinstance(name, str):
        raise TypeError(f"diff.mark: expected the path of PyTorch's layer first, got {type(name).__name__}")
    if _listener and not hasattr(value, "dtype"):
        raise TypeError(
            f"diff.mark: expected an array to mark as {name!r}, got {type(value).__name__}; mark each array"
        )
    return _listener[-1](name, value) if _listener else value  # type: ignore[return-value]  # A tap keeps the type.


@contextmanager
def listening(listener: Callable[[str, jax.Array], jax.Array]) -> Iterator[None]:
    """Send each marked value through `listener`, which returns the value to go on with."""
    _listener.append(listener)
    try:
        yield
    finally:
        _listener.pop()
