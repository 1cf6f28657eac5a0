"""One input of a recurrent layer, an attention or a transformer: several arrays in, several out."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import jax
import jax.numpy as jnp
import torch
import torch.nn.functional as F
from flax import nnx

from jaxtrain import nn
from parity._quiet import quietly
from parity.counterparts import arguments as parameters_of
from parity.counterparts import left_out
from parity.subjects._arrays import cotangent, to_jax, to_numpy, to_torch
from parity.torch_inputs.comparison import Comparison, Constants, Values, bound, hashable, in_dtype, redrawn_call
from parity.torch_inputs.torch_databases import Call, ModuleInput
from parity.verdicts import Arrays

SEQUENCES = ("input", "query", "key", "value", "src", "tgt", "memory")
"""The arguments whose batch is PyTorch's second axis, unless it is told `batch_first`."""

ACTIVATIONS = {F.relu: "relu", F.gelu: "gelu"}

WITHOUT_COUNTERPART = {
    "batch_first": "the batch is always first here",
    "dtype": "arrays of different float types are promoted here",
}
"""Arguments in whose wrong values an error cannot happen here, and why."""


@dataclass(frozen=True, kw_only=True)
class SequenceComparison(Comparison):
    """A layer of `nn` and a `torch.nn` module with the same parameters, in one of the two modes.

    All results together are one vector.

    Attributes:
        inputs: how PyTorch's module is made and called.
        seed: of the values of the parameters.
    """

    theirs: type[torch.nn.Module]
    inputs: ModuleInput
    seed: int = 0

    def redrawn(self, number: int) -> Self:
        forward = redrawn_call(Call((), self._forward), number)
        return replace(self, inputs=replace(self.inputs, forward=forward), seed=number)

    def run_torch(self, dtype: str) -> Arrays:
        module = self._module().to(getattr(torch, dtype))
        given = in_dtype(Call((), self._forward), dtype).kwargs
        value = torch.cat([leaf.flatten() for leaf in _leaves(quietly(module)(**_nested(given)))])
        value.backward(to_torch(cotangent(tuple(value.shape)), dtype))
        named = {**_tensors(given), **dict(module.named_parameters())}
        gradients = {f"gradient of {name}": tensor.grad for name, tensor in named.items() if tensor.grad is not None}
        return {name: to_numpy(tensor)[None] for name, tensor in {"value": value, **gradients}.items()}

    @cached_property
    def given(self) -> Values:
        return {**self._constructor, **self._forward, "training": self.inputs.training}

    def trace(self) -> None:
        # With the first values of ours: PyTorch may be unable to make its module.
        arrays = {name: to_jax(tensor.detach(), "float32") for name, tensor in _tensors(self._forward).items()}
        jax.eval_shape(lambda arrays: self.call(self.ours, dict(self._constants), arrays)[0], arrays)

    def arguments(self, dtype: str) -> tuple[Constants, Values, Values]:
        parameters, given = dict(self._module().named_parameters()), _tensors(self._forward)
        selected = parameters | {name: tensor for name, tensor in given.items() if tensor.requires_grad}
        others = {name: tensor for name, tensor in given.items() if not tensor.requires_grad}
        arrays = [
            {name: to_jax(tensor.detach(), dtype) for name, tensor in some.items()} for some in (selected, others)
        ]
        return self._constants, arrays[0], arrays[1]

    @staticmethod
    def call(ours: Callable, constants: Values, arrays: Values) -> tuple[jax.Array, Values]:
        layer = _made(ours, dict(constants["constructor"]))
        given = {name: arrays[name] for name in constants["arrays"]}
        for name in arrays.keys() - given.keys():
            _set_parameter(layer, name, arrays[name])
        layer.set_attributes(deterministic=not constants["training"], raise_if_not_found=False)
        for name in SEQUENCES if constants["is_swapped"] else ():
            if name in given:
                given[name] = jnp.swapaxes(given[name], 0, 1)
        result = layer(**_nested(given))
        output, *rest = result if isinstance(result, tuple) else (result,)
        output = jnp.swapaxes(output, 0, 1) if constants["is_swapped"] else output
        return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves((output, rest))]), {}

    @cached_property
    def _constructor(self) -> Values:
        """PyTorch's arguments by name."""
        return bound(self.theirs, self.inputs.constructor.args, self.inputs.constructor.kwargs)

    @cached_property
    def _forward(self) -> Values:
        """The arguments of the call by name, a pair of states as two; without what is None."""
        args, kwargs = self.inputs.forward.args, self.inputs.forward.kwargs
        names = [name for name in inspect.signature(self.theirs.forward).parameters if name != "self"]
        named = dict(zip(names, args, strict=False)) | kwargs
        pairs = {name: value for name, value in named.items() if isinstance(value, tuple | list)}
        parts = {f"{name}.{index}": part for name, pair in pairs.items() for index, part in enumerate(pair)}
        return {name: value for name, value in {**named, **parts}.items() if value is not None and name not in pairs}

    @cached_property
    def _constants(self) -> Constants:
        constructor = {name: value for name, value in self._constructor.items() if name not in left_out(self.component)}
        layer = constructor.get("encoder_layer")
        if layer is not None:
            constructor["encoder_layer"] = hashable(_arguments_of(layer))
        if "activation" in constructor:
            constructor["activation"] = ACTIVATIONS[constructor["activation"]]
        given = _tensors(self._forward)
        takes_order = "batch_first" in parameters_of(self.theirs) or layer is not None
        is_batch_first = self._constructor.get("batch_first", False) if layer is None else layer.self_attn.batch_first
        first = next(iter(given.values()))
        return hashable(
            {
                "constructor": hashable(constructor),
                "arrays": tuple(given),
                "training": self.inputs.training,
                "is_swapped": takes_order and not is_batch_first and first.ndim == 3,
            }
        )

    def _module(self) -> torch.nn.Module:
        """The module with random matrices, and vectors around 1: a norm's weight near 0 would magnify all rounding."""
        module = quietly(self.theirs)(*self.inputs.constructor.args, **self.inputs.constructor.kwargs)
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for parameter in module.parameters():
                mean = 0.0 if parameter.ndim > 1 else 1.0
                parameter.copy_(mean + torch.randn(parameter.shape, generator=generator) / 2)
        return module.train(self.inputs.training)


def without_counterpart(comparison: Comparison) -> str:
    """Why an error of PyTorch cannot happen here; empty if it can."""
    given = comparison.given
    if isinstance(comparison, SequenceComparison):
        return next((reason for name, reason in WITHOUT_COUNTERPART.items() if name in given), "")
    if comparison.component == "nn.Embedding" and not given["input"].is_floating_point():
        is_outside = int(given["input"].max()) >= given["num_embeddings"] > 0
        return "compiled code cannot raise; the row of an index out of range is NaN" if is_outside else ""
    pool = re.search(r"[pP]ool(\d)d$", comparison.source)
    if pool and given["input"].ndim not in (int(pool[1]) + 1, int(pool[1]) + 2):
        return "the input's axes tell one pool which of PyTorch's three it is"
    return ""


def _made(ours: Callable, constructor: Values) -> nnx.Module:
    if "encoder_layer" in constructor:
        layer = nn.TransformerEncoderLayer(**dict(constructor.pop("encoder_layer")), rngs=nnx.Rngs(0))
        return ours(layer, **constructor)
    return ours(**constructor, rngs=nnx.Rngs(0))


def _arguments_of(layer: torch.nn.TransformerEncoderLayer) -> Values:
    """The arguments with which we make the same encoder layer."""
    return {
        "d_model": layer.linear1.in_features,
        "nhead": layer.self_attn.num_heads,
        "dim_feedforward": layer.linear1.out_features,
        "dropout": layer.dropout.p,
        "activation": ACTIVATIONS[layer.activation],
        "layer_norm_eps": layer.norm1.eps,
        "norm_first": layer.norm_first,
        "bias": layer.linear1.bias is not None,
    }


def _set_parameter(layer: Any, name: str, array: jax.Array) -> None:
    """Give our layer PyTorch's parameter: a matrix is a transposed kernel."""
    *path, last = (name.replace("weight", "kernel") if array.ndim == 2 else name).split(".")
    for part in path:
        layer = layer[int(part)] if part.isdigit() else getattr(layer, part)
    getattr(layer, last).set_value(array.T if array.ndim == 2 else array)


def _tensors(values: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    return {name: value for name, value in values.items() if isinstance(value, torch.Tensor)}


def _nested(values: Values) -> Values:
    """The arguments of a call: what is named `hx.0` and `hx.1` is the pair `hx`."""
    whole: Values = {}
    for name, value in values.items():
        stem, _, index = name.partition(".")
        whole[stem] = (*whole.get(stem, ()), value) if index else value
    return whole


def _leaves(result: Any) -> Iterator[torch.Tensor]:
    """The tensors in a result."""
    for part in result if isinstance(result, tuple) else (result,):
        if isinstance(part, tuple):
            yield from _leaves(part)
        elif part is not None:
            yield part
