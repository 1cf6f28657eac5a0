"""Where None stands for a default, 0 does not: it is what was asked for."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxtrain import losses, nn, optim, schedules

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
LABELS = np.array([0, 2, 1, 0])
TABLE = np.array([[3.0, 4.0], [0.5, 0.25], [1.0, -2.0]], np.float32)


def momentum_of_statistics(momentum):
    norm = nn.BatchNorm(3, momentum=momentum)
    norm(X)
    return norm.running_mean[...]


def adafactor_step(eps):
    optimizer, params = optim.adafactor(1.0, eps=(eps, 1e-3)), jnp.ones(3)
    return optimizer.update(1e-8 * jnp.array([1.0, 2.0, -3.0]), optimizer.init(params), params)[0]


CALLS = {
    "scale": (lambda scale: nn.scaled_dot_product_attention(X, X, X, scale=scale), np.tile(X.mean(0), (4, 1))),
    "eps of rms_norm": (lambda eps: nn.rms_norm(1e-8 * X[:1], 3, eps=eps), X[:1] / np.sqrt(np.mean(X[:1] ** 2))),
    "eps of adafactor": (adafactor_step, [-1.0, -1.0, 1.0]),
    "momentum": (momentum_of_statistics, np.zeros(3)),
    "max_norm": (lambda max_norm: nn.embedding(LABELS, TABLE, max_norm=max_norm), np.zeros((4, 2))),
    "padding_idx": (lambda index: nn.embedding_bag(LABELS[None], TABLE, mode="sum", padding_idx=index), [[1.5, -1.75]]),
    "ignore_index": (
        lambda index: losses.linear_cross_entropy(X, X[:3], LABELS, ignore_index=index, reduction="none")[::3],
        [0, 0],
    ),
    "step_size_down": (lambda steps: schedules.cyclic_lr(0.0, 1.0, 4, steps)(np.arange(4, 8)), [0, 0.25, 0.5, 0.75]),
}


@pytest.mark.parametrize("name", CALLS)
def test_zero_is_not_the_default(name):
    call, expected = CALLS[name]
    np.testing.assert_allclose(call(0), expected, rtol=1e-5, atol=1e-6)
    default = call(None)
    assert default.shape != np.shape(expected) or not np.allclose(default, expected, rtol=1e-3)
