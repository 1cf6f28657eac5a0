"""Mistakes in losses."""

from collections.abc import Iterator

import torch
from torch.nn import functional as F

from parity.diff.intercept import FunctionCall
from parity.diff.mistakes.mistake import Mistake

LOSSES = {
    "cross_entropy", "nll_loss", "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "gaussian_nll_loss", "hinge_embedding_loss",
}  # fmt: skip
SMOOTHINGS = (0.0, 0.05, 0.1, 0.2)


def reduction(call: FunctionCall) -> Iterator[Mistake]:
    given = call.get("reduction", "mean")
    first = call.first
    if given == "mean":
        yield Mistake("the loss is a sum, PyTorch's is a mean", "take the mean", lambda call: call(reduction="sum"))
        yield Mistake(
            "the loss is a sum divided by the size of the batch, PyTorch's is a mean over all elements",
            "take the mean over all elements",
            lambda call: call(reduction="sum") / len(first),
        )
    elif given in ("sum", "batchmean"):
        yield Mistake(
            f"the loss is a mean, PyTorch's is a {given}", f"use {given}", lambda call: call(reduction="mean")
        )
    for factor, label in ((0.5, "halved"), (2.0, "doubled")):
        yield Mistake(f"the loss is {label}", "remove the factor", lambda call, factor=factor: call() * factor)
    if first.ndim > 1:
        # A loop that accumulates sums what PyTorch averages.
        yield Mistake(
            "the loss is a sum over the classes or features and a mean over the rest",
            "take the mean over all elements",
            lambda call: call() * first.shape[-1],
        )


def cross_entropy(call: FunctionCall) -> Iterator[Mistake]:
    given, ignored = call.get("label_smoothing", 0.0), call.get("ignore_index", -100)
    for smoothing in SMOOTHINGS:
        if smoothing != given:
            yield Mistake(
                f"the label smoothing is {smoothing:g}, PyTorch's is {given:g}",
                f"pass label_smoothing={given:g}",
                lambda call, smoothing=smoothing: call(label_smoothing=smoothing),
            )
    if given:
        classes = call.first.shape[1]
        yield Mistake(
            "the smoothed label spreads over the other classes alone, PyTorch's over all",
            "label · (1 - s) + s / classes",
            lambda call: call(label_smoothing=given * classes / (classes - 1)),
        )
    for label, function in {"a softmax": torch.softmax, "a log-softmax": torch.log_softmax}.items():
        yield Mistake(
            f"{label} is applied to the logits before the loss, which has one itself",
            "pass the logits",
            lambda call, function=function: call(input=function(call.first, 1)),
        )
    if call.get("weight") is not None:
        yield Mistake("the weights of the classes are missing", "pass them", lambda call: call(weight=None))
        yield Mistake(
            "the weighted loss is divided by the number of examples, PyTorch's by the sum of their weights",
            "divide by the sum of the weights",
            lambda call: call(reduction="sum") / (call.get("target") != ignored).sum(),
        )
    target = call.get("target")
    if not target.is_floating_point() and bool((target == ignored).any()):
        kept = target.clamp(min=0)
        yield Mistake(
            f"ignored targets ({ignored}) count as class {max(ignored, 0)}",
            "leave them out of sum and count",
            lambda call: call(target=kept, ignore_index=-12345),
        )
        yield Mistake(
            f"the sum leaves ignored targets ({ignored}) out, but the mean counts them",
            "divide by the number of targets that count",
            lambda call: call(reduction="sum") / target.numel(),
        )
        logits_last = call.first.shape[1] - 1
        yield Mistake(
            f"ignored targets ({ignored}) count as the last class",
            "leave them out of sum and count",
            lambda call: call(target=torch.where(target < 0, logits_last, target), ignore_index=-12345),
        )

        def zeros(call: FunctionCall) -> torch.Tensor:
            logs = torch.log_softmax(call.first, 1)
            picked = F.nll_loss(logs, target, ignore_index=ignored, reduction="none")
            return picked.mean(-1).mean() if picked.ndim > 1 else picked.mean()

        yield Mistake("ignored targets count as zero in the mean", "leave them out of the count", zeros)
    elif not target.is_floating_point():
        for shift in (1, -1):
            yield Mistake(
                f"the classes are shifted by {shift}",
                "remove the offset",
                lambda call, shift=shift: call(target=(call.get("target") + shift) % call.first.shape[1]),
            )


def other_loss(call: FunctionCall) -> Iterator[Mistake]:
    others = {
        "mse_loss": F.mse_loss,
        "l1_loss": F.l1_loss,
        "smooth_l1_loss": F.smooth_l1_loss,
        "huber_loss(delta=1)": F.huber_loss,
    }
    for name, function in others.items():
        if not name.startswith(call.name):
            yield Mistake(
                f"the loss is {name}, PyTorch's is {call.name}",
                f"use {call.name}",
                lambda call, function=function: function(
                    call.first, call.get("target"), reduction=call.get("reduction", "mean")
                ),
            )
    for name in ("beta", "delta"):
        if call.get(name) is not None:
            for value in (1.0, 0.5, 0.1):
                yield Mistake(
                    f"{name} is {value}, PyTorch's is {call.get(name)}",
                    f"pass {name}={call.get(name)}",
                    lambda call, name=name, value=value: call(**{name: value}),
                )


def binary(call: FunctionCall) -> Iterator[Mistake]:
    yield Mistake(
        "a sigmoid is applied before the loss, which has one itself",
        "pass the logits",
        lambda call: call(input=torch.sigmoid(call.first)),
    )
    if call.get("pos_weight") is not None:
        yield Mistake("pos_weight is missing", "pass it", lambda call: call(pos_weight=None))


RULES = (
    ({"cross_entropy"}, (cross_entropy,)),
    ({"binary_cross_entropy_with_logits"}, (binary,)),
    (LOSSES, (reduction,)),
    ({"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"}, (other_loss,)),
)
