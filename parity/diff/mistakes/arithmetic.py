"""Mistakes in plain arithmetic: terms that are missing, means for sums, gradients that are stopped."""

import math
from collections.abc import Iterator

import torch

from parity.diff.intercept import FunctionCall
from parity.diff.mistakes.mistake import Mistake


def missing_term(call: FunctionCall) -> Iterator[Mistake]:
    if len(call.args) < 2:
        return
    first, second = call.args[:2]
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        sign = -1 if call.name.startswith("sub") else 1
        shape = torch.broadcast_shapes(first.shape, second.shape)
        if first.shape == shape:
            yield Mistake(
                "the second term of a sum is missing (a residual or a position embedding, perhaps)",
                "add it",
                lambda call: call.args[0].clone(),
            )
        if second.shape == shape:
            yield Mistake(
                "the first term of a sum is missing (a residual, perhaps)",
                "add it",
                lambda call: sign * call.args[1],
            )
        yield Mistake(
            "a term is subtracted, PyTorch adds it" if sign == 1 else "a term is added, PyTorch subtracts it",
            "change the sign",
            lambda call: call.args[0] - sign * call.args[1],
        )
        yield Mistake(
            "the second term of a sum is added twice", "add it once", lambda call: call() + sign * call.args[1]
        )
        root = math.sqrt(shape[-1]) if shape else 1.0
        for label, factor in {"√d": root, "1/√d": 1 / root}.items():
            for at in (0, 1):
                yield Mistake(
                    f"a term of a sum is multiplied by {label}, PyTorch's is not",
                    "remove the factor",
                    lambda call, at=at, factor=factor: call.function(
                        *(value * factor if place == at else value for place, value in enumerate(call.args[:2]))
                    ),
                )


def position_table(call: FunctionCall) -> Iterator[Mistake]:
    """A table of positions that is added to tokens, the first of which is a class token perhaps."""
    if len(call.args) < 2 or not isinstance(call.args[1], torch.Tensor):
        return
    x, table = call.args[:2]
    if (
        not (x.ndim == 3 and table.ndim in (2, 3) and table.shape[-2:] == x.shape[-2:])
        or table.numel() >= x.numel() > 0
    ):
        return
    first = torch.zeros_like(table)
    first[..., 0, :] = 1
    variants = {
        "the first position has no position embedding": lambda t: t * (1 - first),
        "the position embeddings begin one position too late": lambda t: t.roll(1, -2) * (1 - first),
        "the position embeddings are shifted by one": lambda t: t.roll(-1, -2),
        "the position embeddings lie in the opposite order": lambda t: t.flip(-2),
    }
    for says, change in variants.items():
        yield Mistake(
            says,
            "add PyTorch's table to all positions, in its order",
            lambda call, change=change: call.function(call.args[0], change(call.args[1])),
        )


def missing_factor(call: FunctionCall) -> Iterator[Mistake]:
    if len(call.args) > 1 and all(isinstance(value, torch.Tensor) for value in call.args[:2]):
        shape = call().shape
        for at in (0, 1):
            if call.args[at].shape == shape:
                yield Mistake(
                    f"the {('second', 'first')[at]} factor of a product is missing",
                    "multiply by it",
                    lambda call, at=at: call.args[at].clone(),
                )
        if call.args[0].shape == call.args[1].shape:
            for at, name in enumerate(("first", "second")):
                yield Mistake(
                    f"the {name} factor of a gate goes through a sigmoid",
                    "remove it",
                    lambda call, at=at: call.function(
                        *(torch.sigmoid(v) if place == at else v for place, v in enumerate(call.args[:2]))
                    ),
                )


def reduction(call: FunctionCall) -> Iterator[Mistake]:
    rest = {"dim": call.get("dim"), "keepdim": call.get("keepdim", False)}
    rest = rest if rest["dim"] is not None else {}
    for name, function in {"mean": torch.mean, "sum": torch.sum, "amax": torch.amax}.items():
        if name != call.name and (rest or name != "amax"):
            yield Mistake(
                f"it is a {name}, PyTorch takes a {call.name}",
                f"use jnp.{call.name}",
                lambda call, function=function: function(call.first, **rest),
            )
    if rest and isinstance(rest["dim"], int):
        at = rest["dim"] % call.first.ndim
        for index, label in ((0, "first"), (-1, "last")):
            yield Mistake(
                f"the {label} element is taken, PyTorch takes a {call.name}",
                f"use jnp.{call.name}",
                lambda call, index=index: call.first.select(at, index).clone(),
            )
        for other in range(1, call.first.ndim):
            if other != at:
                yield Mistake(
                    f"the {call.name} runs over axis {other}, PyTorch's over axis {at}",
                    f"pass PyTorch's axis {at}",
                    lambda call, other=other: call(dim=other),
                )


def stopped(call: FunctionCall) -> Iterator[Mistake]:
    if call.name == "embedding" or (isinstance(call.first, torch.Tensor) and call.first.is_floating_point()):
        yield Mistake(
            f"no gradient goes through {call.name}",
            "remove stop_gradient",
            lambda call: call().detach(),
        )
    if isinstance(call.first, torch.Tensor) and call.first.is_floating_point():
        yield Mistake(
            f"no gradient reaches the input of {call.name}",
            "remove stop_gradient",
            lambda call: call.function(call.args[0].detach(), *call.args[1:], **call.kwargs),
        )


DIFFERENTIABLE = {
    "linear", "matmul", "add", "mul", "div", "sub", "softmax", "layer_norm", "embedding", "gelu", "relu", "tanh",
    "scaled_dot_product_attention", "conv2d", "conv1d", "batch_norm", "mean", "sum", "cat",
}  # fmt: skip

RULES = (
    ({"add", "add_", "sub", "sub_"}, (missing_term,)),
    ({"add", "add_"}, (position_table,)),
    ({"mul", "mul_"}, (missing_factor,)),
    ({"mean", "sum", "amax"}, (reduction,)),
    (DIFFERENTIABLE, (stopped,)),
)
