"""The verdicts on all components, one by one or several at a time."""

from collections.abc import Iterator, Sequence

import jax

from parity.runner import workers
from parity.torch_inputs import optimizers, registry, torch_databases
from parity.torch_inputs.verdict import Verdict, judge


def all_names() -> list[str]:
    """Every component that the databases have inputs of."""
    return [*map(optimizers.component_of, torch_databases.optimizers()), *registry.components()]


def verdicts(names: Sequence[str], processes: int = 1) -> Iterator[Verdict]:
    """One by one, in order."""
    if processes == 1:
        yield from map(verdict_on, names)
        return
    with workers(processes) as pool:
        yield from pool.map(verdict_on, names)


def verdict_on(component: str) -> Verdict:
    """What all inputs of a component show."""
    jax.clear_caches()
    for torch_name in torch_databases.optimizers():
        if component == optimizers.component_of(torch_name):
            return optimizers.judge(torch_name)
    entries = registry.components()[component]
    trials = [trial for entry in entries for trial in registry.trials(component, entry)]
    error_trials = [trial for entry in entries for trial in registry.error_trials(component, entry)]
    return judge(component, trials, error_trials)
