"""PyTorch with a rounding after every operation."""

from contextlib import nullcontext
from copy import deepcopy

import numpy as np
import pytest
import torch

from parity.references import elementary
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


def test_elementary_functions_are_as_inexact_as_in_the_programs_that_are_judged():
    """The tests let XLA optimize little, and its tanh is fifteen times less exact near one."""
    at = torch.full((5,), 9.5, dtype=torch.float64)
    found = elementary.errors(torch.ops.aten.tanh.default, at, torch.tanh(at), "float32")
    np.testing.assert_array_less(found, 2.0**-25)


NORMS = [
    (torch.nn.LayerNorm(8), (4, 8)),
    (torch.nn.LayerNorm((3, 8), bias=False), (4, 3, 8)),
    (torch.nn.BatchNorm1d(8, momentum=0.3), (4, 8)),
    (torch.nn.BatchNorm2d(8, affine=False), (4, 8, 3, 3)),
    (torch.nn.BatchNorm1d(8, track_running_stats=False), (4, 8)),
    (torch.nn.GroupNorm(2, 8), (4, 8, 3)),
    (torch.nn.GroupNorm(2, 8, affine=False), (4, 8)),
    (torch.nn.InstanceNorm1d(8, affine=True, track_running_stats=True), (4, 8, 3)),
    (torch.nn.Sigmoid(), (4, 8)),
    (torch.nn.Tanh(), (4, 8)),
    (torch.nn.Softmax(-1), (4, 8)),
    (torch.nn.LogSoftmax(-1), (4, 8)),
    (torch.nn.Linear(8, 5), (4, 8)),
    (torch.nn.Conv1d(8, 4, 3, groups=2), (4, 8, 7)),
    (torch.nn.ConvTranspose1d(8, 4, 3, groups=2), (4, 8, 7)),
]


@pytest.mark.parametrize(("layer", "shape"), NORMS, ids=[str(layer) for layer, _ in NORMS])
def test_steps_compute_what_the_whole_does(layer, shape):
    found = []
    for mode in (nullcontext(), RoundedOperations("float64", 0, fewer_bits=12)):
        own = deepcopy(layer).double()
        input = 3 + torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        input.requires_grad_()
        with mode:
            output = own(input)
            (output * torch.arange(output.numel(), dtype=torch.float64).reshape(output.shape)).sum().backward()
            evaluated = own.eval()(input)
        found.append([output, input.grad, evaluated, *(p.grad for p in own.parameters()), *own.buffers()])
    for one, other in zip(*found, strict=True):
        assert one.shape == other.shape
        np.testing.assert_allclose(other.detach(), one.detach(), rtol=1e-6, atol=1e-6)
    assert any((one != other).any() for one, other in zip(*found, strict=True))


SUMS = {
    "sum": lambda x: x.sum(-1),
    "mean": lambda x: x.mean(-1),
    "mm": lambda x: x @ torch.ones(x.shape[1], 1, dtype=x.dtype),
    "conv": lambda x: torch.nn.functional.conv1d(x[:, None], torch.ones(1, 1, x.shape[1], dtype=x.dtype)),
}


@pytest.mark.parametrize("name", ["sum", "mean", "mm", "conv"])
@pytest.mark.parametrize("centre", [0.0, 1.0])
def test_a_sum_is_as_far_off_as_one_in_float32_that_adds_term_after_term(name, centre):
    """The mean square over 400 sums of 300 terms, against NumPy's running sums."""
    x = torch.tensor((centre + np.random.default_rng(0).normal(size=(400, 300))).astype(np.float32)).double()
    exact = SUMS[name](x).flatten()
    with RoundedOperations("float32", 0):
        moved = SUMS[name](x).flatten()
    running = np.cumsum(x.numpy().astype(np.float32), axis=1, dtype=np.float32)[:, -1].astype(np.float64)
    real = running / (300 if name == "mean" else 1) - exact.numpy()
    ratio = float((moved - exact).square().mean().sqrt()) / np.sqrt(np.mean(real**2))
    assert 1 < ratio < 4


def test_elementary_functions_are_as_inexact_as_xla_s():
    """XLA's float64 tanh is several steps off near one, where little is left of the derivative."""
    x = torch.linspace(5, 17, 10_000, dtype=torch.float64)
    with RoundedOperations("float64", 0):
        moved, in_place = torch.tanh(x), x.clone().tanh_()
        exact = torch.tanh(x.float()).double()
    off = (moved - torch.tanh(x)).abs().max() / 2**-53
    assert 2 < off < 40
    assert (in_place - torch.tanh(x)).abs().max() > 2 * 2**-53
    assert (exact == torch.tanh(x.float())).all()


def test_sparse_tensors_pass_through():
    rows = torch.sparse_coo_tensor(
        [[0, 2]], torch.tensor([1 / 3, 2 / 3], dtype=torch.float64), (3,), check_invariants=True
    )
    with RoundedOperations("float32", 0):
        twice = rows + rows
    assert torch.equal(twice.to_dense(), 2 * rows.to_dense())
