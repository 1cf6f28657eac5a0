"""Optimizers with drawn hyper-parameters, by parameters and states, against 15 steps that PyTorch executes."""

from dataclasses import replace
from functools import partial
from inspect import signature

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from jaxtrain import optim
from parity.references.muon import TorchMuon, matrices
from parity.references.sparse_tables import tables
from parity.rounding import rough
from parity.subjects.optimizer import OptimizerCase, live_leaves
from parity.trace import Trace
from parity.verdicts import FORMULA_LIMIT, errors

STEPS = 15


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
    "sparse_adam": (optim.sparse_adam, torch.optim.SparseAdam, {"betas": BETAS, "eps": EPS}),
    "muon": (
        partial(optim.muon, axis=0, dtype=jnp.float64),
        TorchMuon,
        {
            "momentum": below(1),
            "eps": EPS,
            "ns_coefficients": st.tuples(number(3, 3.6), number(-5, -4.5), number(1.8, 2.2)),
        },
    ),
}
COMMON = {"lr": RATE, "weight_decay": DECAY, "maximize": st.booleans()}
LEAVES = dict.fromkeys(OPTIMIZERS, live_leaves(STEPS)) | {"sparse_adam": tables(STEPS), "muon": matrices(STEPS)}

ROUGH_RUNS, ALLOWANCE = 12, 10
"""How many rough runs of PyTorch tell what rounding does to a draw, and how many times that is allowed.

A step makes up to a dozen roundings where a rough run adds one or two. Over 9,000 draws the largest error of
this package was 1.3 times what twelve rough runs show.
"""


@pytest.mark.parametrize("name", OPTIMIZERS)
@given(data=st.data())
def test_drawn(name, data):
    ours, theirs, strategies = OPTIMIZERS[name]
    common = {key: strategy for key, strategy in COMMON.items() if key in signature(ours).parameters}
    drawn = data.draw(st.fixed_dictionaries(common | strategies))
    case = OptimizerCase(
        component=f"optim.{name}",
        ours=partial(ours, **drawn),
        reference=lambda parameters: theirs(parameters, **drawn),
        leaves=LEAVES[name],
        precision="float64",
    )
    units = case.units(case.truth)

    def distances(run: Trace) -> Trace:
        return {key: errors(run[key], true, units[key]) for key, true in case.truth.items()}

    with jax.enable_x64(True):
        found = case.run_ours(case.ours, "float64")
    error = distances(found)
    if max(values.max() for values in error.values()) <= FORMULA_LIMIT:
        return
    roughness = [distances(replace(case, reference=rough(theirs, drawn, seed)).truth) for seed in range(ROUGH_RUNS)]
    for key, true in case.truth.items():
        shown = np.max([run[key] for run in roughness], axis=0)
        if shown.ndim > 1:  # What shares a unit shares a limit.
            shown = np.broadcast_to(shown.max(axis=-1, keepdims=True), shown.shape)
        limit = np.maximum(FORMULA_LIMIT, ALLOWANCE * np.maximum.accumulate(shown))
        for place in map(tuple, np.argwhere(error[key] > limit)[:1]):
            pytest.fail(
                f"{key}, step and index {place}: ours {found[key][place]!r}, torch {true[place]!r}, "
                f"error {error[key][place]:.3g}, limit {limit[place]:.3g}"
            )
