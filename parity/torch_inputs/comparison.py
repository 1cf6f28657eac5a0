"""One input of a database, as a comparison that both sides can run."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from jaxtrain.interop.layouts import Layout, layouts_of
from parity import draws
from parity._quiet import quietly
from parity.counterparts import arguments as parameters_of
from parity.counterparts import left_out
from parity.subjects._arrays import cotangent, to_jax, to_numpy, to_torch
from parity.torch_inputs import programs
from parity.torch_inputs.torch_databases import Call, ModuleInput
from parity.verdicts import Arrays

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
"""The statistics that PyTorch's norms change in place and ours return, in this order."""

Values = dict[str, Any]
WITH_EXAMPLES = ("nn.Conv", "nn.ConvTranspose")
"""Layers for which a single example needs an axis of examples, and a kernel a size for each axis."""

AS_IT_IS = Layout("")
"""How a variable is stored that PyTorch has in the same layout."""

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
Constants = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class Comparison(ABC):
    """Both sides on an input of a database. All results count as one step.

    Attributes:
        component: public name below `jaxtrain`, such as `losses.huber_loss`.
        source: the entry of the database, such as `nn.HuberLoss`.
        ours: the component under test.
        theirs: its counterpart.
    """

    component: str
    source: str
    ours: Callable
    theirs: Callable

    @abstractmethod
    def run_torch(self, dtype: str) -> Arrays:
        """PyTorch's value, gradients and running statistics."""

    @abstractmethod
    def arguments(self, dtype: str) -> tuple[Constants, Values, Values]:
        """The arguments of ours: constants, arrays to differentiate by, other arrays."""

    @staticmethod
    @abstractmethod
    def call(ours: Callable, constants: Values, arrays: Values) -> tuple[jax.Array, Values]:
        """The value of ours, and its running statistics."""

    @property
    @abstractmethod
    def given(self) -> Values:
        """The input: PyTorch's arguments, under the names of ours."""

    @abstractmethod
    def redrawn(self, number: int) -> Self:
        """The same call on another draw of its arrays; number 0 is the input itself."""

    @abstractmethod
    def trace(self) -> None:
        """Call ours without computing anything, which raises the errors of its checks."""

    def run_ours(self, dtype: str) -> Arrays:
        """The results of ours in `dtype`, under the same names."""
        with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
            constants, *arrays = self.arguments(dtype)
            results = programs.run(_results, dtype, (self.call, self.ours, constants), tuple(arrays))
        return {name: np.asarray(array, np.float64)[None] for name, array in results.items()}

    def units(self, truth: Arrays) -> Arrays:
        """The largest magnitude of all results: what cancels in one result leaves the rounding of the others' size."""
        largest = max(float(np.abs(array[np.isfinite(array)]).max(initial=0.0)) for array in truth.values())
        return dict.fromkeys(truth, np.array([largest]))

    def __str__(self) -> str:
        values = {name: tuple(v.shape) if isinstance(v, torch.Tensor) else v for name, v in self.given.items()}
        return f"{self.source}({', '.join(f'{name}={value}' for name, value in values.items())})"


@dataclass(frozen=True, kw_only=True)
class FunctionComparison(Comparison):
    """A function of `losses` or `nn` and the function of `torch.nn.functional` of the same name."""

    inputs: Call

    def run_torch(self, dtype: str) -> Arrays:
        inputs = in_dtype(self.inputs, dtype)
        value = quietly(self.theirs)(*inputs.args, **inputs.kwargs)
        if value.requires_grad:
            value.backward(to_torch(cotangent(tuple(value.shape)), dtype))
        results = {"value": value}
        for name, tensor in self._by_name(inputs).items():
            if name in STATISTICS and tensor is not None:
                results[name] = tensor
            elif isinstance(tensor, torch.Tensor) and tensor.grad is not None:
                results[f"gradient of {name}"] = tensor.grad
        return {name: to_numpy(tensor)[None] for name, tensor in results.items()}

    @cached_property
    def given(self) -> Values:
        return self._by_name(self.inputs)

    def redrawn(self, number: int) -> Self:
        return replace(self, inputs=redrawn_call(self.inputs, number))

    def trace(self) -> None:
        constants, *arrays = self.arguments("float32")
        jax.eval_shape(partial(_results, self.call, self.ours, constants), *arrays)

    def arguments(self, dtype: str) -> tuple[Constants, Values, Values]:
        constants, selected, others = {}, {}, {}
        for name, value in self.given.items():
            if isinstance(value, torch.Tensor):
                (selected if value.requires_grad else others)[name] = to_jax(value.detach(), dtype)
            else:
                constants[name] = TRANSLATED.get(type(value), value)
        if "axis" in parameters_of(self.ours) and self.inputs.args[0].ndim > 1:
            constants.setdefault("axis", 1)
        if "key" in parameters_of(self.ours) and "key" not in self.given:
            others["key"] = jax.random.key(0)
        return hashable(constants), selected, others

    @staticmethod
    def call(ours: Callable, constants: Values, arrays: Values) -> tuple[jax.Array, Values]:
        result = ours(**constants, **arrays)
        value, *statistics = result if isinstance(result, tuple) else (result,)
        return value, {name: array for name, array in zip(STATISTICS, statistics, strict=False) if array is not None}

    def _by_name(self, inputs: Call) -> Values:
        known = {name: value for name, value in inputs.kwargs.items() if name not in left_out(self.component)}
        return bound(self.ours, inputs.args, known)


@dataclass(frozen=True, kw_only=True)
class LayerComparison(Comparison):
    """A layer of `nn` and a `torch.nn` module with the same parameters and statistics, in one of the two modes.

    `seed` is that of these.
    """

    theirs: type[torch.nn.Module]
    inputs: ModuleInput
    seed: int = 0

    def redrawn(self, number: int) -> Self:
        inputs = replace(self.inputs, forward=redrawn_call(self.inputs.forward, number))
        return replace(self, inputs=inputs, seed=number)

    def run_torch(self, dtype: str) -> Arrays:
        module = self._module().to(getattr(torch, dtype))
        given = in_dtype(Call((), self._forward), dtype).kwargs
        value = quietly(module)(**given)
        value.backward(to_torch(cotangent(tuple(value.shape)), dtype))
        named = {**given, **dict(module.named_parameters())}
        results = {"value": value, **dict(module.named_buffers())}
        results |= {f"gradient of {name}": tensor.grad for name, tensor in named.items() if tensor.grad is not None}
        return {name: to_numpy(tensor)[None] for name, tensor in results.items()}

    @cached_property
    def given(self) -> Values:
        return {**self._forward, **self._constants(), "training": self.inputs.training}

    def trace(self) -> None:
        # With the first values of ours: PyTorch may be unable to make its module.
        constants = dict(self._all_constants())
        arrays = {name: to_jax(tensor.detach(), "float32") for name, tensor in self._forward.items()}
        jax.eval_shape(lambda arrays: self.call(self.ours, constants, arrays)[0], arrays)

    def arguments(self, dtype: str) -> tuple[Constants, Values, Values]:
        module = self._module()
        arrays = {**self._forward, **dict(module.named_parameters())}
        selected = {name: tensor for name, tensor in arrays.items() if tensor.is_floating_point()}
        others = {name: tensor for name, tensor in arrays.items() if name not in selected} | dict(
            module.named_buffers()
        )
        return (
            self._all_constants(),
            {name: to_jax(tensor.detach(), dtype) for name, tensor in selected.items()},
            {name: to_jax(tensor.detach(), dtype) for name, tensor in others.items()},
        )

    @staticmethod
    def call(ours: Callable, constants: Values, arrays: Values) -> tuple[jax.Array, Values]:
        constants = dict(constants)
        training, names, is_single = (constants.pop(name) for name in ("training", "arrays", "is_single"))
        inputs = [arrays[name][None] if is_single else arrays[name] for name in names]
        layer = ours(**constants, **({"rngs": nnx.Rngs(0)} if "rngs" in parameters_of(ours) else {}))
        layouts = {layout.name: (own, layout) for own, layout in layouts_of(layer).items()}
        for name in arrays.keys() - set(names):
            own, layout = layouts.get(name, (name, AS_IT_IS))
            getattr(layer, own).set_value(layout.from_torch(arrays[name]))
        layer.set_attributes(use_running_average=not training, raise_if_not_found=False)
        value = layer(*inputs)
        value = value[0] if is_single else value
        return value, {name: getattr(layer, name)[...] for name in STATISTICS if name in arrays}

    @cached_property
    def _forward(self) -> Values:
        """The tensors with which the module is called, by name."""
        names = [name for name in inspect.signature(self.theirs.forward).parameters if name != "self"]
        return dict(zip(names, self.inputs.forward.args, strict=False)) | self.inputs.forward.kwargs

    def _all_constants(self) -> Constants:
        is_single = self.component in WITH_EXAMPLES and first(self._forward).ndim == int(self.source[-2]) + 1
        own = {"arrays": tuple(self._forward), "is_single": is_single, "training": self.inputs.training}
        return hashable(self._constants() | own)

    def _constants(self) -> Values:
        constructor = self.inputs.constructor
        constants = bound(self.ours, constructor.args, constructor.kwargs)
        if self.component in WITH_EXAMPLES and "kernel_size" in constants:
            constants["kernel_size"] = (constants["kernel_size"],) * int(self.source[-2])
        has_axis = "axis" in parameters_of(self.ours) and first(self._forward).ndim > 1
        return constants | ({"axis": 1} if has_axis else {})

    def _module(self) -> torch.nn.Module:
        """The module with random numbers in it, so that ones and zeros hide nothing."""
        module = self.theirs(*self.inputs.constructor.args, **self.inputs.constructor.kwargs)
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for tensor in module.state_dict().values():
                if tensor.is_floating_point():
                    tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        return module.train(self.inputs.training)


def _results(call: Callable, ours: Callable, constants: Constants, selected: Values, others: Values) -> Values:
    value, pullback, statistics = jax.vjp(
        lambda selected: call(ours, dict(constants), selected | others), selected, has_aux=True
    )
    [gradients] = pullback(jnp.asarray(cotangent(value.shape), value.dtype))
    return {"value": value, **statistics} | {f"gradient of {name}": array for name, array in gradients.items()}


def _euclidean_distance(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(jnp.square(x - y + 1e-6), -1))


TRANSLATED = {torch.nn.PairwiseDistance: _euclidean_distance}


def bound(function: Callable, args: tuple[Any, ...], kwargs: Values) -> Values:
    """The arguments of a call by name."""
    names = [name for name, parameter in parameters_of(function).items() if parameter.kind in POSITIONAL]
    return dict(zip(names, args, strict=False)) | kwargs


def first(values: Values) -> Any:
    """The first of some values."""
    return next(iter(values.values()))


def hashable(constants: Values) -> Constants:
    plain = {name: tuple(value) if isinstance(value, list) else value for name, value in constants.items()}
    return tuple(sorted(plain.items()))


def redrawn_call(inputs: Call, number: int) -> Call:
    """The arguments with other numbers in the floating tensors."""

    def drawn(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        array = value.detach().numpy()
        return torch.tensor(draws.redrawn(array, number, "float32")).requires_grad_(value.requires_grad)

    return Call(tuple(map(drawn, inputs.args)), {name: drawn(value) for name, value in inputs.kwargs.items()})


def in_dtype(inputs: Call, dtype: str) -> Call:
    """A copy of the arguments; floating tensors become leaves of `dtype`."""

    def copied(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        kind = getattr(torch, dtype) if value.is_floating_point() else value.dtype
        return value.detach().clone().to(kind).requires_grad_(value.requires_grad)

    return Call(tuple(map(copied, inputs.args)), {name: copied(value) for name, value in inputs.kwargs.items()})
