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
from parity.subjects._arrays import cotangent, to_jax, to_numpy, to_torch
from parity.subjects._compilation import compiler_options
from parity.verdicts import Arrays

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
        reductions: values of the keyword `reduction` with which both sides, and every defect, are called in turn; if
            there are none, they are called once without it.
    """

    reference: Callable[..., torch.Tensor]
    inputs: Sequence[Inputs]
    wrt: tuple[int, ...] = (0,)
    reductions: tuple[str, ...] = ()

    def _by_reduction(self, function: Callable[..., Any]) -> dict[str, Callable[..., Any]]:
        """The calls to compare, by the names of their values."""
        if not self.reductions:
            return {"value": function}
        return {f"{reduction!r} value": partial(function, reduction=reduction) for reduction in self.reductions}

    def run_torch(self, dtype: str) -> Arrays:
        results = _Stacks()
        for arrays in self.inputs:
            for name, function in self._by_reduction(self.reference).items():
                tensors: list[Any] = [None if array is None else to_torch(array, dtype) for array in arrays]
                for position in self.wrt:
                    tensors[position].requires_grad_()
                value = function(*tensors)
                results.add(name, to_numpy(value))
                value.backward(to_torch(cotangent(tuple(value.shape)), dtype))
                for position in self.wrt:
                    gradient = tensors[position].grad
                    if gradient is None:
                        raise ValueError(f"{self.name}: PyTorch has no gradient for input {position}, named in `wrt`")
                    results.add(f"gradient of {name} by input {position}", to_numpy(gradient))
        return results.arrays

    def run_ours(self, ours: Callable[..., jax.Array], dtype: str) -> Arrays:
        @partial(jax.jit, compiler_options=compiler_options(dtype))
        def values_and_gradients(*arrays):
            results = {}
            for name, function in self._by_reduction(ours).items():

                def of_selected(*selected, function=function):
                    full = list(arrays)
                    for position, array in zip(self.wrt, selected, strict=True):
                        full[position] = array
                    return function(*full)

                results[name], pullback = jax.vjp(of_selected, *(arrays[position] for position in self.wrt))
                gradients = pullback(jnp.asarray(cotangent(results[name].shape), results[name].dtype))
                for position, gradient in zip(self.wrt, gradients, strict=True):
                    results[f"gradient of {name} by input {position}"] = gradient
            return results

        results = _Stacks()
        for arrays in self.inputs:
            ready = (None if array is None else to_jax(array, dtype) for array in arrays)
            for name, array in values_and_gradients(*ready).items():
                results.add(name, np.asarray(array, np.float64))
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
