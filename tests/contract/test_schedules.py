"""What holds for every schedule: counts of any kind, dtypes, transformations, bad input."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxtrain import optim, schedules
from jaxtrain._ground.float64 import in_float64

COUNTS = (0, 1, 2, 7, 30, 99)

# One of each, as a function of the base rate.
MAKE: dict[str, Callable] = {
    "step_lr": lambda lr: schedules.step_lr(lr, 5),
    "multi_step_lr": lambda lr: schedules.multi_step_lr(lr, [2, 7, 7]),
    "exponential_lr": lambda lr: schedules.exponential_lr(lr, 0.9),
    "constant_lr": lambda lr: schedules.constant_lr(lr),
    "linear_lr": lambda lr: schedules.linear_lr(lr),
    "polynomial_lr": lambda lr: schedules.polynomial_lr(lr, 40, 2.0),
    "lambda_lr": lambda lr: schedules.lambda_lr(lr, lambda count: 1 / (1 + count)),
    "multiplicative_lr": lambda lr: schedules.multiplicative_lr(lr, lambda count: 1 - 0.5 / count),
    "cosine_annealing_lr": lambda lr: schedules.cosine_annealing_lr(lr, 20),
    "cosine_annealing_warm_restarts": lambda lr: schedules.cosine_annealing_warm_restarts(lr, 3, 2),
    "cyclic_lr": lambda lr: schedules.cyclic_lr(lr / 10, lr, 3.5, mode="exp_range", gamma=0.99),
    "one_cycle_lr": lambda lr: schedules.one_cycle_lr(lr, 100),
    "swa_lr": lambda lr: schedules.swa_lr(lr, lr / 2),
    "sequential_lr": lambda lr: schedules.sequential_lr(
        [schedules.linear_lr(lr), schedules.swa_lr(lr, lr / 2), schedules.step_lr(lr, 2)], [4, 30]
    ),
    "chained_scheduler, scaled": lambda lr: schedules.chained_scheduler(
        [schedules.constant_lr(lr), schedules.exponential_lr(lr, 0.9)]
    ),
    "chained_scheduler, blended": lambda lr: schedules.chained_scheduler(
        [schedules.linear_lr(lr), schedules.cosine_annealing_lr(lr, 20)]
    ),
    "chained_scheduler, overwritten": lambda lr: schedules.chained_scheduler(
        [schedules.lambda_lr(lr, lambda count: 1 / (1 + count)), schedules.cosine_annealing_lr(lr, 20)]
    ),
    "per_epoch": lambda lr: schedules.per_epoch(schedules.step_lr(lr, 2), 10),
    "cyclic_momentum": lambda lr: schedules.cyclic_momentum(lr / 2, lr),
    "one_cycle_momentum": lambda lr: schedules.one_cycle_momentum(lr / 2, lr, 100),
}


def all_values(lr, count):
    return {name: make(lr)(count) for name, make in MAKE.items()}


@pytest.fixture(scope="module")
def values() -> dict[str, jax.Array]:
    """Every schedule of base rate 0.3 at every count, by `jit` and `vmap`."""
    return jax.jit(jax.vmap(lambda count: all_values(0.3, count)))(jnp.asarray(COUNTS, jnp.int32))


def test_every_public_schedule_is_under_contract():
    names = {name.split(",")[0] for name in MAKE}
    types = {"Schedule", "Plateau", "PlateauState", "reduce_lr_on_plateau"}
    assert names | types == {name for name, value in vars(schedules).items() if callable(value)}


def test_results_are_float32_and_alive(values):
    for name, value in values.items():
        assert value.dtype == jnp.float32, name
        assert np.isfinite(value).all(), name
        assert np.ptp(value) > 0, name


@pytest.mark.parametrize(
    "count",
    [7, 7.0, np.int64(7), np.int32(7), np.uint8(7), np.float32(7), jnp.int32(7), np.array(7)],
    ids=lambda count: type(count).__name__ + str(getattr(count, "dtype", "")),
)
def test_counts_of_any_kind(count, values):
    value = MAKE["step_lr"](0.3)(count)
    assert value.shape == ()
    assert value.dtype == jnp.float32
    np.testing.assert_array_max_ulp(value, values["step_lr"][COUNTS.index(7)])


def test_arrays_of_counts_are_mapped(values):
    counts = jnp.asarray(COUNTS).reshape(2, 3)
    for name in ("step_lr", "multiplicative_lr"):
        mapped = jax.jit(MAKE[name](0.3))(counts)
        np.testing.assert_array_max_ulp(mapped, values[name].reshape(2, 3))


def test_scan_agrees_with_vmap(values):
    scanned = jax.jit(lambda counts: jax.lax.scan(lambda _, count: (None, all_values(0.3, count)), None, counts)[1])
    for name, value in scanned(jnp.asarray(COUNTS, jnp.int32)).items():
        np.testing.assert_array_max_ulp(value, values[name])


def test_traced_rates_give_the_same_values_and_live_gradients(values):
    """All schedules are linear in the base rate, so the gradient is the value over the rate."""
    lrs = dict.fromkeys(MAKE, jnp.float32(0.25))

    @jax.jit
    @jax.vmap
    def values_and_gradients(count):
        def all_values(lrs):
            return {name: make(lrs[name])(count) for name, make in MAKE.items()}

        traced, pullback = jax.vjp(all_values, lrs)
        return traced, pullback(dict.fromkeys(MAKE, jnp.float32(1)))[0]

    traced, gradients = values_and_gradients(jnp.asarray(COUNTS, jnp.int32))
    for name, value in traced.items():
        np.testing.assert_allclose(value / 0.25, values[name] / 0.3, rtol=3e-7, err_msg=name)
        np.testing.assert_allclose(gradients[name], value / 0.25, rtol=3e-7, err_msg=name)


def test_traced_gamma():
    @jax.jit
    @jax.vmap
    def with_gamma(gamma):
        return [
            schedules.step_lr(0.1, 2, gamma)(5),
            schedules.multi_step_lr(0.1, [1, 1, 4], gamma)(5),
            schedules.exponential_lr(0.1, gamma)(5),
            schedules.cyclic_lr(0.0, 0.1, 10, mode="exp_range", gamma=gamma)(5),
        ]

    gammas = np.array([0.5, 1.0, 0.0], np.float32)
    expected = [0.1 * gammas**2, 0.1 * gammas**3, 0.1 * gammas**5, 0.05 * gammas**5]
    np.testing.assert_allclose(with_gamma(gammas), expected, rtol=1e-7)


def test_inside_another_float64_evaluation_nothing_is_rounded():
    schedule = schedules.exponential_lr(0.1, 0.95)
    seen = []

    def remember(count):
        seen.append(schedule(count))
        return seen[-1]

    rounded = in_float64(remember, 20, dtype=jnp.float32)
    assert (seen[0].dtype, rounded.dtype) == (jnp.float64, jnp.float32)
    assert abs(float(seen[0]) / (0.1 * 0.95**20) - 1) < 1e-15


def test_x64_programs_get_float64():
    with jax.enable_x64(True):
        value = schedules.cosine_annealing_lr(0.1, 100, 0.01)(50)
        assert value.dtype == jnp.float64
        assert abs(float(value) - 0.055) < 1e-16


def test_negative_counts_raise_and_are_nan_where_traced():
    schedule = schedules.step_lr(0.1, 5)
    with pytest.raises(ValueError, match=r"a schedule: count must lie in \[0, inf\], got -1"):
        schedule(-1)
    with pytest.raises(ValueError, match=r"a schedule: count must lie in \[0, inf\], got -3") as caught:
        optax.join_schedules([schedule, schedule], [3])(0)
    assert "use schedules.sequential_lr" in caught.value.__notes__[0]
    assert np.isnan(jax.jit(schedule)(-1))


def test_large_counts_are_exact():
    count = 2**31 - 1
    assert float(schedules.step_lr(1.0, count)(count)) == pytest.approx(0.1)
    assert float(schedules.step_lr(1.0, count)(count - 1)) == 1.0


def test_every_schedule_lowers_for_accelerators():
    exported = jax.export.export(jax.jit(lambda count: all_values(0.3, count)), platforms=["cuda", "tpu"])(
        jax.ShapeDtypeStruct((), jnp.int32)
    )
    assert exported.platforms == ("cuda", "tpu")
    assert {aval.dtype for aval in exported.out_avals} == {np.dtype("float32")}


NOT_A_NUMBER = {
    "lambda_lr: the factor": lambda s, value: s.lambda_lr(0.1, lambda count: value),
    "multiplicative_lr: the factor": lambda s, value: s.multiplicative_lr(0.1, lambda count: value),
    "cyclic_lr: the scale": lambda s, value: s.cyclic_lr(0.1, 0.2, scale_fn=lambda cycle: value),
    "cyclic_momentum: the scale": lambda s, value: s.cyclic_momentum(scale_fn=lambda cycle: value),
    "sequential_lr: the rate": lambda s, value: s.sequential_lr([lambda count: value], []),
    "per_epoch: the rate": lambda s, value: s.per_epoch(lambda count: value, 2),
}


@pytest.mark.parametrize("name", NOT_A_NUMBER)
@pytest.mark.parametrize("value", [None, "0.1", 0.1j, [0.1, 0.2], np.ones(2), np.ones((1, 1))], ids=repr)
def test_functions_that_do_not_return_a_number(name, value):
    with pytest.raises((TypeError, ValueError), match=rf"{name} must be one number, but [\w ]+ returned "):
        NOT_A_NUMBER[name](schedules, value)(3)


def test_whole_numbers_may_be_arrays():
    assert schedules.multi_step_lr(1.0, jnp.array([2, 4]))(3) == np.float32(0.1)
    assert schedules.step_lr(1.0, jnp.array(2))(3) == np.float32(0.1)
    assert schedules.sequential_lr([schedules.step_lr(1.0, 9), schedules.step_lr(0.5, 9)], np.array([2]))(3) == 0.5


def test_one_cycle_under_debug_nans():
    with jax.debug_nans(True):
        assert float(schedules.one_cycle_lr(0.1, 10)(2)) == np.float32(0.1)
        assert float(schedules.one_cycle_momentum(total_steps=10)(9)) == np.float32(0.95)
        assert float(optim.sgd(schedules.one_cycle_lr(0.1, 10)).init(jnp.ones(2)).lr) == np.float32(0.004)


def test_optax_takes_them():
    optimizer = optax.chain(optax.scale_by_schedule(schedules.step_lr(0.1, 2)), optax.scale(-1.0))
    state = optimizer.init(jnp.zeros(()))
    updates = []
    for _ in range(4):
        update, state = jax.jit(optimizer.update)(jnp.ones(()), state)
        updates.append(float(update))
    assert updates == pytest.approx([-0.1, -0.1, -0.01, -0.01])


BAD_INPUT: list[tuple[Callable, type[Exception], str]] = [
    (lambda s: s.step_lr(-0.1, 5), ValueError, r"step_lr: lr must lie in \[0, inf\), got -0.1"),
    (lambda s: s.step_lr(float("nan"), 5), ValueError, "lr must lie in"),
    (lambda s: s.step_lr("0.1", 5), TypeError, "lr must be a number"),
    (lambda s: s.step_lr(np.ones(3), 5), ValueError, r"lr must be a scalar, got shape \(3,\); jax.vmap"),
    (lambda s: s.step_lr(s.step_lr(0.1, 5), 5), TypeError, "combined by sequential_lr"),
    (lambda s: s.step_lr(optax.sgd(0.1), 5), TypeError, r"got an optimizer; .*: optim.sgd\(schedules.step_lr\(0.1, "),
    (lambda s: s.one_cycle_lr(optax.sgd(0.1), 5), TypeError, "one_cycle_lr: max_lr must be a number, got an optimizer"),
    (lambda s: s.sequential_lr(optax.sgd(0.1), [1]), TypeError, "schedulers must be a list of schedules, got an optim"),
    (
        lambda s: s.chained_scheduler(optax.sgd(0.1)),
        TypeError,
        r"gets the rate: optim.sgd\(schedules.chained_scheduler",
    ),
    (lambda s: s.reduce_lr_on_plateau(optax.sgd(0.1)), TypeError, "got an optimizer; .*: optax.inject_hyperparams"),
    (lambda s: s.step_lr(None, 5), TypeError, "lr must be a number, got None"),
    (lambda s: s.multi_step_lr(0.1, 30), TypeError, "milestones must be a list of counts, got 30; put it in brackets"),
    (
        lambda s: s.sequential_lr(abs, []),
        TypeError,
        "schedulers must be a list of schedules, got <built-in function abs>",
    ),
    (lambda s: s.sequential_lr([abs, abs], 5), TypeError, "milestones must be a list of counts, got 5"),
    (lambda s: s.chained_scheduler(s.step_lr(0.1, 5)), TypeError, "schedulers must be a list of schedules, got <"),
    (
        lambda s: s.one_cycle_lr(0.1, 10, three_phase="False"),
        TypeError,
        "three_phase must be True or False, got 'False'",
    ),
    (
        lambda s: s.one_cycle_momentum(total_steps=10, three_phase=0),
        TypeError,
        "three_phase must be True or False, got 0",
    ),
    (lambda s: s.per_epoch(abs, 10, fractional="no"), TypeError, "fractional must be True or False, got 'no'"),
    (lambda s: s.step_lr(0.1, 0), ValueError, "step_size must be at least 1, got 0"),
    (lambda s: s.step_lr(0.1, 2.5), TypeError, "step_size must be an integer, got 2.5"),
    (lambda s: s.step_lr(0.1, 5, -0.1), ValueError, "gamma must lie in"),
    (lambda s: s.multi_step_lr(0.1, [1, -2]), ValueError, "every milestone must be at least 0, got -2"),
    (lambda s: s.multi_step_lr(0.1, [1, 2.5]), TypeError, "every milestone must be an integer"),
    (lambda s: s.multi_step_lr(0.1, [1], float("inf")), ValueError, "multi_step_lr: gamma must lie in"),
    (lambda s: s.exponential_lr(0.1, float("inf")), ValueError, "gamma must lie in"),
    (lambda s: s.constant_lr(0.1, 1.1), ValueError, r"constant_lr: factor must lie in \[0, 1\], got 1.1"),
    (lambda s: s.constant_lr(0.1, -0.1), ValueError, "factor must lie in"),
    (lambda s: s.constant_lr(0.1, total_iters=-1), ValueError, "total_iters must be at least 0"),
    (lambda s: s.linear_lr(0.1, 0.0), ValueError, r"start_factor must lie in \(0, 1\], got 0.0"),
    (lambda s: s.linear_lr(0.1, 1.1), ValueError, "start_factor must lie in"),
    (lambda s: s.linear_lr(0.1, 0.5, -0.1), ValueError, "end_factor must lie in"),
    (lambda s: s.linear_lr(0.1, 0.5, 1.1), ValueError, "end_factor must lie in"),
    (lambda s: s.polynomial_lr(0.1, 5, -1.0), ValueError, "power must lie in"),
    (lambda s: s.lambda_lr(0.1, 0.95), TypeError, "lambda_lr: lr_lambda must be a function, got 0.95"),
    (lambda s: s.multiplicative_lr(0.1, 0.95), TypeError, "lr_lambda must be a function"),
    (lambda s: s.cosine_annealing_lr(0.1, 0), ValueError, r"T_max must lie in \(0, inf\), got 0"),
    (lambda s: s.cosine_annealing_lr(0.1, 10, -0.1), ValueError, "eta_min must lie in"),
    (lambda s: s.cosine_annealing_warm_restarts(0.1, 0), ValueError, "T_0 must be at least 1"),
    (lambda s: s.cosine_annealing_warm_restarts(0.1, 1.5), TypeError, "T_0 must be an integer"),
    (lambda s: s.cosine_annealing_warm_restarts(0.1, 1, 0), ValueError, "T_mult must be at least 1"),
    (lambda s: s.cosine_annealing_warm_restarts(0.1, 1, 1.5), TypeError, "T_mult must be an integer"),
    (lambda s: s.cosine_annealing_warm_restarts(0.1, 1, 1, "0"), TypeError, "eta_min must be a number"),
    (lambda s: s.cyclic_lr(0.1, 0.2, mode="square"), ValueError, "mode must be one of 'triangular'"),
    (lambda s: s.cyclic_lr(0.1, 0.2, 0), ValueError, r"step_size_up must lie in \(0, inf\)"),
    (lambda s: s.cyclic_lr(0.1, 0.2, 5, -1), ValueError, "step_size_down must lie in"),
    (lambda s: s.cyclic_lr(0.1, 0.2, scale_fn=0.5), TypeError, "scale_fn must be a function"),
    (lambda s: s.cyclic_lr(0.1, 0.2, scale_fn=abs, scale_mode="epoch"), ValueError, "scale_mode must be one of"),
    (lambda s: s.cyclic_momentum(0.8, 1.1), ValueError, r"cyclic_momentum: max_momentum must lie in \[0, 1\]"),
    (lambda s: s.one_cycle_lr(0.1), ValueError, "one_cycle_lr: expected total_steps or epochs, got neither"),
    (lambda s: s.one_cycle_lr(0.1, epochs=3)(0), ValueError, "one_cycle_lr: expected steps_per_epoch, got None"),
    (lambda s: s.per_epoch(s.per_epoch(abs, 2), 2), ValueError, "per_epoch: expected a schedule that counts epochs"),
    (
        lambda s: s.per_epoch(s.sequential_lr([s.step_lr(0.1, 5), s.per_epoch(abs)], [2])),
        ValueError,
        "per_epoch: expected a schedule that counts epochs, got one that per_epoch made, which counts steps; call",
    ),
    (lambda s: s.per_epoch(abs)(0), ValueError, "per_epoch: expected steps_per_epoch, got None"),
    (lambda s: s.one_cycle_lr(0.1, 0), ValueError, "total_steps must be at least 1"),
    (lambda s: s.one_cycle_lr(0.1, 10.0), TypeError, "total_steps must be an integer"),
    (lambda s: s.one_cycle_lr(0.1, epochs=0, steps_per_epoch=3), ValueError, "epochs must be at least 1"),
    (lambda s: s.one_cycle_lr(0.1, epochs=3, steps_per_epoch=0.5), TypeError, "steps_per_epoch must be an integer"),
    (lambda s: s.one_cycle_lr(0.1, 10, pct_start=1), ValueError, "pct_start must be a float"),
    (lambda s: s.one_cycle_lr(0.1, 10, pct_start=1.1), ValueError, "pct_start must lie in"),
    (lambda s: s.one_cycle_lr(0.1, 10, pct_start=0.1), ValueError, "leaves no count for the rise"),
    (lambda s: s.one_cycle_lr(0.1, 10, anneal_strategy="exp"), ValueError, "anneal_strategy must be one of 'cos'"),
    (lambda s: s.one_cycle_lr(0.1, 10, div_factor=0), ValueError, "div_factor must lie in"),
    (lambda s: s.one_cycle_lr(0.1, 10, final_div_factor=0), ValueError, "final_div_factor must lie in"),
    (lambda s: s.one_cycle_momentum(0.85, 0.95), ValueError, "one_cycle_momentum: expected total_steps"),
    (lambda s: s.swa_lr(0.1, 0.05, anneal_strategy="exp"), ValueError, "anneal_strategy must be one of"),
    (lambda s: s.swa_lr(0.1, 0.05, -1), ValueError, "anneal_epochs must be at least 0"),
    (lambda s: s.swa_lr(0.1, 0.05, 1.5), TypeError, "anneal_epochs must be an integer"),
    (lambda s: s.sequential_lr([], []), ValueError, "expected at least one schedule"),
    (lambda s: s.sequential_lr([s.step_lr(0.1, 5)], [5]), ValueError, "got 1 milestones for 1 schedules"),
    (lambda s: s.sequential_lr([0.1], []), TypeError, "expected a schedule, a callable of the count, got 0.1"),
    (lambda s: s.sequential_lr([abs, abs, abs], [7, 5]), ValueError, r"ascending order, got \[7, 5\]"),
    (lambda s: s.sequential_lr([abs, abs], [-1]), ValueError, "every milestone must be at least 0"),
    (lambda s: s.sequential_lr([abs, s.reduce_lr_on_plateau(0.1)], [5]), TypeError, "got Plateau"),
    (lambda s: s.chained_scheduler([]), ValueError, "expected at least one schedule"),
    (lambda s: s.chained_scheduler([abs]), TypeError, "that act step by step, got <built-in function abs> as number 0"),
    (lambda s: s.chained_scheduler([s.reduce_lr_on_plateau(0.1)]), TypeError, "that act step by step, got Plateau"),
    (
        lambda s: s.chained_scheduler([s.step_lr(0.1, 5), s.per_epoch(s.step_lr(0.1, 5), 10)]),
        TypeError,
        "as number 1; put sequential_lr and per_epoch around the chain",
    ),
    (
        lambda s: s.chained_scheduler([s.step_lr(0.1, 5), s.exponential_lr(0.2, 0.9)]),
        ValueError,
        r"expected one lr, because all schedules act on one rate, got \[0.1, 0.2\]",
    ),
    (lambda s: s.per_epoch(s.step_lr(0.1, 5), 0), ValueError, "steps_per_epoch must be at least 1"),
    (lambda s: s.per_epoch(0.1, 10), TypeError, "per_epoch: expected a schedule"),
    (lambda s: s.reduce_lr_on_plateau(0.1, "low"), ValueError, "mode must be one of 'min', 'max', got 'low'"),
    (lambda s: s.reduce_lr_on_plateau(0.1, factor=1.0), ValueError, r"factor must lie in \[0, 1\), got 1.0"),
    (lambda s: s.reduce_lr_on_plateau(0.1, patience=-1), ValueError, "patience must be at least 0"),
    (lambda s: s.reduce_lr_on_plateau(0.1, threshold_mode="abc"), ValueError, "threshold_mode must be one of"),
    (lambda s: s.reduce_lr_on_plateau(0.1, cooldown=0.5), TypeError, "cooldown must be an integer"),
    (lambda s: s.reduce_lr_on_plateau(0.1, min_lr=-1), ValueError, "min_lr must lie in"),
    (lambda s: s.reduce_lr_on_plateau(0.1, eps=-1), ValueError, "eps must lie in"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD_INPUT)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make(schedules)


@pytest.mark.parametrize(
    "schedule",
    [
        schedules.one_cycle_lr(0.1, 5),
        schedules.one_cycle_momentum(total_steps=5),
        schedules.per_epoch(schedules.one_cycle_lr(0.1, 5), 3),
        schedules.per_epoch(schedules.one_cycle_lr(0.1, 5), 3, fractional=True),
        schedules.sequential_lr([schedules.step_lr(0.1, 2), schedules.one_cycle_lr(0.1, 5)], [4]),
        schedules.sequential_lr([schedules.one_cycle_lr(0.1, 5), schedules.one_cycle_lr(0.1, 9)], [3]),
        schedules.sequential_lr([schedules.one_cycle_lr(0.1, 5), schedules.step_lr(0.1, 2)], [9]),
        schedules.chained_scheduler([schedules.one_cycle_lr(0.1, 9), schedules.one_cycle_lr(0.1, 5)]),
    ],
)
def test_the_last_count_is_the_last_with_a_value(schedule):
    last = int(schedule.last())
    rates = schedule(jnp.arange(last + 2))
    assert np.isnan(rates).tolist() == [False] * (last + 1) + [True]


def test_the_last_count_of_what_never_ends():
    assert schedules.step_lr(0.1, 2).last is None
    skipped = schedules.sequential_lr([schedules.one_cycle_lr(0.1, 5), schedules.step_lr(0.1, 2)], [3])
    assert skipped.last is not None
    assert skipped.last() == np.inf
