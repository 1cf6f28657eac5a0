"""`reduce_lr_on_plateau`, decision by decision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain.schedules import PlateauState, reduce_lr_on_plateau


def run(metrics, **options) -> PlateauState:
    """All states after each of the metrics, by `scan`."""
    plateau = reduce_lr_on_plateau(options.pop("lr", 1.0), **options)

    @jax.jit
    def states(metrics):
        def epoch(state, metric):
            state = plateau.update(state, metric)
            return state, state

        return jax.lax.scan(epoch, plateau.init(), metrics)[1]

    return states(jnp.asarray(metrics, jnp.float32))


def reductions(metrics, **options) -> list[int]:
    return run(metrics, **options).num_reductions.tolist()


def test_more_than_patience_bad_epochs_reduce():
    assert reductions([1.0] * 25, patience=10) == [0] * 11 + [1] * 11 + [2] * 3
    assert reductions([1.0] * 4, patience=0) == [0, 1, 2, 3]


def test_an_improvement_starts_the_count_again():
    assert reductions([3, 3, 2, 2, 2, 2], patience=2) == [0, 0, 0, 0, 0, 1]


def test_nan_is_bad_and_never_the_best():
    states = run([jnp.nan, 2.0, jnp.nan, jnp.nan, 1.0], patience=1)
    assert states.num_reductions.tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_array_equal(states.best, [jnp.inf, 2, 2, 2, 1])


@pytest.mark.parametrize(
    ("mode", "threshold_mode", "best", "good", "bad"),
    [
        ("min", "rel", 4.0, 2.99, 3.0),
        ("min", "abs", 4.0, 3.74, 3.75),
        ("max", "rel", 4.0, 5.01, 5.0),
        ("max", "abs", 4.0, 4.26, 4.25),
        # What is a quarter better than a negative metric is worse.
        ("min", "rel", -4.0, -3.01, -3.0),
        ("max", "rel", -4.0, -4.99, -5.0),
    ],
)
def test_thresholds(mode, threshold_mode, best, good, bad):
    for metric, counted in ((good, 0), (bad, 1)):
        states = run([best, metric], mode=mode, threshold_mode=threshold_mode, threshold=0.25)
        assert states.num_bad_epochs.tolist() == [0, counted]
        assert float(states.best[1]) == pytest.approx(best if counted else metric)


def test_cooldown_ignores_bad_epochs():
    states = run([1.0] * 9, patience=1, cooldown=2)
    assert states.num_reductions.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, 2]
    assert states.cooldown_counter.tolist() == [0, 0, 2, 1, 0, 0, 2, 1, 0]


def test_min_lr_and_eps_end_the_reductions():
    np.testing.assert_allclose(run([1.0] * 6, patience=0, min_lr=0.03).lr, [1, 0.1, 0.03, 0.03, 0.03, 0.03])
    np.testing.assert_allclose(run([1.0] * 5, patience=0, eps=0.05).lr, [1, 0.1, 0.01, 0.01, 0.01])
    below = run([1.0] * 3, patience=0, min_lr=2.0)
    assert (below.lr.tolist(), below.num_reductions.tolist()) == ([1, 1, 1], [0, 0, 0])


def test_the_rate_never_drifts():
    lr = run([1.0] * 31, lr=0.7, patience=0, factor=0.9, eps=0.0).lr
    np.testing.assert_array_equal(lr, np.float32(0.7 * 0.9 ** np.arange(31)))


def test_on_the_host_with_python_floats():
    plateau = reduce_lr_on_plateau(0.1, patience=0, factor=0.5)
    state = plateau.init()
    assert (float(state.lr), float(state.best)) == (np.float32(0.1), np.inf)
    for loss in (2.0, 2.5):
        state = plateau.update(state, loss)
    assert (float(state.lr), float(state.best), int(state.num_reductions)) == (np.float32(0.05), 2.0, 1)


def test_states_keep_their_types():
    plateau = reduce_lr_on_plateau(0.1)
    state = plateau.init()
    shapes = jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), state)
    after = jax.eval_shape(plateau.update, state, jnp.float32(1.0))
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), after) == shapes
    with jax.enable_x64(True):
        state = plateau.update(plateau.init(), 1.0)
        assert [leaf.dtype.name for leaf in state] == ["float64", "float64", "int32", "int32", "int32"]


def test_the_first_state_can_be_donated():
    plateau = reduce_lr_on_plateau(0.1)
    state = jax.jit(plateau.update, donate_argnums=0)(plateau.init(), 1.0)
    assert (float(state.best), int(state.num_bad_epochs)) == (1.0, 0)


def test_traced_rates_run_side_by_side():
    def final(lr):
        plateau = reduce_lr_on_plateau(lr, patience=0)
        return plateau.update(plateau.update(plateau.init(), 1.0), 1.0).lr

    np.testing.assert_allclose(jax.jit(jax.vmap(final))(jnp.array([1.0, 0.5])), [0.1, 0.05])


def test_metrics_are_scalars():
    plateau = reduce_lr_on_plateau(0.1)
    with pytest.raises(ValueError, match=r"the metric must be a scalar, got shape \(3,\)"):
        plateau.update(plateau.init(), jnp.ones(3))


def test_a_fresh_state_can_be_donated():
    plateau = reduce_lr_on_plateau(0.1)
    assert jax.jit(plateau.update, donate_argnums=0)(plateau.init(), 1.0).best == 1.0


@pytest.mark.parametrize("metric", [None, "1.0", 1j, {"val_loss": 1.0}], ids=repr)
def test_a_metric_that_is_not_a_number(metric):
    plateau = reduce_lr_on_plateau(0.1)
    with pytest.raises(TypeError, match=r"reduce_lr_on_plateau: the metric must be a number, got .*; skip the update"):
        plateau.update(plateau.init(), metric)
    with pytest.raises(TypeError, match="expected the PlateauState that its init returns, got tuple"):
        plateau.update((), 1.0)  # pyright: ignore[reportArgumentType] the mistake


def test_patience_beyond_every_counter():
    assert reductions([1.0, 2.0, 2.0, 2.0], patience=2**40, cooldown=2**40) == [0, 0, 0, 0]
