"""The optimizer on PyTorch's gradients."""

from collections.abc import Iterator, Sequence

import numpy as np
import optax
import torch

from parity.diff.arrays import Compared, compared
from parity.diff.findings import Cause, Finding
from parity.diff.jax_side import JaxSide
from parity.diff.lining import Lines
from parity.diff.recipe import Recipe
from parity.diff.records import Step
from parity.diff.training import Arrays, training_mistakes, trajectory


def judge_optimizer(
    side: JaxSide,
    lines: Lines,
    theirs: Sequence[Step],
    start: torch.nn.Module,
    recipe: Recipe,
    transformation: optax.GradientTransformation,
    precision: str,
) -> list[Finding]:
    """A finding if the parameters part from PyTorch's on the same gradients."""
    # A parameter that the port lacks must not count in the norm of the gradients.
    known = lines.in_torch(side.arrays()).keys()
    gradients = [{name: g for name, g in step.gradients.items() if name in known} for step in theirs]
    ours = [lines.in_torch(each) for each in side.trained([lines.to_ours(g) for g in gradients], transformation)]
    truth = trajectory(start, recipe, gradients)
    low = trajectory(start, recipe, gradients, "float32")
    first = {name: p.detach().numpy() for name, p in start.named_parameters()}
    worst = next((each for each in _all(ours, truth, truth, low, first, gradients, precision) if each.differs), None)
    if worst is None:
        return []
    kind = type(recipe.start(start).optimizer).__name__
    cause = None
    for mistake in training_mistakes(start, recipe):
        try:
            changed = trajectory(start, mistake.recipe, gradients)
        except (RuntimeError, ValueError, TypeError, KeyError):
            continue  # PyTorch refuses these numbers.
        if not any(each.differs for each in _all(ours, changed, truth, low, first, gradients, precision)):
            cause = Cause(mistake.says, mistake.fix)
            break
    return [Finding("optimizer", "", "", kind, worst, cause)]


def _all(
    ours: Sequence[Arrays],
    theirs: Sequence[Arrays],
    truth: Sequence[Arrays],
    low: Sequence[Arrays],
    first: Arrays,
    gradients: Sequence[Arrays],
    precision: str,
) -> Iterator[Compared]:
    for step, (a, b, right, c) in enumerate(zip(ours, theirs, truth, low, strict=True)):
        travelled = {name: float(np.abs(right[name] - first[name]).max(initial=0.0)) for name in right}
        largest = max(travelled.values(), default=0.0)
        for name in b:
            if name in a and name in gradients[step]:
                unit = max(travelled[name], 1e-9 * largest, 2e-3 * float(np.abs(b[name]).max(initial=0.0)))
                values = a[name], b[name], c[name]
                yield compared("parameter", name, *values, step=step, unit=unit, truth=right[name], dtype=precision)
