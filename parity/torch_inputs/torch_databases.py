"""PyTorch's own databases of test inputs: the one file that knows the private modules in which they live.

Importing those takes seconds, so it happens only when an input is asked for.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import torch


class DatabaseMissing(RuntimeError):
    """This release of PyTorch lacks a database."""


@dataclass(frozen=True)
class Call:
    """Arguments. Floating tensors are float32; those by which PyTorch differentiates require a gradient."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class ModuleInput:
    """How a module is made, and how it is called in training or evaluation mode."""

    constructor: Call
    forward: Call
    training: bool


@dataclass(frozen=True)
class OptimizerInput:
    """How an optimizer is made.

    Attributes:
        description: what the input is about.
        kwargs: all arguments but the parameters.
        error: a regular expression for PyTorch's message; empty where it accepts the input.
    """

    description: str
    kwargs: dict[str, Any]
    error: str = ""


def operators() -> list[str]:
    """The names in `op_db`, such as `nn.functional.huber_loss`."""
    return sorted({info.name for info in _op_db()})


def operator_inputs(name: str) -> list[Call]:
    """The samples of an operator, of all its variants."""
    with _same_random_numbers():
        return [
            Call((sample.input, *sample.args), sample.kwargs)
            for info in _op_db()
            if info.name == name
            for sample in info.sample_inputs("cpu", torch.float32, requires_grad=True)
        ]


def operator_errors(name: str) -> list[Call]:
    """What an operator rejects."""
    with _same_random_numbers():
        return [
            Call((error.sample_input.input, *error.sample_input.args), error.sample_input.kwargs)
            for info in _op_db()
            if info.name == name and info.error_inputs_func
            for error in info.error_inputs("cpu")
        ]


def modules() -> list[str]:
    """The names in `module_db`, such as `nn.HuberLoss`."""
    return sorted({info.name for info in _module_db()})


def module_inputs(name: str) -> list[ModuleInput]:
    """The inputs of a module; in both modes if that makes a difference."""
    with _same_random_numbers():
        return [
            _module_input(found, training)
            for info in _module_db()
            if info.name == name
            for training in ((True, False) if info.train_and_eval_differ else (True,))
            for found in info.module_inputs_func(info, "cpu", torch.float32, True, training)
        ]


def module_errors(name: str) -> list[ModuleInput]:
    """What a module rejects: when it is made, and is called with an input that it takes otherwise, or when called."""
    with _same_random_numbers():
        found = [
            _module_input(error.module_error_input, True)
            for info in _module_db()
            if info.name == name and info.module_error_inputs_func
            for error in info.module_error_inputs_func(info, "cpu", torch.float32, False, True)
        ]
    valid = module_inputs(name)[0].forward if found else None
    return [given if given.forward.args else replace(given, forward=valid) for given in found]


def optimizers() -> dict[str, Callable[..., torch.optim.Optimizer]]:
    """The classes in `optim_db`, by name."""
    return {info.optim_cls.__name__: info.optim_cls for info in _optim_db()}


def optimizer_inputs(name: str) -> list[OptimizerInput]:
    """The configurations of an optimizer on a CPU."""
    return [OptimizerInput(found.desc, found.kwargs) for found in _optimizer(name).optim_inputs_func(device="cpu")]


def optimizer_errors(name: str) -> list[OptimizerInput]:
    """What an optimizer rejects on a CPU, when it is made or when it steps."""
    with _same_random_numbers():
        return [
            OptimizerInput(error.optimizer_error_input.desc, error.optimizer_error_input.kwargs, error.error_regex)
            for error in _optimizer(name).optim_error_inputs_func("cpu", torch.float32)
        ]


def _optimizer(name: str) -> Any:
    return next(info for info in _optim_db() if info.optim_cls.__name__ == name)


def _op_db() -> list[Any]:
    return _private("common_methods_invocations", "op_db")


def _module_db() -> list[Any]:
    return _private("common_modules", "module_db")


def _optim_db() -> list[Any]:
    return _private("common_optimizers", "optim_db")


def _private(module: str, name: str) -> Any:
    """An attribute of a private module of PyTorch, or an error that says which one is missing."""
    path = f"torch.testing._internal.{module}"
    try:
        return getattr(import_module(path), name)
    except (ImportError, AttributeError) as error:
        raise DatabaseMissing(
            f"PyTorch {torch.__version__} has no {path}.{name} ({error}); its databases of test inputs are private, "
            "and parity knows where PyTorch 2.13 keeps them"
        ) from error


def _module_input(found: Any, training: bool) -> ModuleInput:
    constructor, forward = found.constructor_input, found.forward_input
    return ModuleInput(
        Call(constructor.args, constructor.kwargs),
        Call(forward.args, forward.kwargs) if forward else Call((), {}),
        training,
    )


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    """PyTorch and Python draw the same numbers at every call; the global generators are restored on exit."""
    state = random.getstate()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        random.seed(0)
        try:
            yield
        finally:
            random.setstate(state)
