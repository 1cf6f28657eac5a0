"""Every configuration of an optimizer that PyTorch's own tests run on a CPU, as a case."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from jaxtrain import optim
from parity.case import Case
from parity.cases import optim as own_cases
from parity.references import objectives
from parity.references.muon import TorchMuon, matrices, muon
from parity.references.sparse_tables import tables
from parity.report import limits
from parity.runner import run
from parity.subjects.closure import ClosureCase
from parity.subjects.optimizer import OptimizerCase, live_leaves
from parity.torch_inputs import rejections, torch_databases
from parity.torch_inputs.torch_databases import OptimizerInput
from parity.torch_inputs.verdict import Verdict

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
WIDER: dict[tuple[str, str], dict[str, Any]] = {
    ("nadam", "weight_decay"): CHAOTIC,
    ("nadam", "weight_decay, momentum_decay"): CHAOTIC,
    ("nadam", "maximize"): CHAOTIC,
    ("radam", "nonzero weight_decay"): INHERITED,
    ("radam", "maximize"): INHERITED,
    ("lbfgs", "Tensor lr"): SHORT,
}
"""Configurations with wider limits, and why; 1e-12 and a factor of 2 are the limits of all others."""


def our_name(torch_name: str) -> str:
    """The function that stands for a class."""
    return "sparse_adam" if torch_name == "SparseAdam" else torch_name.lower()


def component_of(torch_name: str) -> str:
    """The component that stands for a class."""
    return f"optim.{our_name(torch_name)}"


def judge(torch_name: str) -> Verdict:
    """What was found for all configurations of a class, and for all that it rejects."""
    verdict = rejections.judge(component_of(torch_name), getattr(optim, our_name(torch_name)), torch_name)
    for result in map(run, cases(torch_name)):
        verdict.inputs += 1
        verdict.matched += result.passed
        if not result.passed:
            verdict.failures.append(f"{result.case.name}: {result.failure}")
        elif result.case.reason:
            verdict.wider[f"{limits(result.case)}: {result.case.reason}"] += 1
    return verdict


def cases(torch_name: str) -> list[Case]:
    """A case a configuration."""
    return [configured(torch_name, found) for found in torch_databases.optimizer_inputs(torch_name)]


def configured(torch_name: str, found: OptimizerInput) -> Case:
    """One configuration. The same optimizer without its arguments, or with half the rate, must not pass for it."""
    name, kind = our_name(torch_name), torch_databases.optimizers()[torch_name]
    reference = TorchMuon if name == "muon" else kind
    ours: Callable[..., Any] = partial(muon, axis=0) if name == "muon" else getattr(optim, name)
    arguments = {key: plain(value) for key, value in found.kwargs.items()}
    rate = plain(kind([torch.nn.Parameter(torch.zeros(1, 1))]).defaults["lr"])
    defects = {"without these arguments": ours} if arguments else {"half the rate": partial(ours, lr=rate / 2)}
    common: dict[str, Any] = {
        "component": component_of(torch_name),
        "configuration": f"optim_db: {found.description}",
        "ours": partial(ours, **arguments),
        "reference": lambda parameters: reference(parameters, **arguments),
        "defects": defects,
        **_limits(name, found.description),
    }
    if name == "lbfgs":
        return ClosureCase(
            objective=objectives.steep if "line_search_fn" in arguments else objectives.smooth,
            start=objectives.start(6),
            problems=objectives.problems(6),
            updates=3,
            states=("d", "prev_flat_grad", "prev_loss"),
            **common,
        )
    leaves = {"muon": matrices, "sparse_adam": tables}.get(name, live_leaves)
    return OptimizerCase(leaves=leaves(), **common)


def _limits(name: str, description: str) -> dict[str, Any]:
    """The limits of a configuration: its own, else those of the component's first case."""
    own = next(case for case in own_cases.CASES if case.component == f"optim.{name}")
    usual = {key: getattr(own, key) for key in ("formula_limit", "precision_factor", "reason")}
    return usual | WIDER.get((name, description), {})


def plain(value: Any) -> Any:
    """PyTorch's number in a tensor as the number that it stands for."""
    return value.item() if isinstance(value, torch.Tensor) else value
