"""Powers in float64 inside float32 programs, differentiated where the program is, outside of `in_float64`."""

import jax
import jax.numpy as jnp
import pytest

from jaxtrain import optim
from jaxtrain._ground.float64 import in_float64, raised


def power(base, exponent):
    return in_float64(raised, base, exponent, dtype=jnp.float32)


@pytest.mark.parametrize(
    ("base", "exponent", "by_base", "by_exponent"),
    [
        (0.5, 3.0, 0.75, -0.0866434),
        (4.0, 0.5, 0.25, 2.7725887),
        (0.0, 0.0, 0.0, 0.0),
        (0.0, 1.0, 1.0, 0.0),
        (0.0, 2.0, 0.0, 0.0),
    ],
)
def test_a_compiled_power_has_its_derivatives(base, exponent, by_base, by_exponent):
    found = jax.grad(jax.jit(power), (0, 1))(base, exponent)
    assert [float(own) for own in found] == pytest.approx([by_base, by_exponent], rel=1e-6)


def test_a_compiled_power_has_a_second_derivative():
    assert float(jax.grad(jax.grad(jax.jit(power)))(0.5, 3.0)) == pytest.approx(3.0)


def test_a_constant_base_of_zero_adds_nothing_to_a_derivative():
    _, change = jax.jvp(jax.jit(lambda exponent: power(0.0, exponent)), (0.5,), (1.0,))
    assert float(change) == 0.0


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (lambda beta1, beta2: optim.adam(0.1, (beta1, beta2)), (0.9, 0.99)),
        (lambda beta1, beta2: optim.adamax(0.1, (beta1, beta2)), (0.9, 0.99)),
        (lambda beta1, decay: optim.nadam(0.1, (beta1, 0.99), momentum_decay=decay), (0.9, 0.004)),
        (lambda beta1, beta2: optim.radam(0.1, (beta1, beta2)), (0.9, 0.99)),
        (lambda lambd, alpha: optim.asgd(0.1, lambd, alpha), (0.1, 0.75)),
        (lambda decay, _: optim.adafactor(0.1, decay), (-0.8, 0.0)),
    ],
)
def test_a_compiled_run_can_be_differentiated_by_the_hyperparameters(make, values):
    def after_three_steps(first, second):
        optimizer, params = make(first, second), jnp.array([1.0, -2.0])
        state = optimizer.init(params)
        for _ in range(3):
            updates, state = optimizer.update(jnp.cos(params), state, params)
            params += updates
        return jnp.sum(params**2)

    found = jax.grad(jax.jit(after_three_steps), (0, 1))(*values)
    expected = jax.grad(after_three_steps, (0, 1))(*values)
    assert [float(own) for own in found] == pytest.approx([float(own) for own in expected], rel=1e-4)
    assert float(found[0]) != 0.0
