"""Cases of `jaxtrain.optim`: gradient clipping, each before a step of SGD."""

from collections.abc import Callable
from functools import partial
from inspect import signature
from math import inf
from typing import Any

import jax
import optax
import torch

from jaxtrain import optim
from parity.case import Case
from parity.cases.optim._table import text_of
from parity.counterparts import counterpart
from parity.subjects.optimizer import Leaf, OptimizerCase, live_leaves


def before_sgd(clip: optax.GradientTransformation) -> Callable[[], optax.GradientTransformation]:
    return lambda: optax.chain(clip, optim.sgd(0.1))


def case(
    clip: Callable[..., optax.GradientTransformation],
    *values: float,
    defects: dict[str, optax.GradientTransformation],
    **options: Any,
) -> Case:
    """A clipping against PyTorch's of the same name, both called with the same numbers."""
    component = f"optim.{clip.__name__}"
    reference = counterpart(component)
    return OptimizerCase(
        component=component,
        configuration=text_of(dict(zip(signature(clip).parameters, values, strict=False))),
        ours=before_sgd(clip(*values)),
        reference=partial(torch.optim.SGD, lr=0.1),
        before_step=lambda parameters: reference(parameters, *values),
        defects={bug: before_sgd(wrong) for bug, wrong in defects.items()},
        **options,
    )


def scaled_leaves(scale: float) -> dict[str, Leaf]:
    """Gradients whose common norm lies on both sides of the threshold, without the huge ones that drown the rest."""
    leaves = live_leaves(scale=scale)
    rows = leaves["rows"]
    return {**leaves, "rows": Leaf(rows.initial[:4], rows.gradients[:, :4])}


CASES: list[Case] = [
    case(
        optim.clip_grad_norm,
        6.0,
        defects={
            "each gradient by itself": optax.clip_by_block_rms(6.0),
            "no 1e-6": optax.clip_by_global_norm(6.0),
            "scales up as well": optax.normalize_by_update_norm(6.0),
        },
        leaves=scaled_leaves(1.0),
    ),
    case(
        optim.clip_grad_norm,
        1e-6,
        defects={"no 1e-6": optax.clip_by_global_norm(1e-6)},
        leaves=scaled_leaves(1e-6),
    ),
    case(
        optim.clip_grad_norm,
        10.0,
        1.0,
        defects={"2-norm": optim.clip_grad_norm(10.0)},
        leaves=scaled_leaves(1.0),
    ),
    case(
        optim.clip_grad_norm,
        2.0,
        inf,
        defects={"2-norm": optim.clip_grad_norm(2.0), "by value": optim.clip_grad_value(2.0)},
        leaves=scaled_leaves(1.0),
    ),
    case(
        optim.clip_grad_value,
        0.5,
        defects={
            "by norm": optim.clip_grad_norm(0.5),
            "upper limit only": optax.stateless(lambda g, _: jax.tree.map(lambda x: x.clip(None, 0.5), g)),
        },
        leaves=live_leaves(),
    ),
]
