"""Which entries of PyTorch's databases are inputs of which component of ours."""

import re
from collections.abc import Callable, Sequence
from functools import partial, wraps
from inspect import isfunction
from typing import Any
from unittest import mock

import jax
import torch
import torch.nn.functional as F

from jaxtrain import losses, nn
from parity._quiet import quietly
from parity.references.masks import masks_of, seeded
from parity.torch_inputs import torch_databases
from parity.torch_inputs.torch_databases import Call, ModuleInput
from parity.torch_inputs.trials import FunctionTrial, LayerTrial, Trial

FUNCTIONS = "nn.functional."
"""How the names of functions begin in `op_db`."""

SUBJECTS = re.compile(
    r"nn\.functional\.(\w+_loss|\w*cross_entropy\w*|kl_div|\w+_norm|\w*dropout\w*)|nn\.(\w*Loss|\w*Norm|\w*Dropout)(\dd)?"
)
"""The losses, norms and dropouts in the databases."""

OTHER_NAMES = {
    "nn.BCELoss": "losses.binary_cross_entropy",
    "nn.BCEWithLogitsLoss": "losses.binary_cross_entropy_with_logits",
    "nn.functional.dropout1d": "nn.feature_dropout",
    "nn.functional.dropout2d": "nn.feature_dropout",
    "nn.functional.dropout3d": "nn.feature_dropout",
}
"""Where the rule of names does not lead to the component."""


def components() -> dict[str, list[str]]:
    """Every component that the databases have inputs of, whether it exists here or not, and its entries there."""
    found: dict[str, list[str]] = {}
    for entry in (*torch_databases.operators(), *torch_databases.modules()):
        if SUBJECTS.fullmatch(entry):
            found.setdefault(component_of(entry), []).append(entry)
    return dict(sorted(found.items()))


def component_of(entry: str) -> str:
    """The name of the component that an entry is about."""
    name = entry.rpartition(".")[2]
    if entry in OTHER_NAMES:
        return OTHER_NAMES[entry]
    if name.endswith("Loss"):
        functions = {known.replace("_", "").removesuffix("loss"): known for known in vars(F)}
        return f"losses.{functions[name.lower().removesuffix('loss')]}"
    if name.islower() and not name.endswith(("norm", "dropout")):
        return f"losses.{name}"
    return f"nn.{re.sub(r'(?<=[a-z])[123]d$', '', name)}"


def implementation(component: str) -> Any:
    """Our function or class; None if there is none."""
    room, _, name = component.partition(".")
    return getattr({"losses": losses, "nn": nn}[room], name, None)


def trials(component: str, entry: str) -> list[Trial]:
    """The inputs of one entry."""
    is_function = entry.startswith(FUNCTIONS)
    inputs = torch_databases.operator_inputs if is_function else torch_databases.module_inputs
    return as_trials(component, entry, inputs(entry))


def error_trials(component: str, entry: str) -> list[Trial]:
    """What PyTorch rejects."""
    is_function = entry.startswith(FUNCTIONS)
    errors = torch_databases.operator_errors if is_function else torch_databases.module_errors
    return as_trials(component, entry, errors(entry))


def as_trials(component: str, entry: str, inputs: Sequence[Any]) -> list[Trial]:
    """Calls of a function or inputs of a module. Where ours is a function, so is PyTorch's that it is compared with."""
    name, function = entry.rpartition(".")[2], component.partition(".")[2]
    ours = implementation(component)
    if not entry.startswith(FUNCTIONS):
        module = getattr(torch.nn, name)
        if not isfunction(ours):
            return [LayerTrial(source=entry, ours=ours, theirs=module, inputs=given) for given in inputs]
        name, inputs = function, [functional_call(module, function, given) for given in inputs]
    ours, theirs = ADAPTED.get(function, lambda *pair: pair)(ours, getattr(F, name))
    return [FunctionTrial(source=entry, ours=ours, theirs=theirs, inputs=call) for call in inputs]


def functional_call(module: type[torch.nn.Module], function: str, inputs: ModuleInput) -> Call:
    """What a loss module, made and called, hands over to the function that computes it; or would, if it cannot be made
    with these arguments.
    """
    torch.manual_seed(0)
    constructor = inputs.constructor
    try:
        made, refused = module(*constructor.args, **constructor.kwargs), {}
    except (RuntimeError, ValueError, TypeError):
        made, refused = module(*constructor.args), constructor.kwargs
    with mock.patch.object(F, function) as called:
        made(*inputs.forward.args, **inputs.forward.kwargs)
    return Call(called.call_args.args, {**called.call_args.kwargs, **refused})


def below_log_softmax(ours: Callable, theirs: Callable) -> tuple[Callable, Callable]:
    """Both as functions of logits: PyTorch's gradient of `ctc_loss` contains that of a log-softmax."""

    @wraps(ours)
    def of_logits(log_probs: jax.Array, **arguments) -> jax.Array:
        return ours(jax.nn.log_softmax(log_probs), **arguments)

    return of_logits, lambda log_probs, *args, **kwargs: theirs(F.log_softmax(log_probs, -1), *args, **kwargs)


def with_masks(ours: Callable, theirs: Callable) -> tuple[Callable, Callable]:
    """Both with the masks that PyTorch draws."""

    @wraps(ours)
    def masked(input: jax.Array, p: float = 0.5, **arguments) -> jax.Array:
        if theirs is F.dropout3d and input.ndim == 4:
            raise ValueError("dropout3d: no axis of examples")  # PyTorch's mask would hide that ours expects one.
        with masks_of(quietly(theirs), p):
            return ours(input, p, **arguments)

    return masked, partial(seeded, theirs)


ADAPTED = {
    "ctc_loss": below_log_softmax,
    "dropout": with_masks,
    "feature_dropout": with_masks,
    "alpha_dropout": with_masks,
    "feature_alpha_dropout": with_masks,
}
"""What is compared in another surrounding, and how both sides get there."""
