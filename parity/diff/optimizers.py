"""The optimizer on PyTorch's gradients."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import optax
import torch

from parity.diff.arrays import Compared, compared, floor_of
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
    examples: Sequence[int],
    precision: str,
    casts: Sequence[str],
    notes: list[str],
) -> list[Finding]:
    """A finding if the parameters part from PyTorch's on the same gradients."""
    # A parameter that the port lacks must not count in the norm of the gradients.
    known = lines.in_torch(side.arrays()).keys()
    gradients = [{name: g for name, g in step.gradients.items() if name in known} for step in theirs]
    ours = [lines.in_torch(each) for each in side.trained([lines.to_ours(g) for g in gradients], transformation)]
    truth = trajectory(start, recipe, gradients, examples)
    low = trajectory(start, recipe, gradients, examples, "float32")
    floors = [{name: floor_of(a[name], b[name]) for name in b} for a, b in zip(low, truth, strict=True)]
    first = {name: p.detach().numpy() for name, p in start.named_parameters()}

    def differing(changed: Sequence[Arrays], dtype: str) -> Compared | None:
        each = _all(ours, changed, truth, floors, first, gradients, dtype)
        return next((compared for compared in each if compared.differs), None)

    worst = differing(truth, precision)
    if worst is None:
        return []
    if casts and differing(truth, "float32") is None:
        notes.append(f"the optimizer computes in float32 ({casts[0]})")
        return []
    # What rounds to float32 may have another mistake, too.
    dtypes = (precision, "float32") if casts else (precision,)
    tried = [
        (mistake, _tried(start, mistake.recipe, gradients, examples)) for mistake in training_mistakes(start, recipe)
    ]
    cause = next(
        (
            Cause(mistake.says, mistake.fix)
            for dtype in dtypes
            for mistake, changed in tried
            if changed is not None and differing(changed, dtype) is None
        ),
        None,
    )
    kind = type(recipe.start(start).optimizer).__name__
    return [Finding("optimizer", "", "", kind, worst, cause)]


def _tried(start: torch.nn.Module, recipe: Recipe, gradients: Sequence[Arrays], examples: Sequence[int]) -> Any:
    try:
        return trajectory(start, recipe, gradients, examples)
    except (RuntimeError, ValueError, TypeError, KeyError):
        return None  # PyTorch refuses these numbers.


def _all(
    ours: Sequence[Arrays],
    theirs: Sequence[Arrays],
    truth: Sequence[Arrays],
    floors: Sequence[Mapping[str, float]],
    first: Arrays,
    gradients: Sequence[Arrays],
    precision: str,
) -> Iterator[Compared]:
    for step, (a, b, right, floor) in enumerate(zip(ours, theirs, truth, floors, strict=True)):
        travelled = {name: float(np.abs(right[name] - first[name]).max(initial=0.0)) for name in right}
        largest = max(travelled.values(), default=0.0)
        for name in b:
            if name in a and name in gradients[step]:
                unit = max(travelled[name], 1e-9 * largest, 2e-3 * float(np.abs(b[name]).max(initial=0.0)))
                yield compared("parameter", name, a[name], b[name], floor[name], step=step, unit=unit, dtype=precision)
