"""Cases of `jaxtrain.interop`: runs of L-BFGS, whose state is one vector of all parameters after another."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch

from jaxtrain import optim
from parity.case import Case
from parity.cases.optim._table import text_of
from parity.cases.takeover.optimizers import rounded_give, rounded_load
from parity.references.objectives import layer, problems, steep_layer
from parity.subjects.closure import Objective
from parity.subjects.takeover import DIRECTIONS, Framework, give, load
from parity.subjects.takeover_closure import ClosureTakeoverCase

SHAPE = (4, 3)
START = {"weight": -np.ones(SHAPE), "bias": np.arange(4.0)}
"""In PyTorch's order."""
PROBLEMS = 10

OPTIONS: list[tuple[Objective, dict[str, Any]]] = [
    (layer, {"lr": 0.3, "max_iter": 2}),
    (layer, {"lr": 0.3, "max_iter": 3, "history_size": 2}),
    (steep_layer, {"max_iter": 2, "line_search_fn": "strong_wolfe"}),
]
"""The second one's ring of changes is full at the handover, and its oldest change is not in the first row."""


def state_changed(saved: Mapping[str, Any], change: Any) -> dict[str, Any]:
    return {**saved, "state": {number: own | change(own) for number, own in saved["state"].items()}}


def without_pairs(own: Mapping[str, Any]) -> dict[str, Any]:
    return {name: [] for name in ("old_dirs", "old_stps", "ro")}


def turned(own: Mapping[str, Any]) -> dict[str, Any]:
    """The pairs begin with another one."""
    return {name: own[name][1:] + own[name][:1] for name in ("old_dirs", "old_stps", "ro")}


def transposed(own: Mapping[str, Any]) -> dict[str, Any]:
    """The gradient's matrix column after column."""
    gradient, size = own["prev_flat_grad"], SHAPE[0] * SHAPE[1]
    columns = np.asarray(gradient[:size]).reshape(SHAPE).T.ravel()
    return {"prev_flat_grad": np.concatenate([columns, np.asarray(gradient[size:])])}


def changed_load(state: Any, weights: Any, saved: Any, names: list[str], count: int, *, change: Any) -> Any:
    return load(state, weights, state_changed(saved, change), names, count)


def changed_give(state: Any, like: Any, names: list[str], *, change: Any) -> Any:
    weights, saved = give(state, like, names)
    return weights, state_changed(saved, change)


def case(objective: Objective, options: Mapping[str, Any], begins: Framework) -> Case:
    is_load = begins == "torch"
    changed = changed_load if is_load else changed_give
    defects = {"the pairs are lost": without_pairs, "a gradient by columns": transposed}
    if "history_size" in options:
        defects["the oldest pair is the newest"] = turned
    return ClosureTakeoverCase(
        component="interop.load_optimizer" if is_load else "interop.optimizer_state_dict",
        configuration=f"{DIRECTIONS[begins]}, LBFGS, {text_of(options)}",
        ours=load if is_load else give,
        optimizer=partial(optim.lbfgs, **options),
        reference=partial(torch.optim.LBFGS, **options),
        objective=objective,
        start=START,
        problems=problems(SHAPE[0] * SHAPE[1])[:PROBLEMS],
        updates=4,
        states=(),
        begins=begins,
        defects={
            "weights in half precision": rounded_load if is_load else rounded_give,
            **{bug: partial(changed, change=change) for bug, change in defects.items()},
        },
    )


CASES: list[Case] = [case(objective, options, begins) for begins in DIRECTIONS for objective, options in OPTIONS]
