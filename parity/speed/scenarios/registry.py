"""All scenarios, in the order of the tables."""

from collections.abc import Sequence

from parity.speed.scenario import Scenario
from parity.speed.scenarios import averaging, functions, layers, losses, optimizers, sequences

PARAMETERS = (20, 200, 800)


def all_scenarios(parameters: Sequence[int] = PARAMETERS, *, small: bool = False) -> list[Scenario]:
    """Every scenario.

    Args:
        parameters: numbers of parameter arrays for the optimizers.
        small: batches of two, for tests of the instrument itself.
    """
    sized = [*optimizers.scenarios(parameters), *averaging.scenarios(parameters)]
    rows = [*layers.ROWS, *sequences.ROWS, *functions.ROWS]
    return sized + [layers.scenario(row, small=small) for row in rows] + losses.scenarios(small)
