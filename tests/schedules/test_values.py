"""Values worked out by hand, and the corners where other implementations go wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from jaxtrain import schedules


def values(schedule, counts) -> np.ndarray:
    """In float64, so that nothing hides behind rounding."""
    with jax.enable_x64(True):
        return np.asarray(jax.jit(jax.vmap(schedule))(jnp.asarray(list(counts))))


def assert_values(schedule, expected: dict[float, float]) -> None:
    np.testing.assert_allclose(values(schedule, expected), list(expected.values()), rtol=1e-14, atol=1e-17)


class TestDecay:
    def test_milestone_zero_acts_at_once_and_order_does_not_matter(self):
        assert_values(schedules.multi_step_lr(1.0, [4, 0, 4], 0.5), {0: 0.5, 3: 0.5, 4: 0.125})

    def test_no_milestones(self):
        assert_values(schedules.multi_step_lr(0.5, []), {0: 0.5, 1000: 0.5})

    def test_growth(self):
        assert_values(schedules.exponential_lr(1.0, 2.0), {0: 1.0, 10: 1024.0})

    def test_gamma_zero(self):
        assert_values(schedules.step_lr(1.0, 2, 0.0), {0: 1.0, 1: 1.0, 2: 0.0, 4: 0.0})


class TestLinear:
    def test_constant_factor_zero_ends(self):
        assert_values(schedules.constant_lr(0.5, 0.0, 2), {0: 0.0, 1: 0.0, 2: 0.5})

    def test_change_of_no_length_never_ends(self):
        assert_values(schedules.constant_lr(1.0, 0.5, 0), {0: 0.5, 9: 0.5})
        assert_values(schedules.linear_lr(1.0, 0.5, 1.0, 0), {0: 0.5, 9: 0.5})
        assert_values(schedules.polynomial_lr(1.0, 0), {0: 1.0, 9: 1.0})

    def test_both_ends_keep_all_digits(self):
        line = schedules.linear_lr(1.0, 1.0, 0.0, 100_000)
        assert_values(line, {0: 1.0, 99_999: 1e-5, 100_000: 0.0, 100_001: 0.0})
        assert_values(schedules.linear_lr(1.0, 1e-9, 1.0, 10), {0: 1e-9, 5: 0.5000000005, 10: 1.0})

    def test_power_zero_keeps_the_rate(self):
        assert_values(schedules.polynomial_lr(1.0, 5, 0.0), {0: 1.0, 5: 1.0, 6: 1.0})


class TestCosine:
    def test_periodic(self):
        schedule = schedules.cosine_annealing_lr(1.0, 10)
        assert_values(schedule, {0: 1.0, 10: 0.0, 15: 0.5, 20: 1.0, 25: 0.5, 30: 0.0, 40: 1.0})

    def test_traced_period(self):
        halfway = jax.jit(lambda T_max: schedules.cosine_annealing_lr(1.0, T_max)(5))
        np.testing.assert_allclose([halfway(10), halfway(5), halfway(7.5)], [0.5, 0.0, 0.25], atol=1e-7)

    @pytest.mark.parametrize("T_max", [10, 100_000])
    def test_no_digits_cancel_near_the_bottom(self, T_max):
        """For small angles, `(1 - cos x) / 2` is `x**2 / 4 - x**4 / 48 + x**6 / 1440`."""
        periods = 2 * T_max * 5_000
        counts = [T_max - 1, T_max + 1, T_max - 1 + periods]
        x = np.pi / T_max
        expected = x**2 / 4 - x**4 / 48 + x**6 / 1440 - x**8 / 80640 + x**10 / 7257600
        np.testing.assert_allclose(values(schedules.cosine_annealing_lr(1.0, T_max), counts), expected, rtol=1e-12)

    def test_restarts_at_powers_that_a_logarithm_misses(self):
        for T_0, T_mult, restart in ((1, 3, 121), (5, 3, 605), (7, 3, 847), (10, 10, 1110)):
            schedule = schedules.cosine_annealing_warm_restarts(1.0, T_0, T_mult)
            before, at, after = values(schedule, (restart - 1, restart, restart + 0.5))
            assert before < 0.01
            assert at == 1.0
            assert 0.99 < after < 1.0

    def test_restarts_far_out(self):
        schedule = schedules.cosine_annealing_warm_restarts(1.0, 1, 2)
        assert_values(schedule, {2.0**50 - 1: 1.0, 2.0**50 - 1 + 2.0**49: 0.5})

    def test_fractional_counts(self):
        schedule = schedules.cosine_annealing_warm_restarts(1.0, 2, 2, 0.5)
        assert_values(schedule, {0.5: 0.5 + np.cos(np.pi / 8) ** 2 / 2, 1.0: 0.75, 4.0: 0.75, 6.0: 1.0, 10.0: 0.75})


class TestCyclic:
    def test_modes(self):
        plain = {0: 0.0, 2: 1.0, 3: 0.75, 6: 0.0, 8: 1.0}
        assert_values(schedules.cyclic_lr(0.0, 1.0, 2, 4), plain)
        assert_values(schedules.cyclic_lr(0.0, 1.0, 2, 4, "triangular2"), plain | {8: 0.5, 14: 0.25})
        assert_values(schedules.cyclic_lr(0.0, 1.0, 2, 4, "exp_range", 0.5), {0: 0.0, 2: 0.25, 3: 0.75 / 8, 8: 1 / 256})

    def test_triangular2_halves_for_ever(self):
        assert_values(schedules.cyclic_lr(0.5, 1.0, 1, mode="triangular2"), {1: 1.0, 3: 0.75, 100_001: 0.5})

    def test_scale_fn_is_given_the_cycle_from_one_or_the_count(self):
        by_cycle = schedules.cyclic_lr(0.0, 1.0, 2, scale_fn=lambda cycle: 1 / cycle)
        by_count = schedules.cyclic_lr(0.0, 1.0, 2, scale_fn=lambda count: 1 / (1 + count), scale_mode="iterations")
        assert_values(by_cycle, {2: 1.0, 6: 0.5, 10: 1 / 3})
        assert_values(by_count, {2: 1 / 3, 6: 1 / 7})

    def test_sawtooth_and_fractional_sizes(self):
        assert_values(schedules.cyclic_lr(0.0, 1.0, 4, 0), {0: 0.0, 3: 0.75, 4: 0.0, 7: 0.75})
        assert_values(schedules.cyclic_lr(0.0, 1.0, 2.5), {1: 0.4, 2: 0.8, 3: 0.8, 5: 0.0})

    def test_momentum_mirrors_the_rate(self):
        rate = values(schedules.cyclic_lr(0.0, 1.0, 3, 5, "triangular2"), range(40))
        momentum = values(schedules.cyclic_momentum(0.8, 0.9, 3, 5, "triangular2"), range(40))
        np.testing.assert_allclose(momentum, 0.9 - 0.1 * rate, rtol=1e-15)


class TestOneCycle:
    def test_two_phases(self):
        schedule = schedules.one_cycle_lr(1.0, 100, pct_start=0.25, anneal_strategy="linear")
        assert_values(schedule, {0: 0.04, 12: 0.52, 24: 1.0, 99: 4e-6})

    def test_three_phases(self):
        schedule = schedules.one_cycle_lr(1.0, epochs=10, steps_per_epoch=10, three_phase=True)
        assert_values(schedule, {0: 0.04, 29: 1.0, 43.5: 0.52, 58: 0.04, 99: 4e-6})

    def test_one_count_past_the_end_and_no_further(self):
        past = values(schedules.one_cycle_lr(0.1, 10), (9, 10, 11))
        again_up = 4e-7 + (0.1 - 4e-7) * np.sin(np.pi / 14) ** 2
        np.testing.assert_allclose(past, [4e-7, again_up, np.nan], rtol=1e-12)

    def test_rise_of_less_than_a_count_begins_near_the_top(self):
        assert values(schedules.one_cycle_lr(1.0, 10, pct_start=0.05), [0])[0] > 0.99

    def test_only_a_rise(self):
        at_end, past = values(schedules.one_cycle_lr(1.0, 10, pct_start=1.0), (9, 10))
        assert at_end == 1.0
        assert np.isnan(past)
        slope = jax.grad(lambda lr: schedules.one_cycle_lr(lr, 10, pct_start=1.0, anneal_strategy="linear")(9))(1.0)
        assert slope == 1.0

    def test_momentum_mirrors_the_rate(self):
        two = schedules.one_cycle_momentum(0.8, 0.9, 10)
        three = schedules.one_cycle_momentum(0.8, 0.9, 10, three_phase=True)
        assert_values(two, {0: 0.9, 2: 0.8, 5.5: 0.85, 9: 0.9})
        assert_values(three, {0: 0.9, 2: 0.8, 3: 0.85, 4: 0.9, 6: 0.9, 9: 0.9})


class TestSwa:
    def test_no_annealing(self):
        assert_values(schedules.swa_lr(1.0, 0.5, 0), {0: 0.5, 1: 0.5})

    def test_linear(self):
        assert_values(schedules.swa_lr(1.0, 0.5, 5, "linear"), {0: 1.0, 1: 0.9, 5: 0.5, 6: 0.5})

    def test_the_loop_of_torchs_documentation(self):
        """It steps the scheduler up to epoch 160 and then SWALR, which starts from the rate at epoch 161."""
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        before = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=300)
        after = torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.05)
        expected = {}
        for epoch in range(200):
            expected[epoch] = optimizer.param_groups[0]["lr"]
            optimizer.step()
            (after if epoch > 160 else before).step()
        cosine = schedules.cosine_annealing_lr(0.1, T_max=300)
        averaging = lambda count: schedules.swa_lr(cosine(161), 0.05)(count)  # noqa: E731
        assert_values(schedules.sequential_lr([cosine, averaging], [161]), expected)


class TestPerEpoch:
    def test_whole_epochs(self):
        schedule = schedules.per_epoch(schedules.exponential_lr(1.0, 0.5), 3)
        assert_values(schedule, {0: 1.0, 2: 1.0, 3: 0.5, 5: 0.5, 6: 0.25})

    def test_fractional_epochs(self):
        schedule = schedules.per_epoch(schedules.cosine_annealing_warm_restarts(1.0, 1), 4, fractional=True)
        assert_values(schedule, {0: 1.0, 1: np.cos(np.pi / 8) ** 2, 2: 0.5, 4: 1.0, 6: 0.5})

    def test_any_callable(self):
        assert_values(schedules.per_epoch(optax.linear_schedule(1.0, 0.0, 4), 10), {0: 1.0, 9: 1.0, 10: 0.75, 45: 0.0})

    def test_around_a_composition(self):
        linear, step = schedules.linear_lr(1.0, 0.5, 1.0, 2), schedules.step_lr(1.0, 1, 0.5)
        schedule = schedules.per_epoch(schedules.sequential_lr([linear, step], [2]), 10)
        assert_values(schedule, {9: 0.5, 10: 0.75, 20: 1.0, 29: 1.0, 30: 0.5})


class TestSequential:
    def test_a_closed_form_begins_at_its_own_rate(self):
        schedule = schedules.sequential_lr(
            [schedules.constant_lr(1.0, 0.1, 9), schedules.exponential_lr(1.0, 0.5)], [2]
        )
        assert_values(schedule, {0: 0.1, 1: 0.1, 2: 1.0, 3: 0.5})

    def test_multiplicative_goes_on_from_where_it_starts(self):
        halving = schedules.multiplicative_lr(1.0, lambda count: 1 / (2 + count))
        schedule = schedules.sequential_lr([schedules.constant_lr(1.0, 0.5, 9), halving], [2])
        assert_values(schedule, {1: 0.5, 2: 0.25, 3: 0.25 / 3, 4: 0.25 / 12})

    def test_multiplicative_from_the_beginning_leaves_out_count_zero(self):
        halving = schedules.multiplicative_lr(1.0, lambda count: 1 / (2 + count))
        schedule = schedules.sequential_lr([schedules.constant_lr(1.0, 0.5, 9), halving], [0])
        assert_values(schedule, {0: 1.0, 1: 1 / 3, 2: 1 / 12})

    def test_swa_goes_on_from_where_it_starts(self):
        schedule = schedules.sequential_lr(
            [schedules.step_lr(1.0, 2, 0.5), schedules.swa_lr(1.0, 0.1, 2, "linear")], [4]
        )
        assert_values(schedule, {3: 0.5, 4: 0.5, 5: 0.3, 6: 0.1, 7: 0.1})

    def test_one_cycle_overwrites_where_the_sequence_begins(self):
        warm_up, cycle = schedules.linear_lr(0.1, 0.1, 1.0, 10), schedules.one_cycle_lr(0.1, 100)
        assert_values(schedules.sequential_lr([warm_up, cycle], [10]), {0: 4e-4, 5: 2.2e-3, 10: 4e-3})
        higher = schedules.one_cycle_lr(0.2, 100)
        assert_values(schedules.sequential_lr([warm_up, cycle, higher], [10, 20]), {0: 8e-4, 10: 4e-3, 20: 8e-3})

    def test_a_cosine_from_another_start_comes_back_to_its_own_rate(self):
        cosine, cycle = schedules.cosine_annealing_lr(1.0, 2), schedules.one_cycle_lr(5.0, 10)
        schedule = schedules.sequential_lr([cosine, cycle], [6])
        assert_values(schedule, {0: 0.2, 1: 0.1, 2: 0.0, 3: 0.5, 4: 1.0, 6: 0.2})

    def test_repeated_milestones_skip_a_schedule(self):
        parts = [schedules.lambda_lr(1.0, lambda count, k=k: k + count / 100) for k in (1, 2, 3)]
        assert_values(schedules.sequential_lr(parts, [5, 5]), {4: 1.04, 5: 3.0, 6: 3.01})
        assert_values(schedules.sequential_lr(parts, [0, 5]), {0: 2.0, 4: 2.04, 5: 3.0})
        assert_values(schedules.sequential_lr(parts, [0, 0]), {0: 3.0, 4: 3.04})

    def test_a_cyclic_rate_leaves_the_others_their_own(self):
        cyclic, constant = schedules.cyclic_lr(1.0, 4.0, 3), schedules.constant_lr(9.0, 0.5, 99)
        assert_values(schedules.sequential_lr([constant, cyclic], [2]), {0: 4.5, 2: 1.0, 4: 3.0})
        assert_values(schedules.sequential_lr([cyclic, constant], [2]), {0: 1.0, 1: 2.0, 2: 4.5})

    def test_nested_sequences_and_epochs_of_one_step_are_the_flat_sequence(self):
        """Whatever the schedules do to the rate that they find, and to the one from which others start."""
        before = schedules.step_lr(1.0, 2, 0.5)
        others = [
            schedules.multiplicative_lr(1.0, lambda count: 0.9 - 0.01 * count),
            schedules.swa_lr(1.0, 0.3, 4),
            schedules.one_cycle_lr(4.0, 20),
        ]

        def ways(first, second):
            inner = schedules.sequential_lr([first, second], [6])
            yield schedules.sequential_lr([before, first, second], [3, 9])
            yield schedules.sequential_lr([before, inner], [3])
            yield schedules.sequential_lr([schedules.sequential_lr([before, first], [3]), second], [9])
            yield schedules.sequential_lr([before, *(schedules.per_epoch(one, 1) for one in (first, second))], [3, 9])
            yield schedules.sequential_lr([before, schedules.per_epoch(inner, 1)], [3])

        found = values(
            lambda count: jnp.stack(
                [
                    jnp.stack([way(count) for way in ways(first, second)])
                    for first, second in zip(others, others[1:] + others[:1], strict=True)
                ]
            ),
            range(14),
        )
        flat = found[:, :, :1]
        assert (np.ptp(flat, axis=0) > 0.1).all()
        np.testing.assert_allclose(found, np.broadcast_to(flat, found.shape), rtol=1e-14)

    def test_the_last_of_two_cycles_sets_the_rate_for_all(self):
        low, high = schedules.one_cycle_lr(1.0, 50), schedules.one_cycle_lr(2.0, 50)
        warm_up = schedules.constant_lr(9.0, 0.5, 99)
        assert_values(schedules.sequential_lr([warm_up, low, high], [2, 4]), {0: 0.04, 2: 0.04, 4: 0.08})
        assert_values(schedules.sequential_lr([warm_up, high, low], [2, 4]), {0: 0.02, 2: 0.08, 4: 0.04})
        only_constants = schedules.sequential_lr([warm_up, schedules.constant_lr(3.0, 1.0, 9)], [9])
        assert_values(schedules.sequential_lr([warm_up, only_constants], [2]), {0: 4.5, 2: 4.5})
        assert_values(schedules.sequential_lr([schedules.constant_lr(5.0, 0.5, 9), only_constants], [2]), {0: 2.5})

    def test_compositions_and_plain_callables(self):
        chain = schedules.chained_scheduler([schedules.constant_lr(1.0, 0.5, 2), schedules.exponential_lr(1.0, 0.5)])
        inner = schedules.sequential_lr([chain, optax.constant_schedule(7.0)], [3])
        schedule = schedules.sequential_lr([chain, inner], [2])
        assert_values(schedule, {0: 0.5, 1: 0.25, 2: 0.5, 3: 0.25, 4: 0.25, 5: 7.0})


class TestChained:
    def test_pulled_to_a_minimum(self):
        chain = [schedules.constant_lr(0.1, 0.1, 3), schedules.cosine_annealing_lr(0.1, 10, 0.01)]
        with_minimum = values(schedules.chained_scheduler(chain), (0, 1, 2, 3))
        np.testing.assert_allclose(with_minimum, [0.01, 0.01, 0.01, 0.0890], atol=5e-5)

    def test_annealed_to_the_rate_of_weight_averaging(self):
        chain = [schedules.constant_lr(1.0, 0.5, 1), schedules.swa_lr(1.0, 0.5, 2, "linear")]
        assert_values(schedules.chained_scheduler(chain), {0: 0.5, 1: 0.75, 2: 0.5, 3: 0.5})

    @pytest.mark.parametrize("cyclic_first", [True, False])
    def test_a_cyclic_rate_in_a_chain_is_torch_s(self, cyclic_first):
        """Its bounds are its own, whatever the rate of the others is."""
        optimizer = torch.optim.SGD([torch.zeros(1)], 0.1)
        theirs = [
            torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
            torch.optim.lr_scheduler.CyclicLR(optimizer, 0.05, 0.2, 3, cycle_momentum=False),
        ]
        ours = [schedules.exponential_lr(0.1, 0.9), schedules.cyclic_lr(0.05, 0.2, 3)]
        order = -1 if cyclic_first else 1
        chain, expected = torch.optim.lr_scheduler.ChainedScheduler(theirs[::order]), {}
        for count in range(1, 9):
            optimizer.step()
            chain.step()
            expected[count] = optimizer.param_groups[0]["lr"]
        assert_values(schedules.chained_scheduler(ours[::order]), expected)

    def test_the_last_to_overwrite_wins(self):
        constant = schedules.constant_lr(1.0, 0.5, 2)
        inverse = schedules.lambda_lr(1.0, lambda count: 1 / (1 + count))
        step = schedules.step_lr(1.0, 2, 0.1)
        chain = schedules.chained_scheduler([constant, inverse, step])
        assert_values(chain, {0: 1.0, 1: 0.5, 2: 0.1 / 3, 3: 0.25, 4: 0.02})

    def test_a_schedule_that_ended_at_zero_lets_others_go_on(self):
        chain = [schedules.polynomial_lr(1.0, 1), schedules.cosine_annealing_lr(1.0, 2, 0.5)]
        assert_values(schedules.chained_scheduler(chain), {0: 1.0, 1: 0.25, 2: 0.5, 3: 0.75})

    def test_a_cosine_of_one_count_begins_at_its_own_rate(self):
        chain = schedules.chained_scheduler([schedules.cosine_annealing_lr(1.0, 1)])
        assert_values(chain, {0: 1.0, 1: 0.0, 2: 1.0, 3: 0.0})

    def test_a_chain_in_a_chain_is_one_chain(self):
        a, b = schedules.linear_lr(0.1, 0.5, 1.0, 9), schedules.cosine_annealing_lr(0.1, 10, 0.01)
        c = schedules.step_lr(0.1, 5)
        flat = values(schedules.chained_scheduler([a, b, c]), range(60))
        nested = values(schedules.chained_scheduler([schedules.chained_scheduler([a, b]), c]), range(60))
        np.testing.assert_allclose(nested, flat, rtol=1e-14)

    def test_all_steps_count_across_blocks(self):
        """Against the recursion itself, over more than one block."""
        chain = schedules.chained_scheduler(
            [schedules.cosine_annealing_lr(1.0, 500, 0.1), schedules.exponential_lr(1.0, 0.999)]
        )
        rate, expected = 1.0, []
        height = np.sin(np.pi * (500 - np.arange(400)) / 1000) ** 2
        for count in range(400):
            expected.append(rate)
            if count + 1 < 400:
                rate = (0.1 + (rate - 0.1) * height[count + 1] / height[count]) * 0.999
        np.testing.assert_allclose(values(chain, range(400)), expected, rtol=1e-12)
