"""PyTorch's side: its training steps recorded, and single layers of it run again."""

import copy
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from hashlib import blake2b
from typing import Any

import numpy as np
import torch
from torch.utils import _pytree as pytree

from parity.diff.batches import examples_of
from parity.diff.intercept import Change, FunctionCall, Interception
from parity.diff.recipe import Recipe
from parity.diff.records import Call, Replayed, Step
from parity.subjects._arrays import to_numpy, to_torch

Loss = Callable[..., torch.Tensor]


def recorded(
    module: torch.nn.Module, loss: Loss, batches: Sequence[tuple[Any, ...]], recipe: Recipe | None, dtype: str
) -> list[Step]:
    """Train a copy of the module, one step a batch, and record each step."""
    module = copied(module, dtype, share=recipe is None)
    training = recipe.start(module) if recipe else None
    steps = []
    for batch in batches:
        module.zero_grad()
        calls: list[Call] = []
        with ExitStack() as stack:
            for handle in _hooks(module, calls, Pool()):
                stack.callback(handle.remove)
            with Interception(), torch.enable_grad():
                value = loss(module, *(to_torch(array, dtype) for array in batch))
            if not isinstance(value, torch.Tensor) or value.numel() != 1:
                given = f"shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
                raise ValueError(f"diff: expected PyTorch's loss to return a scalar, got {given}; take the mean of it")
            if value.requires_grad:
                value.backward()
        gradients = {name: p.grad.numpy() for name, p in module.named_parameters() if p.grad is not None}
        if not training:
            module.zero_grad()
        if training and training.recipe.changes_gradients:
            gradients = {name: array.copy() for name, array in gradients.items()}
        buffers = {name: to_numpy(buffer) for name, buffer in module.named_buffers()}
        rate = training.step(examples_of(batch)) if training else None
        parameters = {name: to_numpy(p) for name, p in module.named_parameters()} if training else {}
        steps.append(Step(calls, float(value.detach()), gradients, buffers, parameters, rate))
    return steps


class Pool:
    """The arrays of a step, each of which is kept once: what one layer returns, the next one is given."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, tuple[int, ...], bytes], torch.Tensor] = {}

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """A copy of the tensor, or the one that was made before."""
        tensor = tensor.detach().contiguous()
        content = tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b""
        key = str(tensor.dtype), tuple(tensor.shape), blake2b(content, digest_size=16).digest()
        if key not in self._kept:
            self._kept[key] = tensor.clone()
        return self._kept[key]


def _hooks(module: torch.nn.Module, calls: list[Call], pool: Pool) -> Iterable[Any]:
    """Hooks that write the calls of all layers down."""
    counts: dict[str, int] = {}
    waiting: dict[str, list[Any]] = {}

    def before(path: str) -> Callable[..., None]:
        def hook(layer: torch.nn.Module, args: Any, kwargs: Any) -> None:
            waiting.setdefault(path, []).append(_kept((args, kwargs), pool))

        return hook

    def after(path: str) -> Callable[..., None]:
        def hook(layer: torch.nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            arguments = waiting[path].pop()
            number = counts[path] = counts.get(path, -1) + 1
            outputs = _tensors(output)
            call = Call(path, number, type(layer).__name__, arguments, _views(arguments), _views(_kept(outputs, pool)))
            call.shape = _structure(output)
            call.output_gradients = [None] * len(outputs)
            for index, tensor in enumerate(outputs):
                if tensor.requires_grad:
                    tensor.register_hook(_keeper(call, index, pool))
            calls.append(call)

        return hook

    for path, layer in module.named_modules():
        yield layer.register_forward_pre_hook(before(path), with_kwargs=True)
        yield layer.register_forward_hook(after(path), with_kwargs=True)


def _keeper(call: Call, index: int, pool: Pool) -> Callable[[torch.Tensor], None]:
    def keep(gradient: torch.Tensor) -> None:
        call.output_gradients[index] = pool(gradient).numpy()

    return keep


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


TENSOR = object()


def _structure(tree: Any) -> tuple[list[Any], Any]:
    """A tree without its tensors: its leaves, and how they hang together."""
    leaves, structure = pytree.tree_flatten(tree)
    return [TENSOR if isinstance(leaf, torch.Tensor) else leaf for leaf in leaves], structure


def _views(tree: Any) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in _tensors(tree)]


def _kept(tree: Any, pool: Pool) -> Any:
    return pytree.tree_map(lambda leaf: pool(leaf) if isinstance(leaf, torch.Tensor) else leaf, tree)


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().numpy().copy()


def copied(module: torch.nn.Module, dtype: str, *, share: bool = False) -> torch.nn.Module:
    """A copy of a module in another dtype; with `share`, parameters that have it already lie where they are."""
    wanted = getattr(torch, dtype)
    # Converted before the copy: a large model has no memory for both.
    cast = {
        id(p): torch.nn.Parameter(p.detach().to(wanted, copy=not share), requires_grad=p.requires_grad)
        for p in module.parameters()
        if type(p) is torch.nn.Parameter and p.is_floating_point()
    }
    return copy.deepcopy(module, cast).to(wanted)


class TorchLayer:
    """One call of a layer of PyTorch's, which can be run again, changed or not.

    Args:
        module: the model as it is before the step.
        call: the call.
        without: names of parameters whose gradients are not wanted.
    """

    def __init__(self, module: torch.nn.Module, call: Call, without: Collection[str] = ()):
        self.call, self.without = call, without
        self.layer = module.get_submodule(call.path)
        self.prefix = f"{call.path}." if call.path else ""
        self.forward: Callable[..., Any] = lambda layer, *args, **kwargs: layer(*args, **kwargs)

    def calls(self) -> list[FunctionCall]:
        """The functions that the layer calls, in order."""
        found: list[FunctionCall] = []
        self._run("float64", None, lambda number, call: found.append(call), gradients=False)
        return found

    def replay(
        self, dtype: str = "float64", changes: Mapping[int, Change] | None = None, gradients: bool = True
    ) -> Replayed:
        """Run the layer on what it was given, and send the recorded gradients of its outputs back through it."""
        return self._run(dtype, changes, None, gradients)

    def with_forward(self, forward: Callable[..., Any]) -> "TorchLayer":
        """The same call of a layer that computes something else."""
        other = copy.copy(self)
        other.forward = forward
        return other

    def _run(self, dtype: str, changes: Any, watch: Any, gradients: bool) -> Replayed:
        layer = copied(self.layer, dtype, share=True)

        def cast(leaf: Any) -> Any:
            if not isinstance(leaf, torch.Tensor):
                return leaf
            floating = leaf.is_floating_point()
            copied = leaf.detach().clone().to(getattr(torch, dtype)) if floating else leaf.clone()
            return copied.requires_grad_(floating and gradients)

        args, kwargs = pytree.tree_map(cast, self.call.arguments)
        with Interception(changes, watch), torch.set_grad_enabled(gradients):
            output = self.forward(layer, *args, **kwargs)
        outputs = _tensors(output)
        found = Replayed([_array(tensor) for tensor in outputs])
        found.buffers = {self.prefix + name: to_numpy(buffer) for name, buffer in layer.named_buffers()}
        if not gradients:
            return found
        inputs = _tensors((args, kwargs))
        named = {name: p for name, p in layer.named_parameters() if self.prefix + name not in self.without}
        wanted = [*(tensor for tensor in inputs if tensor.requires_grad), *named.values()]
        pairs = [
            (tensor, to_torch(gradient, dtype).reshape(tensor.shape))
            for tensor, gradient in zip(outputs, self.call.output_gradients, strict=False)
            if gradient is not None and tensor.requires_grad and gradient.size == tensor.numel()
        ]
        results: list[torch.Tensor | None] = [None] * len(wanted)
        if pairs and wanted:
            results = list(torch.autograd.grad([t for t, _ in pairs], wanted, [g for _, g in pairs], allow_unused=True))
        arrays = [
            (tensor.new_zeros(tensor.shape) if result is None else result).numpy()
            for tensor, result in zip(wanted, results, strict=True)
        ]
        count = len(wanted) - len(named)
        floating = iter(arrays[:count])
        found.input_gradients = [next(floating) if tensor.requires_grad else None for tensor in inputs]
        found.parameter_gradients = {
            self.prefix + name: array for name, array in zip(named, arrays[count:], strict=True)
        }
        return found


class TorchLoss:
    """The loss of PyTorch on the output of its model, run again, changed or not."""

    def __init__(self, module: torch.nn.Module, loss: Loss, batch: tuple[Any, ...], call: Call):
        self.module, self.loss, self.batch, self.call = module, loss, batch, call

    def calls(self) -> list[FunctionCall]:
        found: list[FunctionCall] = []
        self._run("float64", None, lambda number, call: found.append(call), gradients=False)
        return found

    def replay(
        self, dtype: str = "float64", changes: Mapping[int, Change] | None = None, gradients: bool = True
    ) -> Replayed:
        return self._run(dtype, changes, None, gradients)

    def _run(self, dtype: str, changes: Any, watch: Any, gradients: bool) -> Replayed:
        module = copied(self.module, dtype, share=True)
        outputs = [to_torch(array, dtype) for array in self.call.outputs]
        for tensor in outputs:
            tensor.requires_grad_(gradients and tensor.is_floating_point())
        left = iter(outputs)
        leaves, structure = self.call.shape
        whole = pytree.tree_unflatten([next(left) if leaf is TENSOR else leaf for leaf in leaves], structure)
        module.forward = lambda *args, **kwargs: whole
        with Interception(changes, watch), torch.set_grad_enabled(gradients):
            value = self.loss(module, *(to_torch(array, dtype) for array in self.batch))
        found = Replayed([to_numpy(value)])
        if gradients:
            floating = [tensor for tensor in outputs if tensor.requires_grad]
            results = iter(torch.autograd.grad(value, floating, allow_unused=True))
            found.input_gradients = [_zero_or(next(results), t) if t.requires_grad else None for t in outputs]
        return found


def _zero_or(gradient: torch.Tensor | None, tensor: torch.Tensor) -> np.ndarray:
    return to_numpy(tensor.new_zeros(tensor.shape) if gradient is None else gradient)
