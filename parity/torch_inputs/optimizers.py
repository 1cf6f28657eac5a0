"""Every configuration of an optimizer that PyTorch's own tests run on a CPU, as a case."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from parity.case import Case
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
from parity.verdicts import FORMULA_LIMIT, formula_verdict

LEAVES = {"optim.muon": matrices, "optim.sparse_adam": tables}
"""The parameters and gradients of optimizers that cannot take the usual ones."""

SENSITIVE = {("optim.lbfgs", "Tensor lr")}
"""Configurations in which rounding moves PyTorch's results by more than the usual limit: of gradients that differ by a
small step, few digits differ."""

ROUNDINGS = 6
"""How many runs with other roundings tell by how much."""


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
    }
    if component == "optim.lbfgs":
        searches = "line_search_fn" in arguments
        case = ClosureCase(
            objective=objectives.steep if searches else objectives.smooth,
            start=objectives.start(6),
            problems=objectives.problems(6),
            updates=2 if searches else 3,  # A third search starts where the loss is flat in float32.
            states=("d", "prev_flat_grad", "prev_loss"),
            **common,
        )
        return as_rounding_goes(case) if (component, found.description) in SENSITIVE else case
    leaves = LEAVES.get(component, live_leaves)
    return OptimizerCase(leaves=leaves(), **common)


def as_rounding_goes(case: ClosureCase) -> ClosureCase:
    """A quarter of the case, with a formula limit that is executed: how far PyTorch's own results move, in units, when
    every gradient is rounded once more, up or down.
    """
    rng = np.random.default_rng(0)

    def rounding(gradient: torch.Tensor) -> torch.Tensor:
        return gradient * (1 + torch.as_tensor(rng.choice([-1, 1], tuple(gradient.shape)) * np.finfo(np.float64).eps))

    def reference(parameters: list[torch.Tensor]) -> torch.optim.Optimizer:
        for parameter in parameters:
            parameter.register_hook(rounding)
        return case.reference(parameters)

    case = replace(case, problems=case.problems[: len(case.problems) // 4])
    units = case.units(case.truth)
    moved = (replace(case, reference=reference).run_torch("float64") for _ in range(ROUNDINGS))
    limit = max(formula_verdict(trace, case.truth, units, np.inf)[0] for trace in moved)
    reason = f"PyTorch's own results move by {limit:.0e} when every gradient is rounded once more"
    return replace(case, formula_limit=max(limit, FORMULA_LIMIT), reason=reason)


def plain(value: Any) -> Any:
    """The number in a tensor; anything else as it is."""
    return value.item() if isinstance(value, torch.Tensor) else value
