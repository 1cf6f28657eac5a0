"""Functions of arrays: losses and penalties, by value and gradient."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from parity.case import Case
from parity.compare import Arrays

Inputs = tuple[Any, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class LossCase(Case):
    """A pure function against its PyTorch counterpart, on several sets of inputs.

    Attributes:
        ours: `function(*inputs)`.
        reference: the counterpart, called with tensors of the same inputs.
        inputs: one tuple of NumPy arrays a set. Floating inputs are cast to the dtype of the run, so they should be
            exact in float32; integer and boolean ones stay as they are, None is handed over.
        wrt: positions of the inputs with respect to which gradients are compared.
    """

    reference: Callable[..., torch.Tensor]
    inputs: Sequence[Inputs]
    wrt: tuple[int, ...] = (0,)

    def run_torch(self, dtype: str) -> Arrays:
        results = {}
        for number, arrays in enumerate(self.inputs):
            tensors = [_to_torch(array, dtype) for array in arrays]
            for position in self.wrt:
                tensors[position].requires_grad_()
            value = self.reference(*tensors)
            results[f"value {number}"] = _one_step(value)
            value.backward(_to_torch(_cotangent(tuple(value.shape)), dtype))
            for position in self.wrt:
                results[f"gradient {number} of input {position}"] = _one_step(tensors[position].grad)
        return results

    def run_ours(self, ours: Callable[..., jax.Array], dtype: str) -> Arrays:
        @jax.jit
        def value_and_gradients(*arrays):
            def of_selected(*selected):
                full = list(arrays)
                for position, array in zip(self.wrt, selected, strict=True):
                    full[position] = array
                return ours(*full)

            value, pullback = jax.vjp(of_selected, *(arrays[position] for position in self.wrt))
            return value, pullback(jnp.asarray(_cotangent(value.shape), value.dtype))

        results = {}
        for number, arrays in enumerate(self.inputs):
            value, gradients = value_and_gradients(*(_to_jax(array, dtype) for array in arrays))
            results[f"value {number}"] = np.asarray(value, np.float64)[None]
            for position, gradient in zip(self.wrt, gradients, strict=True):
                results[f"gradient {number} of input {position}"] = np.asarray(gradient, np.float64)[None]
        return results

    def units(self, truth: Arrays) -> Arrays:
        """The largest finite magnitude of each array."""
        return {name: np.abs(values[np.isfinite(values)]).max(initial=0.0)[None] for name, values in truth.items()}


def _cotangent(shape: tuple[int, ...]) -> np.ndarray:
    """One for a scalar, else weights that tell the elements apart, exact in every float type."""
    return (1.0 + np.arange(np.prod(shape, dtype=int)) % 7 / 4).reshape(shape) if shape else np.ones(())


def _to_torch(array: Any, dtype: str) -> Any:
    if array is None:
        return None
    array = np.asarray(array)
    tensor = torch.tensor(array)
    return tensor.to(getattr(torch, dtype)) if np.issubdtype(array.dtype, np.floating) else tensor


def _to_jax(array: Any, dtype: str) -> Any:
    if array is None:
        return None
    array = np.asarray(array)
    return jnp.asarray(array, dtype if np.issubdtype(array.dtype, np.floating) else None)


def _one_step(tensor: torch.Tensor | None) -> np.ndarray:
    if tensor is None:
        raise ValueError("PyTorch has no gradient for an input that the case names in `wrt`")
    return tensor.detach().to(torch.float64).numpy()[None]
