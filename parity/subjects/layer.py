"""Layers: outputs, gradients and running statistics over several forward passes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, ClassVar, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from parity import draws
from parity._compilation import KEPT, compiler_options
from parity.case import Case
from parity.subjects._arrays import cotangent, to_jax, to_numpy, to_torch
from parity.trace import Quantity, Trace

Variables = dict[str, np.ndarray]


CANCELLED = 1e-12
"""A gradient this much smaller than another one of its step is what rounding in float64 leaves of zero."""


def flax_names(variables: Variables) -> Variables:
    """PyTorch's variables under our names: a matrix `weight` is a transposed `kernel`."""
    return {
        name.replace("weight", "kernel") if values.ndim == 2 else name: values.T if values.ndim == 2 else values
        for name, values in variables.items()
    }


def same_layout(array: np.ndarray) -> np.ndarray:
    return array


def channels_second(array: np.ndarray) -> np.ndarray:
    """From our layout, channels last, to PyTorch's."""
    return np.moveaxis(array, -1, 1)


def channels_last(array: np.ndarray) -> np.ndarray:
    """From PyTorch's layout to ours."""
    return np.moveaxis(array, 1, -1)


@dataclass(frozen=True, eq=False, kw_only=True)
class LayerCase(Case):
    """An NNX module against a `torch.nn` module with the same variables.

    Every input is one training step (output, gradients, then the running statistics), and the last one is seen once
    more in evaluation mode.

    Attributes:
        ours: makes the layer, given `nnx.Rngs`.
        reference: makes the PyTorch module.
        inputs: one array a step, in our layout; integer arrays get no gradient.
        variables: from PyTorch's variables, by name, to ours, by path; it must be linear, as gradients go through it.
        to_torch: from our layout to PyTorch's, for inputs and gradients.
        from_torch: the way back, for outputs and gradients.
        seed: of the values of the parameters.
        centre: the mean of matrices. The deviation is a half. Around 0 they saturate no gate.
        centre_of_vectors: the mean of vectors. Around 1 the weight of a norm hides nothing. Around 0 the two biases of
            a recurrent layer saturate none of its units.
    """

    reference: Callable[[], torch.nn.Module]
    inputs: Sequence[np.ndarray]
    variables: Callable[[Variables], Variables] = flax_names
    to_torch: Callable[[np.ndarray], np.ndarray] = same_layout
    from_torch: Callable[[np.ndarray], np.ndarray] = same_layout
    seed: int = 0
    centre: float = 1.0
    centre_of_vectors: float = 1.0

    inputs_in: ClassVar[tuple[str, ...]] = ("inputs",)

    def redrawn(self, number: int) -> Self:
        inputs = [draws.redrawn(array, number, self.precision) for array in self.inputs]
        return replace(self, inputs=inputs, seed=number)

    def _module(self, dtype: str) -> torch.nn.Module:
        """The module with random parameters, so that ones and zeros hide nothing."""
        module = self.reference().to(getattr(torch, dtype))
        rng = draws.generator(self.seed)
        with torch.no_grad():
            for parameter in module.parameters():
                mean = self.centre if parameter.ndim > 1 else self.centre_of_vectors
                values = (mean + rng.normal(size=tuple(parameter.shape)) / 2).astype(np.float32)
                parameter.copy_(torch.tensor(values))
        return module

    def run_torch(self, dtype: str) -> Trace:
        module = self._module(dtype)
        results = {}
        tensors = [to_torch(self.to_torch(array), dtype) for array in self.inputs]
        for number, tensor in enumerate(tensors):
            tensor.requires_grad_(tensor.is_floating_point())
            module.zero_grad()
            output = module(tensor)
            weights = self.to_torch(cotangent(self.from_torch(to_numpy(output)).shape))
            output.backward(to_torch(weights, dtype))
            results[Quantity(f"output {number}")] = self.from_torch(to_numpy(output))[None]
            if tensor.grad is not None:
                results[Quantity(f"input gradient {number}")] = self.from_torch(to_numpy(tensor.grad))[None]
            gradients = {
                name: to_numpy(parameter.grad)
                for name, parameter in module.named_parameters()
                if parameter.grad is not None
            }
            for name, values in self.variables(gradients).items():
                results[Quantity(f"gradient {number}", name)] = values[None]
            buffers = {name: to_numpy(buffer) for name, buffer in module.named_buffers()}
            for name, values in self.variables(buffers).items():
                results[Quantity(f"buffer {number}", name)] = values[None]
        module.eval()
        results[Quantity("output in evaluation")] = self.from_torch(to_numpy(module(tensors[-1])))[None]
        return results

    def run_ours(self, ours: Callable[[nnx.Rngs], nnx.Module], dtype: str) -> Trace:
        layer = _compiled(ours, dtype)
        known = {name: value.detach().numpy() for name, value in self._module("float32").state_dict().items()}
        values = self._mapped(known, _flat(layer.parameters) | _flat(layer.rest))
        parameters, rest = (_filled(state, values, dtype) for state in (layer.parameters, layer.rest))
        results: dict[Quantity, jax.Array] = {}
        arrays = [to_jax(array, dtype) for array in self.inputs]
        for number, array in enumerate(arrays):
            output, gradients, rest = layer.train(parameters, rest, array)
            results[Quantity(f"output {number}")] = output
            if len(gradients) > 1:
                results[Quantity(f"input gradient {number}")] = gradients[1]
            results |= {Quantity(f"gradient {number}", path): value for path, value in _flat(gradients[0]).items()}
            results |= {Quantity(f"buffer {number}", path): value for path, value in _flat(rest).items()}
        results[Quantity("output in evaluation")] = layer.evaluate(parameters, rest, arrays[-1])
        return {quantity: np.asarray(array, np.float64)[None] for quantity, array in results.items()}

    def _mapped(self, known: Variables, wanted: Mapping[str, jax.Array]) -> Variables:
        """PyTorch's variables under our names.

        Raises:
            ValueError: if one of ours has no value, or one of another shape; it lists the names of both sides.
        """
        advice = (
            f"PyTorch has {sorted(known)}, ours has {sorted(wanted)}; give `variables`, a function from a dict of "
            "PyTorch's variables by name to a dict of ours by path, such as "
            "lambda variables: {name.replace('weight', 'scale'): values for name, values in variables.items()}"
        )
        try:
            values = self.variables(known)
        except KeyError as error:
            raise ValueError(
                f"expected `variables` to map PyTorch's variables, got KeyError: {error}; {advice}"
            ) from error
        if missing := sorted(wanted.keys() - values.keys()):
            raise ValueError(f"expected values for our variables {missing}, got values for {sorted(values)}; {advice}")
        for name, variable in wanted.items():
            if np.shape(values[name]) != np.shape(variable):
                shapes = f"{np.shape(variable)} for our variable {name!r}, got {np.shape(values[name])}"
                raise ValueError(f"expected values of shape {shapes}; {advice}")
        return values

    def units(self, truth: Trace) -> Trace:
        """The largest finite magnitude of each array; of a gradient that cancels, that of all gradients of its step.

        The gradient of a bias before a batch norm, for one, is zero but for rounding.
        """
        sizes = {quantity: np.abs(values[np.isfinite(values)]).max(initial=0.0) for quantity, values in truth.items()}
        for quantity, size in sizes.items():
            step = [sizes[other] for other in sizes if other.kind == quantity.kind]
            if quantity.kind.startswith("gradient") and size < CANCELLED * max(step):
                sizes[quantity] = max(step)
        return {quantity: size[None] for quantity, size in sizes.items()}


class _Layer(NamedTuple):
    """A layer in two compiled programs, with its variables as they start."""

    parameters: nnx.State
    rest: nnx.State
    train: Callable[..., Any]
    evaluate: Callable[..., jax.Array]


@lru_cache(KEPT)
def _compiled(ours: Callable[[nnx.Rngs], nnx.Module], dtype: str) -> _Layer:
    """The layer that `ours` makes; the same one for every draw and seed."""
    graph, parameters, rest = nnx.split(ours(nnx.Rngs(0)), nnx.Param, ...)

    @partial(jax.jit, compiler_options=compiler_options(dtype))
    def train(parameters, rest, array):
        def forward(parameters, array):
            module = nnx.merge(graph, parameters, rest, copy=True)
            module.train()
            output = module(array)
            return output, nnx.state(module, nnx.Not(nnx.Param))

        if jnp.issubdtype(array.dtype, jnp.floating):
            output, pullback, rest = jax.vjp(forward, parameters, array, has_aux=True)
        else:
            output, pullback, rest = jax.vjp(lambda p: forward(p, array), parameters, has_aux=True)
        return output, pullback(jnp.asarray(cotangent(output.shape), output.dtype)), rest

    @partial(jax.jit, compiler_options=compiler_options(dtype))
    def evaluate(parameters, rest, array):
        module = nnx.merge(graph, parameters, rest, copy=True)
        module.eval()
        return module(array)

    return _Layer(parameters, rest, train, evaluate)


def _flat(state: nnx.State) -> dict[str, jax.Array]:
    """Variables by path, without the state of random streams."""
    flat = nnx.to_flat_state(state)
    return {".".join(map(str, path)): v.get_value() for path, v in flat if not isinstance(v, nnx.RngState)}


def _filled(state: nnx.State, values: Variables, dtype: str) -> nnx.State:
    """The state with PyTorch's values in it, in `dtype`."""

    def fill(path, variable):
        if isinstance(variable, nnx.RngState):
            return variable
        name = ".".join(map(str, path))
        return variable.replace(to_jax(values[name], dtype))

    flat = nnx.to_flat_state(state)
    return nnx.from_flat_state([(path, fill(path, variable)) for path, variable in flat])
