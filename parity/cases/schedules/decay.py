"""Cases of `jaxtrain.schedules`: decay, warm-up and your own functions."""

import jax.numpy as jnp
import optax
from torch.optim import lr_scheduler

from jaxtrain import schedules
from parity.case import Case
from parity.cases.schedules._table import case, in_float32


def wave(count):
    """A factor that is never one and whose product neither vanishes nor explodes."""
    return 1 + 0.5 * ((count % 7) - 3) / (count + 10)


CASES: list[Case] = [
    case(
        "step_lr",
        "step_size=30,000",
        schedules.step_lr(0.1, 30_000),
        lambda optimizer: lr_scheduler.StepLR(optimizer, 30_000),
        {
            "decays all the time": lambda count: 0.1 * 0.1 ** (count / 30_000),
            "a count late": lambda count: schedules.step_lr(0.1, 30_000)(jnp.maximum(count - 1, 0)),
            "float32 (Optax)": in_float32(optax.exponential_decay(0.1, 30_000, 0.1, staircase=True)),
        },
    ),
    case(
        "step_lr",
        "step_size=7, gamma=0.9995",
        schedules.step_lr(0.1, 7, 0.9995),
        lambda optimizer: lr_scheduler.StepLR(optimizer, 7, 0.9995),
        {
            "decays all the time": lambda count: 0.1 * 0.9995 ** (count / 7),
            "float32 (Optax)": in_float32(optax.exponential_decay(0.1, 7, 0.9995, staircase=True)),
        },
    ),
    case(
        "multi_step_lr",
        "unordered, zero and repeated milestones",
        schedules.multi_step_lr(0.1, [30_000, 0, 150, 80_000, 30_000], 0.5),
        lambda optimizer: lr_scheduler.MultiStepLR(optimizer, [30_000, 0, 150, 80_000, 30_000], 0.5),
        {
            "repeated milestones lost": schedules.multi_step_lr(0.1, [0, 150, 30_000, 80_000], 0.5),
            "milestone zero lost": schedules.multi_step_lr(0.1, [150, 30_000, 30_000, 80_000], 0.5),
            "a count late": lambda count: (
                0.1 * 0.5 ** sum((count > m) * 1.0 for m in (-1, 150, 30_000, 30_000, 80_000))
            ),
            "float32 (Optax)": in_float32(
                optax.piecewise_constant_schedule(0.05, {150: 0.5, 30_000: 0.25, 80_000: 0.5})
            ),
        },
    ),
    case(
        "exponential_lr",
        "gamma=0.9999",
        schedules.exponential_lr(0.1, 0.9999),
        lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 0.9999),
        {
            "a count late": lambda count: schedules.exponential_lr(0.1, 0.9999)(jnp.maximum(count - 1, 0)),
            "float32 (Optax)": in_float32(optax.exponential_decay(0.1, 1, 0.9999)),
        },
    ),
    case(
        "exponential_lr",
        "growing, gamma=1.0001",
        schedules.exponential_lr(0.1, 1.0001),
        lambda optimizer: lr_scheduler.ExponentialLR(optimizer, 1.0001),
        {"float32 (Optax)": in_float32(optax.exponential_decay(0.1, 1, 1.0001))},
    ),
    case(
        "constant_lr",
        "defaults",
        schedules.constant_lr(0.1),
        lambda optimizer: lr_scheduler.ConstantLR(optimizer),
        {
            "never ends": schedules.constant_lr(0.1, total_iters=0),
            "ends at 1 / factor": lambda count: jnp.where(count < 5, 0.1 / 3, 0.3),
        },
        steps=1000,
    ),
    case(
        "constant_lr",
        "factor=0.7, total_iters=50,000",
        schedules.constant_lr(0.1, 0.7, 50_000),
        lambda optimizer: lr_scheduler.ConstantLR(optimizer, 0.7, 50_000),
        {"a count late": schedules.constant_lr(0.1, 0.7, 50_001)},
    ),
    case(
        "linear_lr",
        "defaults",
        schedules.linear_lr(0.1),
        lambda optimizer: lr_scheduler.LinearLR(optimizer),
        {
            "begins at zero": lambda count: 0.1 * jnp.minimum(count, 5) / 5,
            "float32 (Optax)": in_float32(optax.linear_schedule(0.1 / 3, 0.1, 5)),
        },
        steps=1000,
    ),
    case(
        "linear_lr",
        "up from 0.001 in 10,000",
        schedules.linear_lr(0.1, 0.001, 1.0, 10_000),
        lambda optimizer: lr_scheduler.LinearLR(optimizer, 0.001, 1.0, 10_000),
        {
            "goes on": lambda count: 0.1 * (0.001 + 0.999 * count / 10_000),
            "one step short": schedules.linear_lr(0.1, 0.001, 1.0, 9_999),
            "float32 (Optax)": in_float32(optax.linear_schedule(1e-4, 0.1, 10_000)),
        },
    ),
    case(
        "linear_lr",
        "down to zero in 10,000",
        schedules.linear_lr(0.1, 1.0, 0.0, 10_000),
        lambda optimizer: lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 10_000),
        {"goes on": lambda count: 0.1 * (1 - count / 10_000)},
    ),
    case(
        "linear_lr",
        "down to 1e-6 in 100,000",
        schedules.linear_lr(0.1, 1.0, 1e-6, 100_000),
        lambda optimizer: lr_scheduler.LinearLR(optimizer, 1.0, 1e-6, 100_000),
        {"float32 (Optax)": in_float32(optax.linear_schedule(0.1, 1e-7, 100_000))},
        formula_limit=5e-12,
        reason="PyTorch multiplies at every step and drifts from the line by 2.7e-12 of the rate",
    ),
    case(
        "polynomial_lr",
        "defaults",
        schedules.polynomial_lr(0.1),
        lambda optimizer: lr_scheduler.PolynomialLR(optimizer),
        {"ends a count late": schedules.polynomial_lr(0.1, 6)},
        steps=1000,
    ),
    case(
        "polynomial_lr",
        "total_iters=10,000, power=0.9",
        schedules.polynomial_lr(0.1, 10_000, 0.9),
        lambda optimizer: lr_scheduler.PolynomialLR(optimizer, 10_000, 0.9),
        {
            "linear": schedules.polynomial_lr(0.1, 10_000),
            "power on the wrong side": lambda count: 0.1 * (1 - jnp.minimum(count / 10_000, 1) ** 0.9),
            "float32 (Optax)": in_float32(optax.polynomial_schedule(0.1, 0.0, 0.9, 10_000)),
        },
    ),
    case(
        "polynomial_lr",
        "total_iters=100,000, power=2",
        schedules.polynomial_lr(0.1, 100_000, 2.0),
        lambda optimizer: lr_scheduler.PolynomialLR(optimizer, 100_000, 2.0),
        {"linear": schedules.polynomial_lr(0.1, 100_000)},
        formula_limit=1e-11,
        reason="PyTorch multiplies at every step and drifts from the power by 9.1e-12 of the rate",
    ),
    case(
        "lambda_lr",
        "decay and steps",
        schedules.lambda_lr(0.1, lambda count: 0.95 ** (count // 1000) / (1 + count / 500)),
        lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda count: 0.95 ** (count // 1000) / (1 + count / 500)),
        {
            "float32": in_float32(lambda count: 0.1 * 0.95 ** (count // 1000) / (1 + count / 500)),
            "base rate lost": lambda count: 0.95 ** (count // 1000) / (1 + count / 500),
        },
    ),
    case(
        "multiplicative_lr",
        "first 1,000",
        schedules.multiplicative_lr(0.1, wave),
        lambda optimizer: lr_scheduler.MultiplicativeLR(optimizer, wave),
        {
            "factor of count 0 in it": lambda count: wave(0) * schedules.multiplicative_lr(0.1, wave)(count),
            "no product": schedules.lambda_lr(0.1, wave),
        },
        steps=1000,
    ),
    case(
        "multiplicative_lr",
        "each 4,999th of 100,000",
        schedules.multiplicative_lr(0.1, wave),
        lambda optimizer: lr_scheduler.MultiplicativeLR(optimizer, wave),
        {"no product": schedules.lambda_lr(0.1, wave)},
        every=4999,
    ),
]
