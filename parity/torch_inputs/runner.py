"""The findings on all components, one by one or several at a time."""

from collections.abc import Iterator, Sequence

from parity.runner import workers
from parity.torch_inputs import judging, optimizers, programs, registry
from parity.torch_inputs.outcome import Findings, Kind, Outcome

ONLY_BY_NAME = {
    "nn.Transformer": "48 large programs take about ten minutes",
    "nn.max_pool": "the programs of its 2,890 inputs take more than ten minutes",
}
"""Components whose inputs run only if the command names them, and why."""


def all_names() -> list[str]:
    """Every component that the databases have inputs of."""
    return [*optimizers.components(), *registry.components()]


def usual_names() -> list[str]:
    """The components that run without being named."""
    return [name for name in all_names() if name not in ONLY_BY_NAME]


def findings(names: Sequence[str], processes: int = 1) -> Iterator[Findings]:
    """Those on some components, one by one, in order."""
    if processes == 1:
        yield from map(findings_on, names)
        return
    with workers(processes) as pool:
        yield from pool.map(findings_on, names)


def findings_on(component: str) -> Findings:
    """What becomes of all inputs of a component."""
    programs.clear()
    if registry.implementation(component) is None:
        return Findings(component, (Outcome(Kind.DIFFERENT, component, "expected a component for it, got none"),))
    if torch_name := optimizers.components().get(component):
        return Findings(component, tuple(optimizers.outcomes(component, torch_name)))
    entries = registry.components()[component]
    comparisons = [found for entry in entries for found in registry.comparisons(component, entry)]
    errors = [found for entry in entries for found in registry.error_comparisons(component, entry)]
    return Findings(component, (*judging.outcomes(comparisons), *judging.error_outcomes(errors)))
