"""The first case of a component once more in bfloat16 and in float16: parameters, gradients, states, values."""

from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from parity.case import Case
from parity.cases import losses, nn, optim
from parity.kinds.layer import LayerCase
from parity.kinds.loss import LossCase
from parity.kinds.optimizer import STEPS, Leaf, OptimizerCase

COMPONENTS = (
    *(f"optim.{name}" for name in ("sgd", "adam", "adamw", "adamax", "nadam", "radam", "rmsprop", "adadelta")),
    *(f"optim.{name}" for name in ("adagrad", "rprop", "asgd", "adafactor", "muon", "sparse_adam", "averaged_model")),
    *(f"losses.{name}" for name in ("mse_loss", "cross_entropy", "binary_cross_entropy_with_logits", "kl_div")),
    *(f"nn.{name}" for name in ("Linear", "Conv", "BatchNorm", "LayerNorm")),
)
"""Every optimizer but L-BFGS, and of losses and layers those that recipes in mixed precision have."""


def leaves_for_float16() -> dict[str, Leaf]:
    """A scalar and a matrix with gradients from 0.1 to 10, of which float16 holds the squares and their sum."""
    rng = np.random.default_rng(0)

    def leaf(*shape: int) -> Leaf:
        gradients = rng.choice([-1, 1], size=(STEPS, *shape)) * 10 ** rng.uniform(-1, 1, size=(STEPS, *shape))
        return Leaf(rng.normal(size=shape), gradients)

    return {"scalar": leaf(), "rows": leaf(6, 8)}


def narrowed(leaf: Leaf) -> Leaf:
    """The leaf with gradients of such sizes, or zero."""
    return replace(leaf, gradients=np.sign(leaf.gradients) * np.clip(np.abs(leaf.gradients), 0.1, 10))


ROUNDED_BEFORE_THE_BIAS = {
    "precision_factor": 3.0,
    "reason": "the product is rounded to float16 before the bias, so that the backward pass stays in float16, too",
}
WIDER = {("nn.Linear", "float16"): ROUNDED_BEFORE_THE_BIAS, ("nn.Conv", "float16"): ROUNDED_BEFORE_THE_BIAS}


def held(array: Any, precision: str) -> Any:
    """Floats as `precision` holds them, and so small that float16 holds the sum of their squares."""
    if array is None or not np.issubdtype(np.asarray(array).dtype, np.floating):
        return array
    return np.clip(array, -3, 3).astype(ml_dtypes.finfo(precision).dtype).astype(np.float32)


def in_half_precision(case: Case, precision: str) -> Case:
    """The case with inputs in `precision`, and its last planted defect: the first is often one of float32's bits."""
    changes: dict[str, Any] = {}
    if isinstance(case, LossCase):
        changes["inputs"] = [tuple(held(array, precision) for array in arrays) for arrays in case.inputs]
    elif isinstance(case, LayerCase):
        changes["inputs"] = [held(array, precision) for array in case.inputs]
    elif isinstance(case, OptimizerCase) and precision == "float16":
        changes["leaves"] = {name: narrowed(leaf) for name, leaf in case.leaves.items()}
        if "rows" in case.leaves:
            changes["leaves"] |= leaves_for_float16()
    return replace(
        case,
        configuration=f"{case.configuration}, {precision}",
        precision=precision,
        defects=dict(list(case.defects.items())[-1:]),
        **changes,
        **WIDER.get((case.component, precision), {}),
    )


FULL = [*optim.CASES, *losses.CASES, *nn.CASES]
CASES: list[Case] = [
    in_half_precision(next(case for case in FULL if case.component == component), precision)
    for component in COMPONENTS
    for precision in ("bfloat16", "float16")
    if not any(case.component == component and case.precision == precision for case in FULL)
]
