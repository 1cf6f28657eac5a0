"""Arrays of any library as NumPy arrays."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np


def as_numpy(where: str, name: str, value: Any) -> np.ndarray:
    """A PyTorch tensor, a JAX or NumPy array or a number as a NumPy array, without importing PyTorch."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) != "torch.bfloat16":
            return value.numpy()
        value = jax.dlpack.from_dlpack(value.contiguous())  # NumPy itself does not know this dtype.
    if isinstance(value, jax.Array | np.ndarray | np.generic | float | int) and not isinstance(value, bool):
        return np.asarray(value)
    raise TypeError(f"{where}: expected an array or a tensor at {name!r}, got {type(value).__name__}")


def check_mapping(where: str, value: Any) -> None:
    """Raise unless `value` is a dict of arrays by name, and name the usual mistakes."""
    if hasattr(value, "state_dict"):
        raise TypeError(f"{where}: expected a state_dict, got a {type(value).__name__}; pass its .state_dict()")
    if not isinstance(value, Mapping):
        raise TypeError(f"{where}: expected a dict of arrays by name, got {type(value).__name__}")
    nested = [name for name, part in value.items() if isinstance(part, Mapping)]
    if nested:
        raise TypeError(f"{where}: expected arrays by name, got dicts at {nested}; pass one of them")
