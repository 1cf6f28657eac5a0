"""Cases of `jaxtrain.interop`: runs of every optimizer that change the framework half way, in both directions.

The options are those of `optim_db`, with which PyTorch tests its optimizers; a test compares the two lists.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from flax import nnx

from jaxtrain import nn, optim
from parity.case import Case
from parity.cases.optim._table import text_of
from parity.draws import generator
from parity.references.muon import TorchMuon, matrices, muon
from parity.references.sparse_tables import tables
from parity.subjects.optimizer import Leaf, live_leaves
from parity.subjects.takeover import DIRECTIONS, Framework, TakeoverCase, give, load

STEPS = 30
DECAY, UP = {"weight_decay": 0.1}, {"maximize": True}

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "Adadelta": [{}, {"lr": 0.01}, DECAY, UP, DECAY | UP, {"rho": 0.95, "weight_decay": 0.9}],
    "Adafactor": [{}, DECAY | {"lr": 0.01}, DECAY | UP, {"beta2_decay": -1.0}, {"d": 1.5}],
    "Adagrad": [
        {},
        DECAY,
        DECAY | UP,
        {"lr": 0.1},
        DECAY | {"initial_accumulator_value": 0.1},
        DECAY | {"lr": 0.1, "lr_decay": 0.5},
        {"lr": 0.001},
    ],
    "Adam": [{}, {"lr": 0.01}, DECAY, DECAY | UP, DECAY | {"amsgrad": True}],
    "Adamax": [{}, {"lr": 0.1}, DECAY, UP, DECAY | UP],
    "AdamW": [{}, {"lr": 0.01}, DECAY, DECAY | UP, DECAY | {"amsgrad": True}],
    "ASGD": [{}, {"lambd": 0.1}, {"lr": 0.02}, {"t0": 100}, UP, DECAY, DECAY | UP],
    "Muon": [
        {},
        {"lr": 0.01},
        {"lr": 0.001},
        {"weight_decay": 0.2},
        {"momentum": 0.8},
        {"ns_steps": 6},
        {"ns_coefficients": (3.4, -4.7, 2.0)},
    ],
    "NAdam": [
        {},
        {"lr": 0.001},
        {"momentum_decay": 0.006},
        DECAY,
        DECAY | {"momentum_decay": 0.006},
        DECAY | {"momentum_decay": 0.006, "decoupled_weight_decay": True},
        DECAY | UP,
    ],
    "RAdam": [{}, {"lr": 0.002}, {"eps": 1e-6}, DECAY, DECAY | {"decoupled_weight_decay": True}, DECAY | UP],
    "RMSprop": [
        {},
        {"lr": 0.001},
        DECAY,
        UP,
        DECAY | {"centered": True},
        DECAY | UP,
        DECAY | {"centered": True, "momentum": 0.1},
        DECAY | UP | {"centered": True, "momentum": 0.1},
    ],
    "Rprop": [{}, {"lr": 0.0002}, {"etas": (0.5, 1.5)}, {"step_sizes": (2e-6, 100)}, UP],
    "SGD": [
        {},
        {"lr": 0.01},
        {"lr": 0.001},
        {"weight_decay": 0.5},
        {"momentum": 0.9},
        DECAY | UP,
        {"momentum": 0.9, "dampening": 0.5},
        DECAY | {"momentum": 0.9},
        DECAY | {"momentum": 0.9, "nesterov": True},
    ],
    "SparseAdam": [{}, {"lr": 0.01}, {"lr": 0.001}, UP],
}
"""By the class of PyTorch. L-BFGS, which takes a closure, has its own cases."""


def linear(dtype: str) -> nnx.Module:
    return nnx.Dict(linear=nn.Linear(8, 6, param_dtype=dtype, rngs=nnx.Rngs(0)))


def three_matrices(dtype: str) -> nnx.Module:
    sizes = {"tall": (4, 9), "wide": (7, 3), "square": (5, 5)}
    return nnx.Dict(
        {name: nn.Linear(*size, bias=False, param_dtype=dtype, rngs=nnx.Rngs(0)) for name, size in sizes.items()}
    )


def table(dtype: str) -> nnx.Module:
    return nnx.Dict(table=nn.Embedding(7, 3, param_dtype=dtype, rngs=nnx.Rngs(0)))


def leaves_of(kind: str) -> dict[str, Leaf]:
    if kind == "Muon":
        return {f"{name}.weight": leaf for name, leaf in matrices(STEPS).items()}
    if kind == "SparseAdam":
        return {"table.weight": tables(STEPS)["table"]}
    rng = generator(5)
    return {
        "linear.weight": live_leaves(STEPS)["rows"],
        "linear.bias": Leaf(rng.normal(size=6), rng.normal(size=(STEPS, 6))),
    }


def zeros(states: Mapping[Any, Mapping[str, Any]]) -> dict[Any, dict[str, Any]]:
    return {
        number: {name: value if name == "step" or value is None else value * 0 for name, value in own.items()}
        for number, own in states.items()
    }


def early(states: Mapping[Any, Mapping[str, Any]]) -> dict[Any, dict[str, Any]]:
    return {
        number: {name: value - 1 if name == "step" else value for name, value in own.items()}
        for number, own in states.items()
    }


def forgetful_load(state: Any, weights: Any, saved: Any, names: list[str], count: int) -> Any:
    """What the optimizer remembers is zero, except the number of steps."""
    return load(state, weights, saved | {"state": zeros(saved["state"])}, names, count)


def rounded_load(state: Any, weights: Any, saved: Any, names: list[str], count: int) -> Any:
    """The weights have seen half precision."""
    rounded = {name: value.half().to(value.dtype) for name, value in weights.items()}
    return load(state, rounded, saved, names, count)


def early_load(state: Any, weights: Any, saved: Any, names: list[str], count: int) -> Any:
    """All steps count one less."""
    return load(state, weights, saved | {"state": early(saved["state"])}, names, count - 1)


def forgetful_give(state: Any, like: Any, names: list[str]) -> Any:
    """What the optimizer remembers is zero, except the number of steps."""
    weights, saved = give(state, like, names)
    return weights, saved | {"state": zeros(saved["state"])}


def rounded_give(state: Any, like: Any, names: list[str]) -> Any:
    """The weights have seen half precision."""
    weights, saved = give(state, like, names)
    with np.errstate(over="ignore"):
        return {name: value.astype(np.float16).astype(value.dtype) for name, value in weights.items()}, saved


def early_give(state: Any, like: Any, names: list[str]) -> Any:
    """All steps count one less."""
    weights, saved = give(state, like, names)
    return weights, saved | {"state": early(saved["state"])}


SAVED_AS: dict[str, list[dict[str, Any]]] = {
    "Adagrad": [{"fused": True}],
    "Adam": [{"fused": True}, {"foreach": True}, {"lr": torch.tensor(0.01, dtype=torch.float64)}],
    "AdamW": [{"fused": True}],
    "SGD": [{"fused": True, "momentum": 0.9}],
}
"""Ways to compute and save the same: a float32 tensor as the number of steps, a tensor as the rate."""

COUNTING = ("Adafactor", "Adam", "Adamax", "AdamW", "NAdam", "RAdam", "SparseAdam")
"""Optimizers whose updates depend on the number of steps. ASGD and Adagrad depend on it with some options only."""

MODULES: Mapping[str, Callable[[str], nnx.Module]] = {"Muon": three_matrices, "SparseAdam": table}


def case(kind: str, options: Mapping[str, Any], begins: Framework, precision: str) -> Case:
    plain = {
        name: value.item() if torch.is_tensor(value) else value
        for name, value in options.items()
        if name not in ("foreach", "fused")
    }
    is_load = begins == "torch"
    ours, theirs = getattr(optim, {"SparseAdam": "sparse_adam"}.get(kind, kind.lower())), getattr(torch.optim, kind)
    if kind == "Muon":
        ours, theirs = muon, TorchMuon
    defects: dict[str, Any] = {"weights in half precision": rounded_load if is_load else rounded_give}
    if kind != "SGD" or "momentum" in options:
        defects["moments are zero"] = forgetful_load if is_load else forgetful_give
    if kind in COUNTING:
        defects["a step too few"] = early_load if is_load else early_give
    shown = text_of(options, None if precision == "float32" else precision)
    return TakeoverCase(
        component="interop.load_optimizer" if is_load else "interop.optimizer_state_dict",
        configuration=f"{DIRECTIONS[begins]}, {kind}, {shown}",
        ours=load if is_load else give,
        optimizer=partial(ours, **plain),
        reference=partial(theirs, **options),
        module=MODULES.get(kind, linear),
        leaves=leaves_of(kind),
        begins=begins,
        precision=precision,
        # PyTorch rounds a gradient with its decay before it squares it, ours the square: after the change the sums of
        # squares are no longer those of PyTorch's own run.
        right_is_enough=kind == "Adagrad" and precision == "bfloat16",
        defects=defects,
    )


CASES: list[Case] = [
    case(kind, options, begins, precision)
    for begins in DIRECTIONS
    for precision in ("float32", "bfloat16")
    for kind, every in OPTIONS.items()
    for options in (*every, *(SAVED_AS.get(kind, ()) if precision == "float32" else ()))
]
