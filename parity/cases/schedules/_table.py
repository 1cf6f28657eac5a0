"""What the tables of schedules share: how a row is written, and common bugs."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from torch.optim import Optimizer

from parity.case import Case
from parity.subjects.schedule import ScheduleCase

Schedule = Callable[[jax.Array], jax.Array]
Reference = Callable[[Optimizer], Any]


def case(
    component: str,
    configuration: str,
    ours: Schedule,
    reference: Reference,
    defects: Mapping[str, Schedule],
    **options: Any,
) -> Case:
    """One configuration, with the bug that every schedule can have."""
    return ScheduleCase(
        component=f"schedules.{component}",
        configuration=configuration,
        ours=ours,
        reference=reference,
        defects={"counts from 1": lambda count: ours(count + 1), **defects},
        **options,
    )


def in_float32(schedule: Callable[[jax.Array], Any]) -> Schedule:
    """A schedule that is evaluated in float32 whatever the program's precision, as Optax's are."""
    return lambda count: jnp.asarray(schedule(count.astype(jnp.float32)), jnp.float32).astype(float)
