"""Arrays of any library as NumPy arrays."""

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrain.interop._patterns import any_matches


def as_numpy(where: str, name: str, value: Any) -> np.ndarray:
    """A PyTorch tensor, a JAX or NumPy array or a number as a NumPy array, without importing PyTorch."""
    if hasattr(value, "detach"):
        try:
            value = value.detach().cpu()
            if str(value.dtype) != "torch.bfloat16":
                return value.numpy()
            value = jax.dlpack.from_dlpack(value.contiguous())  # NumPy itself does not know this dtype.
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                f"{where}: expected a dense tensor with values at {name!r}, got one that NumPy cannot read: {error}; "
                "convert it first, with .to_dense(), .dequantize() or .float() for instance"
            ) from None
    if isinstance(value, jax.Array | np.ndarray | np.generic | float | int) and not isinstance(value, bool):
        return np.asarray(value)
    raise TypeError(f"{where}: expected an array or a tensor at {name!r}, got {type(value).__name__}")


def misfit(array: np.ndarray, dtype: Any) -> str:
    """Why `array` cannot be stored in `dtype` without changing what it is; empty if it can. Floats may be rounded."""
    kinds = (jnp.inexact, jnp.complexfloating)
    given, kept = ([jnp.issubdtype(own, kind) for kind in kinds] for own in (array.dtype, dtype))
    if given[0] != kept[0] or given[1] > kept[1]:
        return f"expected the dtype {dtype}, got {array.dtype}"
    if not given[0] and not np.array_equal(array, array.astype(dtype)):
        return f"expected integers in the range of {dtype}, got {array.dtype} from {array.min()} to {array.max()}"
    if given[0] and array.dtype != dtype and (largest := _overflows(array, dtype)):
        return f"expected numbers in the range of {dtype}, got {array.dtype} up to {largest:g}"
    return ""


def _overflows(array: np.ndarray, dtype: Any) -> float:
    """The largest number, if it would become infinite in `dtype`, and otherwise 0."""
    if jnp.finfo(array.dtype).max <= jnp.finfo(dtype).max or array.size == 0:
        return 0.0
    size = np.abs(array[np.isfinite(array)])
    largest = float(size.max()) if size.size else 0.0
    with np.errstate(over="ignore"):
        return 0.0 if np.isfinite(np.asarray(largest, array.dtype).astype(dtype)) else largest


def placed(value: np.ndarray, old: jax.Array) -> jax.Array:
    """The value as an array on the devices of the old one, in its dtype."""
    value = np.asarray(value, old.dtype)
    return jax.device_put(value, old.sharding) if getattr(old, "committed", False) else jnp.asarray(value)


def check_mapping(where: str, value: Any, ignored: Sequence[re.Pattern[str]]) -> None:
    """Raise unless `value` is a dict of arrays by name, except ignored ones, and name the usual mistakes."""
    if hasattr(value, "state_dict"):
        raise TypeError(f"{where}: expected a state_dict, got a {type(value).__name__}; pass its .state_dict()")
    if isinstance(value, str | bytes | os.PathLike) or hasattr(value, "read"):
        raise TypeError(
            f"{where}: expected a dict of arrays by name, got {value!r:.80}; read the file first, with "
            "torch.load(path, weights_only=True) or safetensors.numpy.load_file(path)"
        )
    if not isinstance(value, Mapping):
        raise TypeError(f"{where}: expected a dict of arrays by name, got {type(value).__name__}")
    if {"state", "param_groups"} <= value.keys():
        raise TypeError(f"{where}: expected arrays by name, got the state_dict of an optimizer; use load_optimizer")
    strange = [name for name in value if not isinstance(name, str)]
    if strange:
        raise TypeError(f"{where}: expected arrays by name, got the keys {strange[:5]}; use PyTorch's names")
    nested = [name for name, part in value.items() if isinstance(part, Mapping) and not any_matches(ignored, name)]
    if nested:
        raise TypeError(
            f"{where}: expected arrays by name, got dicts at {nested}; pass one of them, or name them in `ignore`"
        )
