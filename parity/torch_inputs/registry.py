"""The entries of PyTorch's databases and the components that they are about."""

import re
from collections.abc import Callable, Sequence
from functools import partial, wraps
from inspect import isfunction
from typing import Any
from unittest import mock

import jax
import torch
import torch.nn.functional as F

from parity._quiet import quietly
from parity.counterparts import component_of, public
from parity.references.masks import masks_of, seeded
from parity.torch_inputs import torch_databases
from parity.torch_inputs.comparison import Comparison, FunctionComparison, LayerComparison
from parity.torch_inputs.sequence_comparison import SequenceComparison
from parity.torch_inputs.torch_databases import Call, ModuleInput

FUNCTIONS = "nn.functional."
"""How the names of functions begin in `op_db`."""

SEQUENCES = r"(RNN|LSTM|GRU)(Cell)?|MultiheadAttention|Transformer(Encoder|Decoder)(Layer)?"
"""The layers of sequences in the databases."""

SUBJECTS = re.compile(
    r"nn\.functional\.(\w+_loss|\w*cross_entropy\w*|kl_div|\w+_norm|\w*dropout\w*|scaled_dot_product_attention)"
    rf"|nn\.(\w*Loss|\w*Norm|\w*Dropout)(\dd)?|nn\.({SEQUENCES})"
)
"""The losses, norms, dropouts and layers of sequences in the databases."""


def components() -> dict[str, list[str]]:
    """The entries of the databases by the component that they are about, or by themselves if there is none here."""
    found: dict[str, list[str]] = {}
    for entry in (*torch_databases.operators(), *torch_databases.modules()):
        if SUBJECTS.fullmatch(entry):
            found.setdefault(component_of(entry) or entry, []).append(entry)
    return dict(sorted(found.items()))


def implementation(component: str) -> Any:
    """Our function or class; None if there is none."""
    return public().get(component)


def comparisons(component: str, entry: str) -> list[Comparison]:
    """The inputs of one entry that PyTorch accepts."""
    inputs = torch_databases.operator_inputs if entry.startswith(FUNCTIONS) else torch_databases.module_inputs
    return _compared(component, entry, inputs(entry))


def error_comparisons(component: str, entry: str) -> list[Comparison]:
    """The inputs of one entry that PyTorch rejects."""
    errors = torch_databases.operator_errors if entry.startswith(FUNCTIONS) else torch_databases.module_errors
    return _compared(component, entry, errors(entry))


def _compared(component: str, entry: str, inputs: Sequence[Any]) -> list[Comparison]:
    """Calls of a function or inputs of a module. Where ours is a function, so is PyTorch's that it is compared with."""
    name, function = entry.rpartition(".")[2], component.partition(".")[2]
    ours = implementation(component)
    if not entry.startswith(FUNCTIONS):
        module = getattr(torch.nn, name)
        if re.fullmatch(SEQUENCES, name):
            return [
                SequenceComparison(component=component, source=entry, ours=ours, theirs=module, inputs=given)
                for given in inputs
            ]
        if not isfunction(ours):
            return [
                LayerComparison(component=component, source=entry, ours=ours, theirs=module, inputs=given)
                for given in inputs
            ]
        name, inputs = function, [functional_call(module, function, given) for given in inputs]
    ours, theirs = ADAPTED.get(function, lambda *pair: pair)(ours, getattr(F, name))
    return [
        FunctionComparison(component=component, source=entry, ours=ours, theirs=theirs, inputs=call) for call in inputs
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


def below_log_softmax(ours: Callable, theirs: Callable) -> tuple[Callable, Callable]:
    """Both as functions of logits, because PyTorch's gradient of `ctc_loss` includes a log-softmax."""

    @wraps(ours)
    def of_logits(log_probs: jax.Array, **arguments) -> jax.Array:
        return ours(jax.nn.log_softmax(log_probs), **arguments)

    return of_logits, lambda log_probs, *args, **kwargs: theirs(F.log_softmax(log_probs, -1), *args, **kwargs)


def with_masks(ours: Callable, theirs: Callable) -> tuple[Callable, Callable]:
    """Both with the masks that PyTorch draws."""

    @wraps(ours)
    def masked(input: jax.Array, p: float = 0.5, **arguments) -> jax.Array:
        if theirs is F.dropout3d and input.ndim == 4:
            return masked(input[None], p, **arguments)[0]  # For ours, a single example needs an axis of examples.
        with masks_of(quietly(theirs), p):
            return ours(input, p, **arguments)

    return masked, partial(seeded, theirs)


def with_weights_masked(ours: Callable, theirs: Callable) -> tuple[Callable, Callable]:
    """Both with the masks that PyTorch draws for the weights of the attention."""

    @wraps(ours)
    def masked(query: jax.Array, dropout_p: float = 0.0, **arguments) -> jax.Array:
        with masks_of(F.dropout, dropout_p):
            return ours(query, dropout_p=dropout_p, dropout_key=jax.random.key(0), **arguments)

    return masked, partial(seeded, theirs)


ADAPTED = {
    "scaled_dot_product_attention": with_weights_masked,
    "ctc_loss": below_log_softmax,
    "dropout": with_masks,
    "feature_dropout": with_masks,
    "alpha_dropout": with_masks,
    "feature_alpha_dropout": with_masks,
}
"""Functions that are not compared as they are, and how both sides are adapted."""
