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
    schedules = state.blueprint.schedules
    if schedules.asked and steps is None:
        raise ValueError(
            "fit: expected data that tell their number of batches, because a schedule of the optimizer counts epochs, "
            "got data without a length; give steps_per_epoch to the schedule"
        )
    if steps is None or _updates_less_often(state):
        return state
    with told(steps):
        last = min((last() for last in schedules.lasts), default=None)
    before, ahead = int(state.step), epochs * steps
    if last is not None and before + ahead - 1 > last:
        raise ValueError(
            f"fit: expected a schedule for {before + ahead} steps, {epochs} epochs of {steps} after {before} steps, "
            f"got one for {last + 1:g}; make it longer, or the run shorter"
        )
    if not schedules.asked:
        return state
    return dataclasses.replace(state, blueprint=state.blueprint.with_steps_per_epoch(steps))


def _updates_less_often(state: TrainState) -> bool:
    """Whether the optimizer gathers the gradients of several steps: its schedules do not count steps then."""
    nodes = jax.tree.leaves(state.opt_state, is_leaf=lambda node: isinstance(node, optax.MultiStepsState))
    return any(isinstance(node, optax.MultiStepsState) for node in nodes)
