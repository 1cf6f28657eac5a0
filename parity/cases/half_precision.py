"""The first case of every component again in bfloat16 and in float16: parameters, gradients, states, values."""

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from parity.case import Case, OfTheseInputs
from parity.cases import losses, nn, optim, train
from parity.draws import generator
from parity.references.sparse_tables import SparseLeaf
from parity.subjects.layer import LayerCase
from parity.subjects.loss import LossCase
from parity.subjects.optimizer import STEPS, Leaf, OptimizerCase
from parity.verdicts import FORMULA_LIMIT, PRECISION_FACTOR


def leaves_for_float16() -> dict[str, Leaf]:
    """A scalar and a matrix with gradients from 0.1 to 10, of which float16 holds the squares and their sum."""
    rng = generator(0)

    def leaf(*shape: int) -> Leaf:
        gradients = rng.choice([-1, 1], size=(STEPS, *shape)) * 10 ** rng.uniform(-1, 1, size=(STEPS, *shape))
        return Leaf(rng.normal(size=shape), gradients)

    return {"scalar": leaf(), "rows": leaf(6, 8)}


def narrowed(leaf: Leaf) -> Leaf:
    """The leaf with gradients of such sizes, or zero.

    Those of single rows have one sign in a step: two for the same row may not cancel, for PyTorch would divide zero by
    an eps of 1e-8, which float16 rounds to zero.
    """
    signs = np.sign(leaf.gradients)
    if isinstance(leaf, SparseLeaf):
        signs = signs[:, :1]
    return replace(leaf, gradients=signs * np.clip(np.abs(leaf.gradients), 0.1, 10))


SETS = {"losses.rmse_loss": 2}
"""How many sets of inputs count: float16 rounds the others' errors to zero, where PyTorch's gradient is NaN."""


def held(array: Any, precision: str) -> Any:
    """Floats as `precision` holds them, and so small that float16 holds the sum of their squares."""
    if array is None or not np.issubdtype(np.asarray(array).dtype, np.floating):
        return array
    return np.clip(array, -3, 3).astype(ml_dtypes.finfo(precision).dtype).astype(np.float32)


def in_half_precision(case: Case, precision: str) -> Case:
    """The case with inputs in `precision`, and the first planted defect that any inputs show."""
    changes: dict[str, Any] = {}
    if isinstance(case, LossCase):
        inputs = case.inputs[: SETS.get(case.component)]
        changes["inputs"] = [tuple(held(array, precision) for array in arrays) for arrays in inputs]
    elif isinstance(case, LayerCase):
        changes["inputs"] = [held(array, precision) for array in case.inputs]
    elif isinstance(case, OptimizerCase) and precision == "float16":
        changes["leaves"] = {name: narrowed(leaf) for name, leaf in case.leaves.items()}
        if "rows" in case.leaves:
            changes["leaves"] |= leaves_for_float16()
    planted = next(bug for bug, wrong in case.defects.items() if not isinstance(wrong, OfTheseInputs))
    return replace(
        case,
        configuration=f"{case.configuration}, {precision}",
        precision=precision,
        defects={planted: case.defects[planted]},
        precision_factor=PRECISION_FACTOR,  # A wider limit in float32 has its reason there.
        reason=case.reason if case.formula_limit > FORMULA_LIMIT else "",
        **changes,
    )


FULL = [*optim.CASES, *losses.CASES, *nn.CASES, *train.CASES]
FULL = [case for case in FULL if case.component != "train.GradScaler"]  # PyTorch refuses parameters in float16 there.
CASES: list[Case] = [
    in_half_precision(next(case for case in FULL if case.component == component), precision)
    for component in dict.fromkeys(case.component for case in FULL)
    for precision in ("bfloat16", "float16")
    if not any(case.component == component and case.precision == precision for case in FULL)
]
