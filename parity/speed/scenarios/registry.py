"""All scenarios, in the order of the tables."""

from collections.abc import Sequence

from parity.speed.scenario import Scenario
from parity.speed.scenarios import averaging, layers, losses, optimizers

PARAMETERS = (20, 200, 800)


def all_scenarios(parameters: Sequence[int] = PARAMETERS, *, small: bool = False) -> list[Scenario]:
    """Every scenario.

    Args:
        parameters: numbers of parameter arrays for the optimizers.
        small: batches of two, for tests of the instrument itself.
    """
    sized = [*optimizers.scenarios(parameters), *averaging.scenarios(parameters)]
    return sized + layers.scenarios(small) + losses.scenarios(small)
