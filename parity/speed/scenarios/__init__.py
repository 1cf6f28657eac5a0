"""Which scenarios there are: rows only."""

from parity.speed.scenarios.registry import all_scenarios as all_scenarios
