"""What `fit` tells the schedules in an optimizer, and what it asks of them."""

import dataclasses

import jax
import optax

from jaxtrain._ground.epochs import told
from jaxtrain.train.state import TrainState


def in_epochs(state: TrainState, steps: int | None, epochs: int) -> TrainState:
    """The state whose schedules know how many steps an epoch has; raise if one of them ends before the run.

    Args:
        state: where the run begins.
        steps: steps in an epoch; None if the data do not tell.
        epochs: how many epochs the run has.
    """
    if state.blueprint.schedules.asked and steps is None:
        raise ValueError(
            "fit: expected data that tell their number of batches, because a schedule of the optimizer counts epochs, "
            "got data without a length; give steps_per_epoch to the schedule"
        )
    if steps is None:
        return state
    check_ends("fit", last_step(state, steps), steps, epochs, before=int(state.step))
    return counting_epochs(state, steps)


def counting_epochs(state: TrainState, steps: int) -> TrainState:
    """The state whose schedules know that an epoch has `steps` steps."""
    if not state.blueprint.schedules.asked or _updates_less_often(state):
        return state
    return dataclasses.replace(state, blueprint=state.blueprint.with_steps_per_epoch(steps))


def last_step(state: TrainState, steps: int) -> float | None:
    """The last step for which all schedules have a value, with `steps` steps in an epoch; None if none ends."""
    if _updates_less_often(state):
        return None
    with told(steps):
        return min((last() for last in state.blueprint.schedules.lasts), default=None)


def check_ends(where: str, last: float | None, steps: int, epochs: int, before: int = 0) -> None:
    """Raise if a schedule ends before a run of `epochs` epochs."""
    after = before + epochs * steps
    if last is not None and after - 1 > last:
        raise ValueError(
            f"{where}: expected a schedule for {after} steps, {epochs} epochs of {steps} after {before} steps, got one "
            f"for {last + 1:g}; make it longer, or the run shorter"
        )


def _updates_less_often(state: TrainState) -> bool:
    """Whether the optimizer gathers the gradients of several steps: its schedules do not count steps then."""
    nodes = jax.tree.leaves(state.opt_state, is_leaf=lambda node: isinstance(node, optax.MultiStepsState))
    return any(isinstance(node, optax.MultiStepsState) for node in nodes)
