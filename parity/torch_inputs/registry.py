"""The entries of PyTorch's databases and the components that they are about."""

import re
from collections.abc import Callable, Sequence
from inspect import isfunction
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F

from parity.counterparts import component_of, public
from parity.torch_inputs import torch_databases
from parity.torch_inputs.adaptations import adapted, as_function, module_call, translated
from parity.torch_inputs.comparison import Comparison, FunctionComparison, LayerComparison
from parity.torch_inputs.sequence_comparison import SequenceComparison
from parity.torch_inputs.torch_databases import Call, ModuleInput

FUNCTIONS = "nn.functional."
"""How the names of functions begin in `op_db`."""

BARE: dict[str, Callable[..., torch.Tensor]] = {
    "cdist": torch.cdist,
    "flatten": torch.flatten,
    "log_softmax": F.log_softmax,
    "sigmoid": torch.sigmoid,
    "softmax": F.softmax,
    "tanh": torch.tanh,
    "unflatten": torch.unflatten,
}
"""The functions in `op_db` that are not in `torch.nn.functional` there, but ours are in `nn`."""

SEQUENCES = r"(RNN|LSTM|GRU)(Cell)?|MultiheadAttention|Transformer((Encoder|Decoder)(Layer)?)?"
"""The layers of sequences in the databases."""

SUBJECTS = re.compile(
    r"nn\.functional\.(\w+_loss|\w*cross_entropy\w*|kl_div|\w+_norm|\w*dropout\w*|scaled_dot_product_attention)"
    rf"|nn\.(\w*Loss|\w*Norm|\w*Dropout)(\dd)?|nn\.({SEQUENCES})"
)
"""The losses, norms, dropouts and layers of sequences in the databases; each must have a component here."""


def components() -> dict[str, list[str]]:
    """The entries of the databases by the component that they are about, or by themselves if there is none here."""
    found: dict[str, list[str]] = {}
    for entry in (*torch_databases.operators(), *torch_databases.modules()):
        component = f"nn.{entry}" if entry in BARE else component_of(entry)
        if SUBJECTS.fullmatch(entry) or (component and component.startswith("nn.")):
            found.setdefault(component or entry, []).append(entry)
    return dict(sorted(found.items()))


def implementation(component: str) -> Any:
    """Our function or class; None if there is none."""
    return public().get(component)


def comparisons(component: str, entry: str) -> list[Comparison]:
    """The inputs of one entry that PyTorch accepts."""
    inputs = torch_databases.operator_inputs if _is_function(entry) else torch_databases.module_inputs
    return _compared(component, entry, inputs(entry))


def error_comparisons(component: str, entry: str) -> list[Comparison]:
    """The inputs of one entry that PyTorch rejects."""
    errors = torch_databases.operator_errors if _is_function(entry) else torch_databases.module_errors
    return _compared(component, entry, errors(entry))


def _is_function(entry: str) -> bool:
    return entry in BARE or entry.startswith(FUNCTIONS)


def _compared(component: str, entry: str, inputs: Sequence[Any]) -> list[Comparison]:
    """Calls of a function or inputs of a module. Where ours is a function, so is PyTorch's that it is compared with."""
    name, function = entry.rpartition(".")[2], component.partition(".")[2]
    ours = implementation(component)
    if _is_function(entry):
        theirs = BARE.get(entry) or getattr(F, name)
    else:
        module = getattr(torch.nn, name)
        if re.fullmatch(SEQUENCES, name) or not isfunction(ours):
            kind = SequenceComparison if re.fullmatch(SEQUENCES, name) else LayerComparison
            return [kind(component=component, source=entry, ours=ours, theirs=module, inputs=given) for given in inputs]
        if component.startswith("losses."):
            theirs, inputs = getattr(F, function), [functional_call(module, function, given) for given in inputs]
        else:
            theirs = as_function(module)
            inputs = [module_call(module, given.constructor, given.forward) for given in inputs]
    ours, theirs = adapted(function, entry, ours, theirs)
    return [
        FunctionComparison(
            component=component, source=entry, ours=ours, theirs=theirs, inputs=translated(function, call)
        )
        for call in inputs
    ]


def functional_call(module: type[torch.nn.Module], function: str, inputs: ModuleInput) -> Call:
    """The call of the function that computes a loss module, with these arguments even if the module refuses them."""
    torch.manual_seed(0)
    constructor = inputs.constructor
    try:
        made, refused = module(*constructor.args, **constructor.kwargs), {}
    except (RuntimeError, ValueError, TypeError):
        made, refused = module(*constructor.args), constructor.kwargs
    with mock.patch.object(F, function) as called:
        made(*inputs.forward.args, **inputs.forward.kwargs)
    return Call(called.call_args.args, {**called.call_args.kwargs, **refused})
