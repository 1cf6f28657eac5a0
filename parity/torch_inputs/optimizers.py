"""Every configuration of an optimizer that PyTorch's own tests run on a CPU, as a case."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from parity.case import Case
from parity.cases import optim as own_cases
from parity.counterparts import component_of, public
from parity.references import objectives
from parity.references.muon import TorchMuon, matrices, muon
from parity.references.sparse_tables import tables
from parity.report import limits
from parity.runner import run
from parity.subjects.closure import ClosureCase
from parity.subjects.optimizer import OptimizerCase, live_leaves
from parity.torch_inputs import rejections, torch_databases
from parity.torch_inputs.outcome import Kind, Outcome
from parity.torch_inputs.torch_databases import OptimizerInput

CHAOTIC = {
    "precision_factor": 3.0,
    "reason": "weight decay added to tiny gradients amplifies rounding: over twelve other sets of gradients ours is "
    "off by 0.4 to 1.4 times as much as PyTorch at the steps between, so the largest error of one set is chance",
}
INHERITED = {
    "formula_limit": 4e-12,
    "reason": "weight decay adds a parameter's rounding, 1.4e-14 of its way, to gradients that are tiny themselves",
}
SHORT = {
    "formula_limit": 2e-11,
    "reason": "steps of a thousandth: the differences of gradients that make the direction lose four digits; and an "
    "iteration multiplies every rounding, so that the largest float32 error is one of few",
}
LEAVES = {"optim.muon": matrices, "optim.sparse_adam": tables}
"""The parameters and gradients of optimizers that cannot take the usual ones."""

WIDER: dict[tuple[str, str], dict[str, Any]] = {
    ("optim.nadam", "weight_decay"): CHAOTIC,
    ("optim.nadam", "weight_decay, momentum_decay"): CHAOTIC,
    ("optim.nadam", "maximize"): CHAOTIC,
    ("optim.radam", "nonzero weight_decay"): INHERITED,
    ("optim.radam", "maximize"): INHERITED,
    ("optim.lbfgs", "Tensor lr"): SHORT,
}
"""Configurations with wider limits, and why."""


def components() -> dict[str, str]:
    """The classes in the database by the component that stands for them, or by themselves if there is none here."""
    names = torch_databases.optimizers()
    return {component_of(f"optim.{name}") or f"torch.optim.{name}": name for name in names}


def outcomes(component: str, torch_name: str) -> Iterator[Outcome]:
    """What becomes of all configurations of a class, and of all that it rejects."""
    for result in map(run, cases(component, torch_name)):
        case = result.case
        wider = f"{limits(case)}: {case.reason}" if case.reason else ""
        yield Outcome(Kind.MATCHED if result.passed else Kind.DIFFERENT, case.name, result.failure or wider)
    yield from rejections.outcomes(component, public()[component], torch_name)


def cases(component: str, torch_name: str) -> list[Case]:
    """One for each configuration."""
    return [configured(component, torch_name, found) for found in torch_databases.optimizer_inputs(torch_name)]


def configured(component: str, torch_name: str, found: OptimizerInput) -> Case:
    """One configuration. The same optimizer without its arguments, or with half the rate, must not pass for it."""
    kind = torch_databases.optimizers()[torch_name]
    is_muon = component == "optim.muon"
    reference = TorchMuon if is_muon else kind
    ours = partial(muon, axis=0) if is_muon else public()[component]
    arguments = {key: plain(value) for key, value in found.kwargs.items()}
    rate = plain(kind([torch.nn.Parameter(torch.zeros(1, 1))]).defaults["lr"])
    defects = {"without these arguments": ours} if arguments else {"half the rate": partial(ours, lr=rate / 2)}
    common: dict[str, Any] = {
        "component": component,
        "configuration": f"optim_db: {found.description}",
        "ours": partial(ours, **arguments),
        "reference": lambda parameters: reference(parameters, **arguments),
        "defects": defects,
        **_limits(component, found.description),
    }
    if component == "optim.lbfgs":
        return ClosureCase(
            objective=objectives.steep if "line_search_fn" in arguments else objectives.smooth,
            start=objectives.start(6),
            problems=objectives.problems(6),
            updates=3,
            states=("d", "prev_flat_grad", "prev_loss"),
            **common,
        )
    leaves = LEAVES.get(component, live_leaves)
    return OptimizerCase(leaves=leaves(), **common)


def _limits(component: str, description: str) -> dict[str, Any]:
    """The limits of a configuration: as in `WIDER`, or like the component's first case."""
    own = next(case for case in own_cases.CASES if case.component == component)
    usual = {key: getattr(own, key) for key in ("formula_limit", "precision_factor", "reason")}
    return usual | WIDER.get((component, description), {})


def plain(value: Any) -> Any:
    """The number in a tensor; anything else as it is."""
    return value.item() if isinstance(value, torch.Tensor) else value
