"""The inputs that PyTorch accepts and ours refuses, told from the input alone, and why."""

import re
from collections.abc import Callable, Set
from typing import Any, NamedTuple

from parity.torch_inputs.comparison import Comparison

Given = dict[str, Any]
"""The arguments of an input by name, tensors as PyTorch's; `axes` is the number in the name of PyTorch's module."""


class Refusal(NamedTuple):
    """Inputs of some components that are to be refused.

    Attributes:
        components: their names.
        applies: whether an input is one of them.
        reason: why.
    """

    components: Set[str]
    applies: Callable[[Given], bool]
    reason: str


REFUSALS = [
    Refusal(
        {"losses.multi_margin_loss", "losses.multilabel_margin_loss"},
        lambda given: given["input"].ndim == 0,
        "a score without an axis, which PyTorch takes for one class",
    ),
    Refusal(
        {"losses.multi_margin_loss"},
        lambda given: given["input"].ndim == given["target"].ndim == 1,
        "one class in an array of one element, for one example",
    ),
    Refusal(
        {"nn.group_norm", "nn.layer_norm", "nn.rms_norm"},
        lambda given: (given.get("eps") or 0) < 0,
        "a negative eps, which is a mistake here",
    ),
    Refusal({"nn.batch_norm"}, lambda given: given["input"].ndim < 2, "an array without an axis of channels"),
    Refusal(
        {"nn.InstanceNorm"},
        lambda given: given["input"].ndim == given["axes"] + 1,
        "one example without an axis of examples",
    ),
    Refusal(
        {"nn.flatten", "nn.log_softmax", "nn.normalize", "nn.softmax", "nn.softmin"},
        lambda given: given["input"].ndim == 0,
        "a number, which has no axis",
    ),
    Refusal({"nn.cosine_similarity"}, lambda given: given["x1"].ndim == 0, "a number, which has no axis"),
    Refusal(
        {"nn.feature_alpha_dropout"},
        lambda given: given["input"].ndim == 1,
        "features without an axis of examples, in evaluation",
    ),
    Refusal(
        {"nn.feature_alpha_dropout"},
        lambda given: given["input"].ndim == 0,
        "features without any axis, in evaluation",
    ),
]


def reason_to_refuse(comparison: Comparison) -> str:
    """Why ours is to refuse an input; empty if it is not."""
    axes = re.search(r"(\d)d$", comparison.source)
    given = comparison.given | ({"axes": int(axes[1])} if axes else {})
    return next(
        (reason for components, applies, reason in REFUSALS if comparison.component in components and applies(given)),
        "",
    )


def flaw(comparison: Comparison) -> str:
    """What is wrong with how ours refuses an input; empty if its error is a ValueError or TypeError that names it."""
    try:
        comparison.trace()
    except (ValueError, TypeError) as error:
        named = _plain(str(error).partition(":")[0])
        if named == _plain(comparison.component.partition(".")[2]):
            return ""
        return f"expected an error that begins with the component's name, got {error!r}"
    except Exception as error:
        return f"expected a ValueError or a TypeError, got {error!r}"
    return "expected an error, got a result"


def _plain(name: str) -> str:
    """The same for a layer and for its function."""
    return name.replace("_", "").lower()
