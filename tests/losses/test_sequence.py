"""Connectionist temporal classification: every alignment counted, lengths, what cannot be spelled."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain import losses

LOGITS = jnp.asarray(np.random.default_rng(0).normal(size=(5, 3, 4)).astype(np.float32))
LOG_PROBS = jax.nn.log_softmax(LOGITS)
TARGETS = jnp.array([[1, 1, 2], [3, 2, 0], [2, 0, 0]])
FRAMES, LABELS = jnp.array([5, 4, 3]), jnp.array([3, 2, 1])


def spelled(path, blank=0):
    """What a path of classes spells: repetitions merged, blanks dropped."""
    return [c for c, before in zip(path, (None, *path), strict=False) if c not in (before, blank)]


def brute_force(log_probs, target):
    """Minus the logarithm of the summed probability of every path that spells the target."""
    frames, classes = log_probs.shape
    paths = (path for path in product(range(classes), repeat=frames) if spelled(path) == target)
    return -np.log(sum(np.exp(sum(log_probs[t, c] for t, c in enumerate(path))) for path in paths))


def test_every_alignment_is_counted():
    each = losses.ctc_loss(LOG_PROBS, TARGETS, FRAMES, LABELS, reduction="none")
    log_probs = np.asarray(LOG_PROBS, np.float64)
    expected = [brute_force(log_probs[: FRAMES[n], n], TARGETS[n, : LABELS[n]].tolist()) for n in range(3)]
    np.testing.assert_allclose(each, expected, rtol=1e-6)
    np.testing.assert_allclose(
        losses.ctc_loss(LOG_PROBS, TARGETS, FRAMES, LABELS), np.mean(np.divide(expected, [3, 2, 1])), rtol=1e-6
    )


def test_targets_one_after_the_other_are_the_same_rows():
    joined = jnp.array([1, 1, 2, 3, 2, 2])
    expected = losses.ctc_loss(LOG_PROBS, TARGETS, FRAMES, LABELS)
    for transform in (lambda function: function, jax.jit):
        np.testing.assert_allclose(transform(losses.ctc_loss)(LOG_PROBS, joined, FRAMES, LABELS), expected, rtol=1e-6)


def test_one_sequence_needs_no_batch():
    expected = losses.ctc_loss(LOG_PROBS, TARGETS, FRAMES, LABELS, reduction="none")[0]
    alone = losses.ctc_loss(LOG_PROBS[:, 0], TARGETS[0], 5, (3,), reduction="none")
    assert alone.shape == ()
    np.testing.assert_allclose(alone, expected, rtol=1e-6)


def test_gradient_is_minus_the_posterior():
    gradient = jax.grad(losses.ctc_loss)(LOG_PROBS, TARGETS, FRAMES, LABELS, reduction="sum")
    np.testing.assert_allclose(gradient[:, 0].sum(-1), -np.ones(5), rtol=1e-5)
    assert not gradient[3:, 2].any()


def test_profiles_name_the_loss():
    lowered = jax.jit(jax.grad(losses.ctc_loss)).lower(LOG_PROBS, TARGETS, FRAMES, LABELS)
    assert "/jvp(ctc_loss)/" in lowered.as_text(debug_info=True)


def test_nan_beyond_the_last_frame_is_not_looked_at():
    broken = LOG_PROBS.at[4, 1].set(jnp.nan)
    value, gradient = jax.value_and_grad(losses.ctc_loss)(broken, TARGETS, FRAMES, LABELS)
    assert jnp.isfinite(value)
    assert jnp.isfinite(gradient).all()


def test_target_too_long_for_its_frames_costs_infinity_or_zero():
    frames = jnp.array([3, 4, 3])
    value, gradient = jax.value_and_grad(losses.ctc_loss)(LOG_PROBS, TARGETS, frames, LABELS)
    assert value == jnp.inf
    assert jnp.isnan(gradient[:, 0]).any()
    assert jnp.isfinite(gradient[:, 1:]).all()
    each = losses.ctc_loss(LOG_PROBS, TARGETS, frames, LABELS, reduction="none", zero_infinity=True)
    assert each[0] == 0
    assert (each[1:] > 0).all()
    gradient = jax.grad(losses.ctc_loss)(LOG_PROBS, TARGETS, frames, LABELS, zero_infinity=True)
    assert not gradient[:, 0].any()
    assert gradient[:, 1].any()


def test_empty_target_is_all_blanks():
    each = losses.ctc_loss(LOG_PROBS, TARGETS, jnp.array([5, 0, 0]), jnp.array([0, 0, 1]), reduction="none")
    np.testing.assert_allclose(each, np.array([-LOG_PROBS[:, 0, 0].sum(), 0, np.inf]), rtol=1e-6)


def test_label_out_of_range_gives_nan_in_loss_and_gradient():
    for wrong in (4, -1):
        targets = TARGETS.at[1, 0].set(wrong)
        each = losses.ctc_loss(LOG_PROBS, targets, FRAMES, LABELS, reduction="none")
        assert np.isnan(each).tolist() == [False, True, False]
        gradient = jax.grad(losses.ctc_loss)(LOG_PROBS, targets, FRAMES, LABELS, reduction="sum")
        assert np.isnan(gradient).any((0, 2)).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("frames", "labels", "message"),
    [
        ([6, 4, 3], [3, 2, 1], r"input_lengths must lie in \[0, 5\]"),
        ([5, 4, -1], [3, 2, 1], r"input_lengths must lie in \[0, 5\]"),
        ([5, 4, 3], [4, 2, 1], r"target_lengths must lie in \[0, 3\]"),
        ([5, 4], [3, 2, 1], r"input_lengths must hold one length for each of 3 sequences, got \(2,\)"),
    ],
)
def test_lengths_out_of_range_are_refused(frames, labels, message):
    with pytest.raises(ValueError, match=message):
        losses.ctc_loss(LOG_PROBS, TARGETS, jnp.array(frames), jnp.array(labels))


def test_traced_lengths_out_of_range_give_nan():
    each = jax.jit(losses.ctc_loss, static_argnames="reduction")(
        LOG_PROBS, TARGETS, jnp.array([6, -1, 3]), LABELS, reduction="none"
    )
    assert np.isnan(each).tolist() == [True, True, False]


def test_other_bad_input_is_refused():
    with pytest.raises(ValueError, match="target_lengths add up to 6, but targets has 5 labels"):
        losses.ctc_loss(LOG_PROBS, jnp.array([1, 1, 2, 3, 2]), FRAMES, LABELS)
    with pytest.raises(ValueError, match=r"targets must have shape \(3, longest\) or be one row, got \(2, 3\)"):
        losses.ctc_loss(LOG_PROBS, TARGETS[:2], FRAMES, LABELS)
    with pytest.raises(ValueError, match="blank must be from 0 to 3, got 4"):
        losses.ctc_loss(LOG_PROBS, TARGETS, FRAMES, LABELS, blank=4)
    with pytest.raises(ValueError, match="none of them 0"):
        losses.ctc_loss(LOG_PROBS[:0], TARGETS, FRAMES, LABELS)
    with pytest.raises(TypeError, match="zero_infinity must be True or False, got 'False'"):
        losses.ctc_loss(LOG_PROBS, TARGETS, FRAMES, LABELS, zero_infinity="False")  # pyright: ignore[reportArgumentType] a mistake
    with pytest.raises(TypeError, match="input_lengths must hold integers, got float32"):
        losses.ctc_loss(LOG_PROBS, TARGETS, FRAMES.astype(float), LABELS)
    with pytest.raises(TypeError, match="log_probs must hold floats, got int32"):
        losses.ctc_loss(LOG_PROBS.astype(int), TARGETS, FRAMES, LABELS)
    with pytest.raises(ValueError, match="reduction must be one of 'mean', 'sum', 'none'"):
        losses.ctc_loss(LOG_PROBS, TARGETS, FRAMES, LABELS, reduction="average")
