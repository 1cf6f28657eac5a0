"""Optimizers with drawn hyper-parameters, by parameters and states, against 15 steps that PyTorch executes."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jaxtrain import optim
from parity.compare import FORMULA_LIMIT, formula_verdict
from parity.kinds.optimizer import Leaf, OptimizerCase, live_leaves

STEPS = 15
LEAVES = live_leaves(STEPS)


def number(low: float, high: float, **ends: bool) -> st.SearchStrategy[float]:
    """Floats; no zero, which leaves a feature out of the compiled program, so that one program serves all draws."""
    return st.floats(low or 1e-6, high, **ends)


def below(high: float) -> st.SearchStrategy[float]:
    return number(0, high, exclude_max=True)


RATE, DECAY, EPS = number(0, 10), number(0, 2), number(1e-12, 1)
BETAS = st.tuples(below(1), below(1))

OPTIMIZERS = {
    "sgd": (optim.sgd, torch.optim.SGD, {"momentum": number(0, 1.5), "dampening": number(0, 2) | number(-2, -1e-6)}),
    "sgd, nesterov": (
        partial(optim.sgd, nesterov=True),
        partial(torch.optim.SGD, nesterov=True),
        {"momentum": number(0, 1.5)},
    ),
    "adam": (optim.adam, torch.optim.Adam, {"betas": BETAS, "eps": EPS}),
    "adam, amsgrad": (
        partial(optim.adam, amsgrad=True),
        partial(torch.optim.Adam, amsgrad=True),
        {"betas": BETAS, "eps": EPS},
    ),
    "adamw": (optim.adamw, torch.optim.AdamW, {"betas": BETAS, "eps": EPS}),
    "adamax": (optim.adamax, torch.optim.Adamax, {"betas": BETAS, "eps": EPS}),
    "nadam": (optim.nadam, torch.optim.NAdam, {"betas": BETAS, "eps": EPS, "momentum_decay": number(0, 1)}),
    "nadam, decoupled": (
        partial(optim.nadam, decoupled_weight_decay=True),
        partial(torch.optim.NAdam, decoupled_weight_decay=True),
        {"betas": BETAS, "eps": EPS, "momentum_decay": number(0, 1)},
    ),
    "radam": (optim.radam, torch.optim.RAdam, {"betas": BETAS, "eps": EPS}),
    "adagrad": (
        optim.adagrad,
        torch.optim.Adagrad,
        {"lr_decay": number(0, 2), "initial_accumulator_value": number(0, 2), "eps": EPS},
    ),
    "adadelta": (optim.adadelta, torch.optim.Adadelta, {"rho": below(1), "eps": EPS}),
    "rmsprop": (optim.rmsprop, torch.optim.RMSprop, {"alpha": below(1), "eps": EPS, "momentum": number(0, 1.5)}),
    "rmsprop, centered": (
        partial(optim.rmsprop, centered=True),
        partial(torch.optim.RMSprop, centered=True),
        # Nearer to 0 the variance is a difference of equal numbers.
        {"alpha": number(0.1, 0.999), "eps": EPS, "momentum": number(0, 1.5)},
    ),
    "asgd": (
        optim.asgd,
        torch.optim.ASGD,
        {"lambd": number(0, 1), "alpha": number(0, 2), "t0": number(0.5, 2 * STEPS)},
    ),
    "rprop": (
        optim.rprop,
        torch.optim.Rprop,
        {
            "etas": st.tuples(below(1), number(1, 4, exclude_max=True).filter(lambda eta: eta > 1)),
            "step_sizes": st.tuples(number(1e-9, 1e-3), number(1e-3, 100)),
        },
    ),
    "adafactor": (
        optim.adafactor,
        torch.optim.Adafactor,
        {"beta2_decay": number(-2, -1e-3), "eps": st.tuples(number(1e-9, 1e-2), EPS), "d": number(1, 10)},
    ),
}


def nudged(leaf: Leaf) -> Leaf:
    """The leaf whose first value and gradients are one rounding away, up or down."""
    rng = np.random.default_rng(0)

    def nudge(array: np.ndarray) -> np.ndarray:
        return array * (1 + rng.choice([-1.0, 1.0], np.shape(array)) * np.finfo(np.float64).eps)

    return replace(leaf, initial=nudge(leaf.initial), gradients=nudge(leaf.gradients))


@pytest.mark.parametrize("name", OPTIMIZERS)
@given(data=st.data())
def test_drawn(name, data):
    ours, theirs, strategies = OPTIMIZERS[name]
    common = {"lr": RATE} | ({} if name == "rprop" else {"weight_decay": DECAY})
    drawn = data.draw(st.fixed_dictionaries(common | strategies))
    case = OptimizerCase(
        component=f"optim.{name}",
        ours=partial(ours, **drawn),
        reference=lambda parameters: theirs(parameters, **drawn),
        leaves=LEAVES,
        precision="float64",
    )
    # Some draws multiply each rounding: then what one in every number makes of PyTorch's own run is the measure.
    beside = replace(case, leaves={name: nudged(leaf) for name, leaf in LEAVES.items()})
    sensitivity, _ = formula_verdict(beside.truth, case.truth, case.units(case.truth), np.inf)
    limit = max(FORMULA_LIMIT, 100 * sensitivity)
    measurement = replace(case, formula_limit=limit, reason="sensitivity").measure(case.ours, formula_only=True)
    assert measurement.passed, str(measurement.difference)
