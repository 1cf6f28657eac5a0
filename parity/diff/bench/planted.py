"""What a planted mistake is, and what a diff must say about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from flax import nnx

from jaxtrain import interop
from parity.diff.comparison import compare
from parity.diff.findings import Finding
from parity.diff.report import Report


@dataclass(frozen=True)
class Planted:
    """A mistake in a port.

    Attributes:
        name: what was planted.
        part: the name of the finding that it must lead to, such as "h.0.attn", "loss" or "optimizer".
        cause: text that the cause must contain; one of several between bars.
        changes: of the port, by option.
        optimizer: another Optax transformation.
        recipe: another recipe of PyTorch's, where the usual one hides the mistake.
        loss: another loss of ours.
        spoil: changes the model after its weights are loaded.
    """

    name: str
    part: str
    cause: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    optimizer: Any = None
    recipe: Any = None
    loss: Callable[..., Any] | None = None
    spoil: Callable[[nnx.Module], None] | None = None


@dataclass(frozen=True)
class Subject:
    """A model in PyTorch, its port, and the mistakes.

    Attributes:
        name: of the model.
        theirs: makes PyTorch's model.
        ours: makes the port, with options changed.
        batch: the arrays of a step, or a list of them.
        losses: PyTorch's and ours.
        optimizers: PyTorch's and ours.
        mistakes: the planted ones.
        jax_batch: the batch in the layout of the port.
        evaluation: whether both models are in evaluation mode.
    """

    name: str
    theirs: Callable[[], torch.nn.Module]
    ours: Callable[[Mapping[str, Any]], nnx.Module]
    batch: tuple[Any, ...] | list[tuple[Any, ...]]
    losses: tuple[Callable[..., Any], Callable[..., Any]]
    optimizers: tuple[Any, Any]
    mistakes: tuple[Planted, ...]
    jax_batch: tuple[Any, ...] | None = None
    evaluation: bool = False
    steps: int = 2

    def run(self, planted: Planted | None = None, precision: Any = "float64") -> Report:
        """The diff of the port, with a mistake or without."""
        planted = planted or Planted("none", "", "")
        torch.manual_seed(0)
        theirs = self.theirs().train(not self.evaluation)
        model = self.ours(planted.changes)
        _load(model, theirs)
        if planted.spoil:
            planted.spoil(model)
        if self.evaluation and not planted.changes.get("training"):
            model.eval()
        else:
            model.train()
        return compare(
            theirs,
            model,
            self.batch,
            jax_batch=self.jax_batch,
            loss=(self.losses[0], planted.loss or self.losses[1]),
            optimizer=(planted.recipe or self.optimizers[0], planted.optimizer or self.optimizers[1]),
            steps=self.steps,
            precision=precision,
        )


def _load(model: nnx.Module, theirs: torch.nn.Module) -> None:
    known = interop.state_dict(model)
    state = {name: value for name, value in theirs.state_dict().items() if name in known}
    interop.load_state_dict(model, known | state)


@dataclass(frozen=True)
class Outcome:
    """What a diff said about a planted mistake.

    Attributes:
        subject: the model.
        planted: the mistake.
        layer: whether its layer was named, and no wrong one before it.
        cause: whether its cause was named.
        said: the first finding, in words.
    """

    subject: str
    planted: Planted
    layer: bool
    cause: bool
    said: str


def judged(subject: Subject, planted: Planted) -> Outcome:
    """Run a diff and look for the mistake in it."""
    report = subject.run(planted)
    named = [found for found in report.findings if found.name == planted.part]
    others = [found for found in report.findings if found.name != planted.part]
    wanted = planted.cause.split("|")
    right = [found for found in named if found.cause and any(each in found.cause.says for each in wanted)]
    first = report.findings[0] if report.findings else None
    return Outcome(subject.name, planted, bool(named) and not others, bool(right) and not others, _said(first, others))


def _said(first: Finding | None, others: list[Finding]) -> str:
    if first is None:
        return "nothing"
    cause = first.cause.says if first.cause else f"unknown cause, {first.worst.kind} {first.worst.error:.1e}"
    more = f" (and {len(others)} elsewhere: {', '.join(found.name for found in others[:3])})" if others else ""
    return f"{first.name}: {cause}{more}"
