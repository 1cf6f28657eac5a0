"""One update of averaged parameters, and the same average from `optax.incremental_update`."""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import optax

from jaxtrain import optim
from parity.speed.scenario import Program, Scenario
from parity.speed.scenarios._parameters import Arrays, mixed


def scenarios(parameters: Sequence[int]) -> list[Scenario]:
    """Both averages, at each number of parameters."""
    return [
        Scenario(
            "optim.averaged_model",
            configuration,
            "optax.incremental_update",
            partial(_ours, function, count),
            partial(_theirs, weight, count),
            count,
        )
        for configuration, function, weight in (
            ("ema", optim.get_ema_avg_fn(0.999), lambda count: 1 - 0.999),
            ("swa", optim.get_swa_avg_fn(), lambda count: 1 / (count + 1)),
        )
        for count in parameters
    ]


def _ours(function: Callable[..., jax.Array], count: int) -> Program:
    average = optim.averaged_model(function)
    start, params = mixed(count)

    def update(state: optim.AveragedModelState, params: Arrays) -> tuple[Arrays, jax.Array]:
        state = average.update_parameters(state, params)
        return state.module, state.n_averaged

    return Program(update, (average.init(start), params))


def _theirs(weight: Callable[[jax.Array], jax.Array | float], count: int) -> Program:
    start, params = mixed(count)

    def update(average: Arrays, number: jax.Array, params: Arrays) -> tuple[optax.Params, jax.Array]:
        return optax.incremental_update(params, average, weight(number)), number + 1

    return Program(update, (start, jnp.zeros((), jnp.int32), params))
