"""Cases of `jaxtrain.optim`: gradient clipping, each before a step of SGD."""

from collections.abc import Callable
from math import inf
from typing import Any

import jax
import optax
import torch
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from jaxtrain import optim
from parity.case import Case
from parity.subjects.optimizer import Leaf, OptimizerCase, live_leaves


def before_sgd(clip: optax.GradientTransformation) -> Callable[[], optax.GradientTransformation]:
    return lambda: optax.chain(clip, optim.sgd(0.1))


def case(component: str, configuration: str, ours: Any, reference: Callable, defects: dict[str, Any], **more) -> Case:
    return OptimizerCase(
        component=f"optim.{component}",
        configuration=configuration,
        ours=before_sgd(ours),
        reference=lambda p: torch.optim.SGD(p, 0.1),
        before_step=reference,
        defects={bug: before_sgd(clip) for bug, clip in defects.items()},
        **more,
    )


def scaled_leaves(scale: float) -> dict[str, Leaf]:
    """Gradients whose common norm lies on both sides of the threshold, without the huge ones that drown the rest."""
    leaves = live_leaves(scale=scale)
    rows = leaves["rows"]
    return {**leaves, "rows": Leaf(rows.initial[:4], rows.gradients[:, :4])}


CASES: list[Case] = [
    case(
        "clip_grad_norm",
        "max_norm=6",
        optim.clip_grad_norm(6.0),
        lambda p: clip_grad_norm_(p, 6.0),
        {
            "each gradient by itself": optax.clip_by_block_rms(6.0),
            "no 1e-6": optax.clip_by_global_norm(6.0),
            "scales up as well": optax.normalize_by_update_norm(6.0),
        },
        leaves=scaled_leaves(1.0),
    ),
    case(
        "clip_grad_norm",
        "a norm near 1e-6",
        optim.clip_grad_norm(1e-6),
        lambda p: clip_grad_norm_(p, 1e-6),
        {"no 1e-6": optax.clip_by_global_norm(1e-6)},
        leaves=scaled_leaves(1e-6),
    ),
    case(
        "clip_grad_norm",
        "norm_type=1",
        optim.clip_grad_norm(10.0, 1.0),
        lambda p: clip_grad_norm_(p, 10.0, 1.0),
        {"2-norm": optim.clip_grad_norm(10.0)},
        leaves=scaled_leaves(1.0),
    ),
    case(
        "clip_grad_norm",
        "norm_type=inf",
        optim.clip_grad_norm(2.0, inf),
        lambda p: clip_grad_norm_(p, 2.0, inf),
        {"2-norm": optim.clip_grad_norm(2.0), "by value": optim.clip_grad_value(2.0)},
        leaves=scaled_leaves(1.0),
    ),
    case(
        "clip_grad_value",
        "clip_value=0.5",
        optim.clip_grad_value(0.5),
        lambda p: clip_grad_value_(p, 0.5),
        {
            "by norm": optim.clip_grad_norm(0.5),
            "upper limit only": optax.stateless(lambda g, _: jax.tree.map(lambda x: x.clip(None, 0.5), g)),
        },
        leaves=live_leaves(),
    ),
]
