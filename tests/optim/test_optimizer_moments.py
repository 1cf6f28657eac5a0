"""Moving averages keep what counts, whatever came before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain import optim

WITHOUT_MEMORY = {
    "adam": lambda: optim.adam(betas=(0.0, 0.9)),
    "adamw": lambda: optim.adamw(betas=(0.0, 0.9)),
    "adamax": lambda: optim.adamax(betas=(0.0, 0.9)),
    "nadam": lambda: optim.nadam(betas=(0.0, 0.9)),
    "radam": lambda: optim.radam(betas=(0.0, 0.9)),
}


@pytest.mark.parametrize("name", WITHOUT_MEMORY)
def test_a_small_gradient_after_a_large_one_is_the_mean_without_memory(name):
    """In float32, 1e8 + (1e-3 - 1e8) is 0."""
    optimizer, parameter = WITHOUT_MEMORY[name](), jnp.zeros(3)
    state = optimizer.init(parameter)
    update = jax.jit(optimizer.update)
    for gradient in (jnp.full(3, 1e8), jnp.array([1e-3, -1e-3, 0.0])):
        _, state = update(gradient, state, parameter)
    np.testing.assert_array_equal(state.exp_avg, np.array([1e-3, -1e-3, 0.0], np.float32))


def test_an_average_without_memory_is_the_last_model():
    average = optim.averaged_model(optim.get_ema_avg_fn(decay=0.0))
    state = average.init(jnp.zeros(2))
    for parameter in (jnp.full(2, 1e8), jnp.array([1e-3, 0.0])):
        state = average.update_parameters(state, parameter)
    np.testing.assert_array_equal(state.module, np.array([1e-3, 0.0], np.float32))
