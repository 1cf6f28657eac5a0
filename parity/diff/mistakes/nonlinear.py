"""Mistakes in activations."""

from collections.abc import Callable, Iterator

import torch
from torch.nn import functional as F

from parity.diff.intercept import FunctionCall
from parity.diff.mistakes.mistake import Mistake

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": torch.relu,
    "gelu": F.gelu,
    "gelu(approximate='tanh')": lambda x: F.gelu(x, approximate="tanh"),
    "quick gelu, x · sigmoid(1.702 x)": lambda x: x * torch.sigmoid(1.702 * x),
    "silu": F.silu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": F.elu,
    "selu": F.selu,
    "mish": F.mish,
    "softplus": F.softplus,
    "leaky_relu(0.01)": lambda x: F.leaky_relu(x, 0.01),
    "leaky_relu(0.2)": lambda x: F.leaky_relu(x, 0.2),
    "relu6": F.relu6,
    "hard_swish": F.hardswish,
    "hard_sigmoid": F.hardsigmoid,
    "hard_sigmoid of Keras, relu(0.2 x + 0.5)": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "the identity (no activation)": lambda x: x.clone(),
}
NAMES = {
    "relu", "relu_", "gelu", "silu", "silu_", "tanh", "sigmoid", "elu", "elu_", "selu", "mish", "softplus",
    "leaky_relu", "leaky_relu_", "relu6", "hardswish", "hardsigmoid",
}  # fmt: skip


def other_activation(call: FunctionCall) -> Iterator[Mistake]:
    given = call.name.rstrip("_")
    if given == "gelu":
        given = "gelu(approximate='tanh')" if call.get("approximate", "none") == "tanh" else "gelu"
    elif given == "leaky_relu":
        given = f"leaky_relu({call.get('negative_slope', 0.01):g})"
    if given.startswith("gelu"):
        exact = given == "gelu"
        other = "gelu(approximate='tanh')" if exact else "gelu"
        yield Mistake(
            f"the GELU is {'the tanh approximation' if exact else 'exact'}, PyTorch's is "
            f"{'exact' if exact else 'the tanh approximation'}",
            f"call jax.nn.gelu(x, approximate={not exact})",
            lambda call: ACTIVATIONS[other](call.first),
        )
    for name, function in ACTIVATIONS.items():
        if name != given and not (given.startswith("gelu") and name.startswith("gelu")):
            yield Mistake(
                f"the activation is {name}, PyTorch's is {given}",
                f"use {given}",
                lambda call, function=function: function(call.first),
            )


RULES = ((NAMES, (other_activation,)),)
