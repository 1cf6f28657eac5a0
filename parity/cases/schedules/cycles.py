"""Cases of `jaxtrain.schedules`: cyclic and one-cycle rates, and the momentum against them."""

from typing import Any

import jax.numpy as jnp
import optax
from torch.optim import lr_scheduler

from jaxtrain import schedules
from parity.case import Case
from parity.cases.schedules._table import Reference, case, in_float32

CYCLE_DIGITS = "PyTorch's 1 + count / period - cycle loses the digits that the number of the cycle takes"
CANCELLATION = "PyTorch subtracts from a rate the nearly equal way to the last one, and loses the digits that cancel"


def momentum(group: dict[str, Any]) -> float:
    return group["momentum"]


def cyclic(*args: Any, **options: Any) -> Reference:
    return lambda optimizer: lr_scheduler.CyclicLR(optimizer, *args, **options)


def one_cycle(*args: Any, **options: Any) -> Reference:
    return lambda optimizer: lr_scheduler.OneCycleLR(optimizer, *args, **options)


def triangle(count, up: float = 2000, down: float = 2000, cycle_from: int = 1):
    """A cycle, its number and its place in it, in the precision of the count."""
    position = count % (up + down)
    height = jnp.where(position <= up, position / up, (up + down - position) / down)
    return height, count // (up + down) + cycle_from


CASES: list[Case] = [
    case(
        "cyclic_lr",
        "defaults",
        schedules.cyclic_lr(0.01, 0.1),
        cyclic(0.01, 0.1),
        {
            "begins at the top": schedules.cyclic_lr(0.1, 0.01),
            "saw-tooth": schedules.cyclic_lr(0.01, 0.1, 4000, 0),
            "halved": schedules.cyclic_lr(0.01, 0.1, mode="triangular2"),
            "float32": in_float32(lambda count: 0.01 + 0.09 * triangle(count)[0]),
        },
    ),
    case(
        "cyclic_lr",
        "triangular2, 700 up and 1300 down",
        schedules.cyclic_lr(0.01, 0.1, 700, 1300, "triangular2"),
        cyclic(0.01, 0.1, 700, 1300, "triangular2"),
        {
            "down as fast as up": schedules.cyclic_lr(0.01, 0.1, 700, mode="triangular2"),
            "up as fast as down": schedules.cyclic_lr(0.01, 0.1, 1300, 700, "triangular2"),
            "first cycle halved": schedules.cyclic_lr(0.01, 0.055, 700, 1300, "triangular2"),
            "not halved": schedules.cyclic_lr(0.01, 0.1, 700, 1300),
            "base rate halved as well": lambda count: (
                schedules.cyclic_lr(0.01, 0.1, 700, 1300)(count) * 0.5 ** (count // 2000)
            ),
        },
    ),
    case(
        "cyclic_lr",
        "exp_range, gamma=0.99995",
        schedules.cyclic_lr(0.01, 0.1, 700, 1300, "exp_range", 0.99995),
        cyclic(0.01, 0.1, 700, 1300, "exp_range", 0.99995),
        {
            "gamma once a cycle": schedules.cyclic_lr(0.01, 0.1, 700, 1300, scale_fn=lambda cycle: 0.99995**cycle),
            "gamma ignored": schedules.cyclic_lr(0.01, 0.1, 700, 1300, "exp_range"),
        },
    ),
    case(
        "cyclic_lr",
        "scale_fn of the cycle",
        schedules.cyclic_lr(0.01, 0.1, 700, 1300, scale_fn=lambda cycle: 1 / cycle),
        cyclic(0.01, 0.1, 700, 1300, scale_fn=lambda cycle: 1 / cycle),
        {
            "cycles from 0": schedules.cyclic_lr(0.01, 0.1, 700, 1300, scale_fn=lambda cycle: 1 / (cycle + 1)),
            "of the iterations": schedules.cyclic_lr(
                0.01, 0.1, 700, 1300, scale_fn=lambda count: 1 / (count + 1), scale_mode="iterations"
            ),
        },
    ),
    case(
        "cyclic_lr",
        "scale_fn of the iterations",
        schedules.cyclic_lr(0.01, 0.1, 700, 1300, scale_fn=lambda n: 5 ** (-n / 1e5), scale_mode="iterations"),
        cyclic(0.01, 0.1, 700, 1300, scale_fn=lambda n: 5 ** (-n / 1e5), scale_mode="iterations"),
        {"of the cycle": schedules.cyclic_lr(0.01, 0.1, 700, 1300, scale_fn=lambda n: 5 ** (-n / 1e5))},
    ),
    case(
        "cyclic_lr",
        "fractional step sizes",
        schedules.cyclic_lr(0.01, 0.1, 3.3, 117.7),
        cyclic(0.01, 0.1, 3.3, 117.7),
        {"rounded step sizes": schedules.cyclic_lr(0.01, 0.1, 3, 118)},
        formula_limit=1e-11,
        reason=CYCLE_DIGITS,
    ),
    case(
        "cyclic_lr",
        "saw-tooth",
        schedules.cyclic_lr(0.01, 0.1, 1000, 0),
        cyclic(0.01, 0.1, 1000, 0),
        {"down as fast as up": schedules.cyclic_lr(0.01, 0.1, 1000)},
    ),
    case(
        "cyclic_momentum",
        "defaults",
        schedules.cyclic_momentum(),
        cyclic(0.01, 0.1),
        {
            "along with the rate": schedules.cyclic_momentum(0.9, 0.8),
            "constant": lambda count: jnp.full((), 0.9, float),
            "float32": in_float32(lambda count: 0.9 - 0.1 * triangle(count)[0]),
        },
        read=momentum,
    ),
    case(
        "cyclic_momentum",
        "triangular2",
        schedules.cyclic_momentum(0.7, 0.95, 700, 1300, "triangular2"),
        cyclic(0.01, 0.1, 700, 1300, "triangular2", base_momentum=0.7, max_momentum=0.95),
        {
            "not halved": schedules.cyclic_momentum(0.7, 0.95, 700, 1300),
            "halved towards the lowest": lambda count: (
                0.7 + 0.25 * (1 - triangle(count, 700, 1300)[0] * 0.5 ** (count // 2000) * 0.5)
            ),
        },
        read=momentum,
    ),
    case(
        "one_cycle_lr",
        "final_div_factor=100",
        schedules.one_cycle_lr(0.1, 100_000, final_div_factor=100.0),
        one_cycle(0.1, 100_000, final_div_factor=100.0),
        {
            "phases a count longer (Optax)": lambda count: jnp.asarray(
                optax.cosine_onecycle_schedule(100_000, 0.1, final_div_factor=100.0)(count), float
            ),
            "ends relative to the top": schedules.one_cycle_lr(0.1, 100_000, final_div_factor=4.0),
            "linear": schedules.one_cycle_lr(0.1, 100_000, anneal_strategy="linear", final_div_factor=100.0),
            "three phases": schedules.one_cycle_lr(0.1, 100_000, three_phase=True, final_div_factor=100.0),
        },
    ),
    case(
        "one_cycle_lr",
        "defaults",
        schedules.one_cycle_lr(0.1, 100_000),
        one_cycle(0.1, 100_000),
        {"phases a count longer": schedules.one_cycle_lr(0.1, 100_001)},
        formula_limit=1e-11,
        reason=CANCELLATION,
    ),
    case(
        "one_cycle_lr",
        "linear, epochs",
        schedules.one_cycle_lr(
            0.1, epochs=1000, steps_per_epoch=100, pct_start=0.2, anneal_strategy="linear", final_div_factor=100.0
        ),
        one_cycle(
            0.1, epochs=1000, steps_per_epoch=100, pct_start=0.2, anneal_strategy="linear", final_div_factor=100.0
        ),
        {
            "cosine": schedules.one_cycle_lr(0.1, 100_000, pct_start=0.2, final_div_factor=100.0),
            "float32 (Optax)": in_float32(optax.linear_onecycle_schedule(100_000, 0.1, 0.2, 1.0, 25.0, 100.0)),
        },
    ),
    *(
        case(
            "one_cycle_lr",
            f"three phases, {strategy}",
            schedules.one_cycle_lr(0.1, 100_000, anneal_strategy=strategy, final_div_factor=100.0, three_phase=True),
            one_cycle(0.1, 100_000, anneal_strategy=strategy, final_div_factor=100.0, three_phase=True),
            {
                "two phases": schedules.one_cycle_lr(0.1, 100_000, anneal_strategy=strategy, final_div_factor=100.0),
                "another length (Optax)": lambda count: jnp.asarray(
                    optax.linear_onecycle_schedule(100_000, 0.1, 0.3, 0.6, 25.0, 100.0)(count), float
                ),
            },
        )
        for strategy in ("cos", "linear")
    ),
    *(
        case(
            "one_cycle_lr",
            f"one count past the end, {strategy}, pct_start={pct_start}",
            schedules.one_cycle_lr(0.1, 11, pct_start=pct_start, anneal_strategy=strategy, final_div_factor=100.0),
            one_cycle(0.1, 11, pct_start=pct_start, anneal_strategy=strategy, final_div_factor=100.0),
            {
                "stays at the end": lambda count, pct_start=pct_start, strategy=strategy: schedules.one_cycle_lr(
                    0.1, 11, pct_start=pct_start, anneal_strategy=strategy, final_div_factor=100.0
                )(jnp.minimum(count, 10)),
                "one step more": schedules.one_cycle_lr(
                    0.1, 12, pct_start=pct_start, anneal_strategy=strategy, final_div_factor=100.0
                ),
            },
            steps=12,
        )
        for strategy in ("cos", "linear")
        for pct_start in (0.05, 0.3, 0.95)
    ),
    *(
        case(
            "one_cycle_momentum",
            f"{strategy}, {'three' if three_phase else 'two'} phases",
            schedules.one_cycle_momentum(0.8, 0.95, 100_000, anneal_strategy=strategy, three_phase=three_phase),
            one_cycle(
                0.1,
                100_000,
                base_momentum=0.8,
                max_momentum=0.95,
                anneal_strategy=strategy,
                three_phase=three_phase,
            ),
            {
                "along with the rate": schedules.one_cycle_momentum(
                    0.95, 0.8, 100_000, anneal_strategy=strategy, three_phase=three_phase
                ),
                "other phases": schedules.one_cycle_momentum(
                    0.8, 0.95, 100_000, anneal_strategy=strategy, three_phase=not three_phase
                ),
            },
            read=momentum,
        )
        for strategy, three_phase in (("cos", False), ("linear", True))
    ),
]
