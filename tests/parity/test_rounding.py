"""Rough runs of PyTorch's optimizers: off by a rounding a step, and no more."""

import numpy as np
import torch

from parity.rounding import rough

EPS = np.finfo(np.float64).eps
GRADIENTS = torch.tensor(np.random.default_rng(0).normal(size=(10, 50)))


def trajectory(make, start=1.0):
    parameter = torch.full((50,), start, dtype=torch.float64, requires_grad=True)
    optimizer = make([parameter])
    for gradient in GRADIENTS:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach().numpy(), optimizer


def test_a_step_is_off_by_a_rounding_of_what_it_reads_and_writes():
    exact, _ = trajectory(lambda p: torch.optim.SGD(p, 0.01))
    error = np.abs(trajectory(rough(torch.optim.SGD, {"lr": 0.01}, 0))[0] - exact)
    assert np.sqrt((error**2).mean()) > 0.5 * EPS
    assert error.max() < 2 * len(GRADIENTS) * EPS


def test_another_seed_rounds_other_numbers():
    runs = [trajectory(rough(torch.optim.SGD, {"lr": 0.01}, seed))[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(runs[0], runs[1])
    assert (runs[0] != runs[2]).any()


def test_what_a_parameter_loses_in_a_step_to_nearly_zero_is_its_rounding():
    """Steps of 1e8 from 1 to 1: the parameter keeps the roundings of the way."""
    steps = [{"lr": 1e8}, {"lr": 1e8, "maximize": True}]
    parameter = torch.ones(50, dtype=torch.float64, requires_grad=True)
    for number, arguments in enumerate(steps):
        optimizer = rough(torch.optim.SGD, arguments, number)([parameter])
        parameter.grad = torch.ones(50, dtype=torch.float64)
        optimizer.step()
    error = np.abs(parameter.detach().numpy() - 1)
    assert 1e8 * EPS < error.max() < 10 * 1e8 * EPS


def test_states_and_small_betas_are_rounded_too():
    arguments = {"lr": 0.01, "betas": (1e-6, 0.9)}
    _, optimizer = trajectory(rough(torch.optim.Adam, arguments, 0))
    (group,), (state,) = optimizer.param_groups, optimizer.state.values()
    assert 0 < abs(group["betas"][0] - 1e-6) < 2 * EPS
    _, exact = trajectory(lambda p: torch.optim.Adam(p, **arguments))
    (exact_state,) = exact.state.values()
    error = (state["exp_avg_sq"] / exact_state["exp_avg_sq"] - 1).abs().max()
    assert 0 < error < 20 * EPS


def test_a_parameter_without_a_gradient_is_left_to_the_optimizer():
    parameter = torch.ones(3, dtype=torch.float64, requires_grad=True)
    rough(torch.optim.SGD, {"lr": 0.1}, 0)([parameter]).step()
    assert float((parameter.detach() - 1).abs().max()) <= EPS
