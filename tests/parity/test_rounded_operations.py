"""PyTorch with a rounding after every operation."""

import numpy as np
import torch

from parity.references.rounded_operations import RoundedOperations

X = torch.tensor(1 + np.random.default_rng(0).random(1000))


def test_every_result_is_a_neighbour_on_the_grid():
    with RoundedOperations("float32", 0):
        rounded = X / 3
    exact, steps = (X / 3).numpy(), np.spacing((X / 3).numpy().astype(np.float32)).astype(np.float64)
    error = (rounded.numpy() - exact) / steps
    np.testing.assert_array_equal(rounded.numpy(), rounded.numpy().astype(np.float32))
    assert (error.min() < -0.9, error.max() > 0.9, np.abs(error).max() < 1) == (True, True, True)
    np.testing.assert_allclose(error.mean(), 0, atol=0.1)


def test_gradients_and_results_in_place_are_rounded_too():
    leaf = X.clone().requires_grad_()
    with RoundedOperations("bfloat16", 0):
        leaf.exp().sum().backward()
        changed = X.clone().mul_(1 / 3)
    for found in (leaf.grad, changed):
        assert (found == found.to(torch.bfloat16)).all()
    assert 2**-9 < (changed - X / 3).abs().max() < 2**-7


def test_what_the_precision_holds_and_what_is_not_finite_stays():
    held = torch.tensor([0.0, 1.0, -1.5, 2.0**-130, torch.inf, -torch.inf, torch.nan], dtype=torch.float64)
    with RoundedOperations("float32", 0):
        same = held * 1
        whole = torch.arange(5) * 3
    np.testing.assert_array_equal(same, held)
    assert whole.tolist() == [0, 3, 6, 9, 12]


def test_a_seed_decides_the_roundings():
    found = []
    for seed in (0, 0, 1):
        with RoundedOperations("float32", seed):
            found.append(X / 3)
    assert (found[0] == found[1]).all()
    assert (found[0] != found[2]).any()
