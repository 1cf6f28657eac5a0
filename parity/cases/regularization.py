"""Cases of `jaxtrain.regularization`."""

from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
import torch.nn.functional as F

from jaxtrain import optim, regularization
from parity.case import Case
from parity.draws import generator
from parity.subjects.loss import LossCase
from parity.subjects.optimizer import Leaf, OptimizerCase, live_leaves

STRENGTH, RATIO = 0.03, 0.25
MATRIX = generator(0).normal(size=(12, 8)).astype(np.float32)
MATRIX[::3, ::2] = 0.0
VECTOR = np.linspace(-2, 2, 9, dtype=np.float32)


def penalty_case(
    component: str, configuration: str, ours: Callable, reference: Callable, defects: dict[str, Callable]
) -> Case:
    """A penalty on a matrix and a vector, which are two inputs."""

    def of_tree(penalty: Callable) -> Callable:
        return lambda kernel, bias: penalty({"dense": {"kernel": kernel, "bias": bias}})

    return LossCase(
        component=f"regularization.{component}",
        configuration=configuration,
        ours=of_tree(ours),
        reference=reference,
        inputs=[(MATRIX, VECTOR), (10 * MATRIX, np.float32(-3.0))],
        wrt=(0, 1),
        defects={bug: of_tree(penalty) for bug, penalty in defects.items()},
    )


def absolute_values(params):
    return STRENGTH * sum(jnp.sum(jnp.abs(leaf)) for leaf in jax.tree.leaves(params))


def means(params):
    return STRENGTH * sum(jnp.mean(jnp.square(leaf)) for leaf in jax.tree.leaves(params)) / 2


def norms(params):
    return STRENGTH * optax.tree.norm(params)


l1 = partial(regularization.l1_penalty, strength=STRENGTH)
l2 = partial(regularization.l2_penalty, strength=STRENGTH)
elastic_net = partial(regularization.elastic_net_penalty, strength=STRENGTH, l1_ratio=RATIO)
decayed = partial(l2, mask=regularization.decay_mask)

PENALTIES = [
    penalty_case(
        "l1_penalty",
        "zeros among the values",
        l1,
        lambda kernel, bias: STRENGTH * (kernel.abs().sum() + bias.abs().sum()),
        {"gradient of jnp.abs at zero": absolute_values, "squares": l2},
    ),
    penalty_case(
        "l2_penalty",
        "all parameters",
        l2,
        lambda kernel, bias: STRENGTH / 2 * (kernel.square().sum() + bias.square().sum()),
        {"no half": lambda params: 2 * l2(params), "mean": means, "the norm itself": norms, "masked": decayed},
    ),
    penalty_case(
        "l2_penalty",
        "decay_mask",
        decayed,
        lambda kernel, bias: STRENGTH / 2 * kernel.square().sum() + 0.0 * bias.sum(),
        {"biases decay": l2},
    ),
    penalty_case(
        "elastic_net_penalty",
        "l1_ratio=0.25",
        elastic_net,
        lambda kernel, bias: (
            STRENGTH
            * (
                RATIO * (kernel.abs().sum() + bias.abs().sum())
                + (1 - RATIO) / 2 * (kernel.square().sum() + bias.square().sum())
            )
        ),
        {
            "ratio is L2's": partial(elastic_net, l1_ratio=1 - RATIO),
            "no half": lambda params: RATIO * l1(params) + 2 * (1 - RATIO) * l2(params),
        },
    ),
]


def after_sgd(constraint: optax.GradientTransformation) -> Callable[[], optax.GradientTransformation]:
    return lambda: optax.chain(optim.sgd(0.1, momentum=0.9), constraint)


def before_sgd(constraint: optax.GradientTransformation) -> Callable[[], optax.GradientTransformation]:
    return lambda: optax.chain(constraint, optim.sgd(0.1, momentum=0.9))


def moderate_leaves() -> dict[str, Leaf]:
    """A matrix of which some units reach the constraints and some do not."""
    rows = live_leaves()["rows"]
    return {"rows": Leaf(rows.initial[:3], rows.gradients[:, :3] * np.geomspace(0.05, 2, 8))}


def constraint_case(
    component: str,
    configuration: str,
    ours: optax.GradientTransformation,
    project: Callable[[torch.Tensor], Any],
    defects: dict[str, Callable],
) -> Case:
    """A constraint after SGD against PyTorch's projection after each step."""
    return OptimizerCase(
        component=f"regularization.{component}",
        configuration=configuration,
        ours=after_sgd(ours),
        reference=lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9),
        after_step=lambda parameters: [parameter.copy_(project(parameter)) for parameter in parameters],
        leaves=moderate_leaves(),
        states=False,
        defects=defects,
    )


max_norm, unit_norm = regularization.max_norm, regularization.unit_norm

CONSTRAINTS = [
    constraint_case(
        "max_norm",
        "maxnorm=1.5",
        max_norm(1.5),
        lambda weight: torch.renorm(weight, 2, 1, 1.5),
        {
            "all units on the sphere": after_sgd(unit_norm()),
            "of the gradient": before_sgd(max_norm(1.5)),
            "units on the other axis": after_sgd(max_norm(1.5, axis=0)),
            "never": lambda: optim.sgd(0.1, momentum=0.9),
        },
    ),
    *(
        constraint_case(
            "max_norm",
            f"p={p}, axis=0",
            max_norm(1.5, p, axis=0),
            lambda weight, p=p: torch.renorm(weight, p, 0, 1.5),
            {"2-norm": after_sgd(max_norm(1.5, axis=0))},
        )
        for p in (1.0, 3.0, inf)
    ),
    constraint_case(
        "unit_norm",
        "defaults",
        unit_norm(),
        lambda weight: F.normalize(weight, dim=0),
        {
            "units on the other axis": after_sgd(unit_norm(axis=0)),
            "only if larger": after_sgd(max_norm(1.0)),
            "of the gradient": before_sgd(unit_norm()),
        },
    ),
    constraint_case(
        "unit_norm",
        "p=1, axis=0",
        unit_norm(1.0, axis=0),
        lambda weight: F.normalize(weight, p=1.0, dim=1),
        {"2-norm": after_sgd(unit_norm(axis=0))},
    ),
    constraint_case(
        "non_negative",
        "defaults",
        regularization.non_negative(),
        lambda weight: weight.clamp(min=0),
        {
            "of the gradient": before_sgd(regularization.non_negative()),
            "absolute values": after_sgd(
                optax.stateless(lambda updates, params: jax.tree.map(lambda u, p: jnp.abs(p + u) - p, updates, params))
            ),
        },
    ),
]

CASES: list[Case] = [*PENALTIES, *CONSTRAINTS]
