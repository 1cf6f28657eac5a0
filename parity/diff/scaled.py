"""A result that is PyTorch's, multiplied by one number."""

import numpy as np

from parity.diff.causes import Same
from parity.diff.findings import Cause
from parity.diff.records import Replayed


def scaled_cause(ours: Replayed, truth: Replayed, what: str, same: Same) -> Cause | None:
    """Whether all that the port computes is PyTorch's, multiplied by one number.

    Args:
        ours: what the port computes, in PyTorch's layout.
        truth: what PyTorch computes.
        what: the name of the result.
        same: whether a changed layer computes what the port does.
    """
    if not ours.outputs or ours.outputs[0].shape != truth.outputs[0].shape:
        return None
    a, b = ours.outputs[0].astype(np.float64), truth.outputs[0].astype(np.float64)
    size = float((b * b).sum())
    factor = float((a * b).sum()) / size if size else 0.0
    if not factor or not np.isfinite(factor):
        return None
    changed = Replayed(
        [y * factor for y in truth.outputs],
        [None if g is None else g * factor for g in truth.input_gradients],
        {name: g * factor for name, g in truth.parameter_gradients.items()},
        truth.buffers,
    )
    # What is right in the outputs alone is not explained by a factor.
    if same(truth, False) or not same(changed, False):
        return None
    return Cause(f"{what} is {factor:.6g} times PyTorch's", "remove the factor", complete=same(changed, True))
