"""Between NumPy's arrays, PyTorch's tensors and JAX's arrays, in the dtype of a run."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch


def cotangent(shape: tuple[int, ...]) -> np.ndarray:
    """Weights that tell the elements apart, exact in every float type; one for a scalar."""
    return (1.0 + np.arange(np.prod(shape, dtype=int)) % 7 / 4).reshape(shape)


def to_torch(array: Any, dtype: str) -> torch.Tensor:
    """A tensor, in `dtype` if the array is a floating one."""
    array = np.asarray(array)
    tensor = torch.tensor(np.ascontiguousarray(array)).reshape(array.shape)
    return tensor.to(getattr(torch, dtype)) if tensor.is_floating_point() else tensor


def to_jax(array: Any, dtype: str) -> jax.Array:
    """JAX's array, in `dtype` if the array is a floating one."""
    array = np.asarray(array)
    return jnp.asarray(array, dtype if np.issubdtype(array.dtype, np.floating) else None)


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A copy in float64."""
    return tensor.detach().to(torch.float64).numpy().copy()
