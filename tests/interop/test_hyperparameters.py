"""No hyper-parameter of PyTorch's optimizers is lost on the way."""

from functools import wraps
from typing import Any

import pytest
import torch

from jaxtrain import interop
from jaxtrain.interop import _kinds

ADAM = {"lr": 0.5, "betas": (0.8, 0.95), "eps": 1e-5, "weight_decay": 0.1}
EVERY: dict[str, dict[str, Any]] = {
    "Adadelta": {"lr": 0.5, "rho": 0.8, "eps": 1e-5, "weight_decay": 0.1, "maximize": True},
    "Adafactor": {"lr": 0.5, "beta2_decay": -0.5, "eps": (1e-5, 0.1), "d": 2.0, "weight_decay": 0.1, "maximize": True},
    "Adagrad": {
        "lr": 0.5,
        "lr_decay": 0.1,
        "weight_decay": 0.1,
        "initial_accumulator_value": 0.2,
        "eps": 1e-5,
        "maximize": True,
    },
    "Adam": ADAM | {"amsgrad": True, "maximize": True, "decoupled_weight_decay": True},
    "AdamW": ADAM | {"amsgrad": True, "maximize": True},
    "Adamax": ADAM | {"maximize": True},
    "ASGD": {"lr": 0.5, "lambd": 0.1, "alpha": 0.5, "t0": 5.0, "weight_decay": 0.1, "maximize": True},
    "LBFGS": {
        "lr": 0.5,
        "max_iter": 3,
        "max_eval": 7,
        "tolerance_grad": 1e-3,
        "tolerance_change": 1e-4,
        "history_size": 5,
        "line_search_fn": "strong_wolfe",
    },
    "Muon": {
        "lr": 0.5,
        "weight_decay": 0.2,
        "momentum": 0.8,
        "nesterov": False,
        "ns_coefficients": (3.0, -4.0, 2.0),
        "eps": 1e-5,
        "ns_steps": 3,
        "adjust_lr_fn": "match_rms_adamw",
    },
    "NAdam": ADAM | {"momentum_decay": 0.1, "decoupled_weight_decay": True, "maximize": True},
    "RAdam": ADAM | {"decoupled_weight_decay": True, "maximize": True},
    "RMSprop": {
        "lr": 0.5,
        "alpha": 0.8,
        "eps": 1e-5,
        "weight_decay": 0.1,
        "momentum": 0.5,
        "centered": True,
        "maximize": True,
    },
    "Rprop": {"lr": 0.5, "etas": (0.4, 1.3), "step_sizes": (1e-5, 5.0), "maximize": True},
    "SGD": {"lr": 0.5, "momentum": 0.5, "dampening": 0.1, "weight_decay": 0.1, "nesterov": False, "maximize": True},
    "SparseAdam": {"lr": 0.5, "betas": (0.8, 0.95), "eps": 1e-5, "maximize": True},
}
"""A value of each argument that is not the default."""


@pytest.mark.parametrize("kind", EVERY)
def test_every_hyperparameter_reaches_our_optimizer(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given, make = EVERY[kind], _kinds.MAKERS[kind]
    calls: list[dict[str, Any]] = []

    @wraps(make)
    def recorded(**arguments: Any) -> Any:
        calls.append(arguments)
        return make(**arguments)

    monkeypatch.setitem(_kinds.MAKERS, kind, recorded)
    optimizer = getattr(torch.optim, kind)([torch.nn.Parameter(torch.ones(2, 2))], **given)
    interop.optimizer_from_torch(optimizer)
    interop.optimizer_from_torch(optimizer.state_dict(), kind=kind)
    assert calls == [given, given]
    usual = getattr(torch.optim, kind)([torch.nn.Parameter(torch.ones(2, 2))], lr=0.4).param_groups[0]
    kept = [name for name in usual.keys() & given.keys() if usual[name] == given[name]]
    assert kept == (["nesterov"] if kind == "SGD" else [])  # Which has no dampening.


def test_every_optimizer_of_pytorch_is_known() -> None:
    theirs = {
        name
        for name, value in vars(torch.optim).items()
        if isinstance(value, type) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
    }
    assert EVERY.keys() == _kinds.MAKERS.keys() == theirs
