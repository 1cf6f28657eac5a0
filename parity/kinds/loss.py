"""Functions of arrays: losses and penalties, by value and gradient."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from parity.case import Case
from parity.compare import Arrays
from parity.kinds.program import quick_compilation

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
        results = _Stacks()
        for arrays in self.inputs:
            tensors = [_to_torch(array, dtype) for array in arrays]
            for position in self.wrt:
                tensors[position].requires_grad_()
            value = self.reference(*tensors)
            results.add("value", value.detach().to(torch.float64).numpy())
            value.backward(_to_torch(_cotangent(tuple(value.shape)), dtype))
            for position in self.wrt:
                gradient = tensors[position].grad
                if gradient is None:
                    raise ValueError(f"{self.name}: PyTorch has no gradient for input {position}, named in `wrt`")
                results.add(f"gradient of input {position}", gradient.to(torch.float64).numpy())
        return results.arrays

    def run_ours(self, ours: Callable[..., jax.Array], dtype: str) -> Arrays:
        @partial(jax.jit, compiler_options=quick_compilation() if dtype == "float64" else None)
        def value_and_gradients(*arrays):
            def of_selected(*selected):
                full = list(arrays)
                for position, array in zip(self.wrt, selected, strict=True):
                    full[position] = array
                return ours(*full)

            value, pullback = jax.vjp(of_selected, *(arrays[position] for position in self.wrt))
            return value, pullback(jnp.asarray(_cotangent(value.shape), value.dtype))

        results = _Stacks()
        for arrays in self.inputs:
            value, gradients = value_and_gradients(*(_to_jax(array, dtype) for array in arrays))
            results.add("value", np.asarray(value, np.float64))
            for position, gradient in zip(self.wrt, gradients, strict=True):
                results.add(f"gradient of input {position}", np.asarray(gradient, np.float64))
        return results.arrays

    def units(self, truth: Arrays) -> Arrays:
        """The largest finite magnitude of each set's array."""

        def largest(array: np.ndarray) -> float:
            return np.abs(array[np.isfinite(array)]).max(initial=0.0)

        return {name: np.array([largest(array) for array in stack]) for name, stack in truth.items()}


class _Stacks:
    """Results of the sets of inputs, those of one shape stacked as if each set were a step."""

    def __init__(self) -> None:
        self._found: dict[str, list[np.ndarray]] = {}

    def add(self, name: str, array: np.ndarray) -> None:
        self._found.setdefault(f"{name} of shape {array.shape}", []).append(array)

    @property
    def arrays(self) -> Arrays:
        return {name: np.stack(found) for name, found in self._found.items()}


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
