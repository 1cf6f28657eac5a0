"""Functions of arrays: losses and penalties, by value and gradient."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np
import torch

from parity import draws
from parity._compilation import KEPT, compiler_options
from parity.case import Case
from parity.subjects._arrays import cotangent, to_jax, to_numpy, to_torch
from parity.trace import Quantity, Trace

Inputs = tuple[Any, ...]
Results = Mapping[str, Mapping[str, Any]]
"""Arrays by reduction and kind."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LossCase(Case):
    """A pure function against its PyTorch counterpart, on several sets of inputs.

    Attributes:
        ours: `function(*inputs)`.
        reference: the counterpart, called with tensors of the same inputs.
        inputs: one tuple of NumPy arrays a set. Floating inputs are cast to the dtype of the run, so they should be
            exact in float32; integer and boolean ones and None stay as they are.
        wrt: positions of the inputs with respect to which gradients are compared.
        reductions: values of the keyword `reduction` with which both sides, and every defect, are called in turn; if
            there are none, they are called once without it.
        compared: what decides on which piece of the function a row of the inputs is, if both sides compute it before
            they compare it: rows of which rounding would decide are not among the inputs.
    """

    reference: Callable[..., torch.Tensor]
    inputs: Sequence[Inputs]
    wrt: tuple[int, ...] = (0,)
    reductions: tuple[str, ...] = ()
    compared: draws.Compared | None = None

    inputs_in: ClassVar[tuple[str, ...]] = ("inputs",)

    def redrawn(self, number: int) -> Self:
        inputs = [
            tuple(array if array is None else draws.redrawn(array, number, self.precision) for array in arrays)
            for arrays in self.inputs
        ]
        return replace(self, inputs=inputs)

    @cached_property
    def decided(self) -> Sequence[Inputs]:
        """The inputs, each row on a piece of the function that no rounding changes."""
        if self.compared is None:
            return self.inputs
        return [draws.decided(arrays, self.compared, self.precision) for arrays in self.inputs]

    def run_torch(self, dtype: str) -> Trace:
        return stacked(self._torch_results(arrays, dtype) for arrays in self.decided)

    def _torch_results(self, arrays: Inputs, dtype: str) -> Results:
        results: dict[str, dict[str, np.ndarray]] = {}
        for reduction, function in by_reduction(self.reference, self.reductions).items():
            tensors: list[Any] = [None if array is None else to_torch(array, dtype) for array in arrays]
            for position in self.wrt:
                tensors[position].requires_grad_()
            value = function(*tensors)
            results[reduction] = {"value": to_numpy(value)}
            value.backward(to_torch(cotangent(tuple(value.shape)), dtype))
            for position in self.wrt:
                gradient = tensors[position].grad
                if gradient is None:
                    raise ValueError(f"{self.name}: PyTorch has no gradient for input {position}, named in `wrt`")
                results[reduction][f"gradient by input {position}"] = to_numpy(gradient)
        return results

    def run_ours(self, ours: Callable[..., jax.Array], dtype: str) -> Trace:
        program = _compiled(ours, self.wrt, self.reductions, dtype)
        sets = ([None if array is None else to_jax(array, dtype) for array in arrays] for arrays in self.decided)
        return stacked(program(*arrays) for arrays in sets)

    def units(self, truth: Trace) -> Trace:
        """The largest finite magnitude of each set's array."""

        def largest(array: np.ndarray) -> float:
            return np.abs(array[np.isfinite(array)]).max(initial=0.0)

        return {quantity: np.array([largest(array) for array in stack]) for quantity, stack in truth.items()}


def by_reduction(function: Callable[..., Any], reductions: tuple[str, ...]) -> dict[str, Callable[..., Any]]:
    """The calls to compare, by the reduction."""
    return {name: partial(function, reduction=name) for name in reductions} or {"": function}


def values_and_gradients(calls: Mapping[str, Callable[..., jax.Array]], wrt: tuple[int, ...], *arrays: Any) -> Results:
    """The value of each call and its gradients by the inputs at the positions `wrt`."""
    results = {}
    for reduction, call in calls.items():

        def of_selected(*selected, call=call):
            full = list(arrays)
            for position, array in zip(wrt, selected, strict=True):
                full[position] = array
            return call(*full)

        value, pullback = jax.vjp(of_selected, *(arrays[position] for position in wrt))
        gradients = pullback(jnp.asarray(cotangent(value.shape), value.dtype))
        named = {f"gradient by input {position}": array for position, array in zip(wrt, gradients, strict=True)}
        results[reduction] = {"value": value, **named}
    return results


@lru_cache(KEPT)
def _compiled(
    function: Callable[..., jax.Array], wrt: tuple[int, ...], reductions: tuple[str, ...], dtype: str
) -> Callable[..., Results]:
    """A program that is the same one for every draw and seed."""
    calls = by_reduction(function, reductions)
    return jax.jit(partial(values_and_gradients, calls, wrt), compiler_options=compiler_options(dtype))


def stacked(sets: Iterable[Results]) -> Trace:
    """The results of the sets of inputs, those of one shape stacked as if each set were a step."""
    found: dict[Quantity, list[np.ndarray]] = {}
    for results in sets:
        for reduction, kinds in results.items():
            for kind, array in kinds.items():
                found.setdefault(Quantity(f"{kind} of shape {array.shape}", reduction), []).append(
                    np.asarray(array, np.float64)
                )
    return {quantity: np.stack(arrays) for quantity, arrays in found.items()}
