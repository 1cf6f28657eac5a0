"""`check_*` on other implementations: agreement passes, and each error names where and by how much."""

import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

import parity
from jaxtrain import nn, optim, schedules
from parity.subjects.optimizer import Leaf

# Optax and Flax promote dtypes and add axes.
pytestmark = pytest.mark.usefixtures("promotion")


def test_check_optimizer_names_step_leaf_values_and_ulp():
    with pytest.raises(AssertionError) as error:
        parity.check_optimizer(optax.sgd(0.1, momentum=0.9), lambda p: torch.optim.SGD(p, 0.1, 0.9, dampening=0.5))
    pattern = r"parameter '\w+'\S* at step 1: ours \S+, torch \S+, \S+ float64 ulp apart; error \S+, limit 1e-12"
    assert re.fullmatch(pattern, str(error.value))


@pytest.mark.long
def test_check_optimizer_sees_float32_bias_corrections():
    with pytest.raises(AssertionError, match="float32 ulp apart"):
        parity.check_optimizer(optax.adam(1e-3), lambda p: torch.optim.Adam(p))


def torch_sgd(parameters):
    return torch.optim.SGD(parameters, 0.1)


def test_check_optimizer_takes_as_many_steps_as_it_is_told():
    late = optax.sgd(lambda count: jnp.where(count < 5, 0.1, 0.2))
    assert parity.check_optimizer(late, torch_sgd, steps=5).passed
    with pytest.raises(AssertionError, match="at step 5: "):
        parity.check_optimizer(late, torch_sgd, steps=6)


def test_check_optimizer_takes_the_leaves_that_it_is_given():
    with pytest.raises(AssertionError, match="parameter 'mine'"):
        parity.check_optimizer(optax.sgd(0.2), torch_sgd, leaves={"mine": Leaf(np.ones(2), np.ones((3, 2)))})


def test_check_optimizer_makes_the_reference_for_the_leaves_that_it_is_given():
    """Muon takes matrices alone."""
    leaves = {"matrix": Leaf(np.eye(3), np.arange(18.0).reshape(2, 3, 3))}
    assert parity.check_optimizer(optim.muon(), torch.optim.Muon, leaves=leaves).passed


def test_check_optimizer_counts_errors_against_the_distance_and_a_hundredth_of_the_parameter():
    far = {"far": Leaf(np.array([100.0]), np.ones((3, 1)))}
    assert parity.check_optimizer(optax.sgd(0.1 + 2e-13), torch_sgd, leaves=far).passed
    with pytest.raises(AssertionError, match=r"parameter 'far'\[0\] at step 0: .* error 2\S*e-12"):
        parity.check_optimizer(optax.sgd(0.1 + 2e-12), torch_sgd, leaves=far)


def test_check_loss_compares_the_gradients_by_all_inputs_that_it_is_told():
    def of_one(x, y):
        return ((x - jax.lax.stop_gradient(y)) ** 2).sum()

    inputs = (np.array([0.5, 1.0, -2.0]), np.array([0.25, 3.0, 1.0]))
    assert parity.check_loss(of_one, lambda x, y: ((x - y) ** 2).sum(), inputs).passed
    with pytest.raises(AssertionError, match="gradient by input 1"):
        parity.check_loss(of_one, lambda x, y: ((x - y) ** 2).sum(), inputs, wrt=(0, 1))


def test_check_loss_compares_every_input_by_its_own_size():
    """An error of 1e-9 of the first input's results is judged by their size, not by that of the larger second ones."""
    inputs = [(np.array([1.0, 2.0]),), (np.array([1e6, 2e6]),)]

    def wrong(x):
        return jnp.sum(x) + jnp.where(x[0] < 10, 1e-9, 0)

    with pytest.raises(AssertionError, match="at step 0: "):
        parity.check_loss(wrong, torch.sum, *inputs)
    with pytest.raises(AssertionError, match="at step 1: "):
        parity.check_loss(wrong, torch.sum, *reversed(inputs))


def test_check_loss_weighs_the_gradients_of_each_result_differently():
    """Those of a softmax add up to 0."""
    with pytest.raises(AssertionError, match="gradient by input 0"):
        parity.check_loss(
            lambda x: jax.lax.stop_gradient(jax.nn.softmax(x)), lambda x: x.softmax(0), (np.array([1.0, 2.0, 4.0]),)
        )


def test_check_schedule_takes_the_rate_the_steps_and_what_is_read():
    def of_torch(optimizer):
        return torch.optim.lr_scheduler.CyclicLR(optimizer, 0.1, 0.3, 4, base_momentum=0.7, max_momentum=0.8)

    momentum = schedules.cyclic_momentum(0.7, 0.8, 4)
    assert parity.check_schedule(momentum, of_torch, steps=9, read=lambda group: group["momentum"]).passed
    with pytest.raises(AssertionError):
        parity.check_schedule(momentum, of_torch, steps=9)

    def decay(optimizer):
        return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)

    def late(count):
        return jnp.where(count < 5, 0.5 * 0.5**count, 0.0)

    assert parity.check_schedule(late, decay, lr=0.5, steps=5).passed
    with pytest.raises(AssertionError, match="at step 5: "):
        parity.check_schedule(late, decay, lr=0.5, steps=6)


def test_check_schedule_sees_a_dtype_that_no_value_shows():
    with pytest.raises(AssertionError, match="expected float64, got float32"):
        parity.check_schedule(
            lambda count: (0.5**count).astype(jnp.float32),
            lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5),
            lr=1.0,
            steps=5,
        )


class StillTraining(nn.BatchNorm):
    """Normalizes with the statistics of the batch, in evaluation too."""

    def __call__(self, input):
        return super().__call__(input, use_running_average=False)


class OfSmallNumbers(nn.BatchNorm):
    """Normalizes large numbers as if they were smaller."""

    def __call__(self, input):
        return super().__call__(jnp.clip(input, -10, 10))


def test_check_layer_compares_the_evaluation_and_the_statistics_and_every_input():
    def compare(ours, *inputs):
        return parity.check_layer(
            lambda rngs: ours, lambda: torch.nn.BatchNorm1d(3), *inputs, variables=lambda variables: variables
        )

    one, other = np.random.default_rng(0).normal(size=(2, 4, 3))
    assert compare(nn.BatchNorm(3), one).passed
    with pytest.raises(AssertionError, match="output in evaluation"):
        compare(StillTraining(3), one)
    with pytest.raises(AssertionError, match="buffer 0 'running_mean'"):
        compare(nn.BatchNorm(3, momentum=0.2), one)
    with pytest.raises(AssertionError, match="output 1"):
        compare(OfSmallNumbers(3), one, 100 * other)


def test_check_loss_sees_a_gradient_that_the_value_hides():
    inputs = (np.array([0.0, 1.0, -2.0]), np.zeros(3))
    with pytest.raises(AssertionError, match=r"gradient by input 0 of shape \(3,\)\[0\]: ours 1.0, torch 0.0"):
        parity.check_loss(lambda x, y: jnp.abs(x - y).sum(), lambda x, y: (x - y).abs().sum(), inputs)


def test_check_schedule_sees_a_shift_by_one():
    with pytest.raises(AssertionError, match="value at step 9: "):
        parity.check_schedule(
            lambda count: 0.1 * 0.5 ** ((count + 1) // 10),
            lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 10, 0.5),
        )


def test_check_schedule_sees_float32_arithmetic():
    with pytest.raises(AssertionError, match="float32 ulp apart"):
        parity.check_schedule(
            lambda count: 0.1 * 0.999 ** count.astype(jax.dtypes.canonicalize_dtype(float)),
            lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.999),
        )


def test_check_layer_sees_another_epsilon():
    inputs = np.random.default_rng(0).normal(size=(4, 3)) / 100
    with pytest.raises(AssertionError, match="output 0"):
        parity.check_layer(
            lambda rngs: nnx.LayerNorm(3, rngs=rngs),
            lambda: torch.nn.LayerNorm(3),
            inputs,
            variables=lambda variables: {name.replace("weight", "scale"): v for name, v in variables.items()},
        )


def test_check_loss_sees_half_precision_inside():
    def rounded(x, y):
        return (
            jnp.square(x - y).astype(jnp.bfloat16).astype(x.dtype) if x.dtype == jnp.float32 else (x - y) ** 2
        ).sum()

    inputs = tuple(np.random.default_rng(0).normal(size=(2, 50)))
    with pytest.raises(AssertionError, match="float32 ulp apart; root mean square error"):
        parity.check_loss(rounded, lambda x, y: (x - y).square().sum(), inputs)


class AnotherNorm(nnx.Module):
    """A batch norm that rounds its float32 results to bfloat16, or has another momentum."""

    def __init__(self, rngs, momentum=0.1, rounds=False):
        self.norm, self.rounds = nn.BatchNorm(3, momentum=momentum), rounds

    def __call__(self, input):
        output = self.norm(input)
        return output.astype(jnp.bfloat16).astype(input.dtype) if self.rounds and input.dtype == jnp.float32 else output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, None),
        ({"rounds": True}, "output .* float32 ulp apart; root mean square error"),
        ({"momentum": 0.2}, "running_mean.* float64 ulp apart; error .*, limit 1e-12"),
    ],
)
def test_check_layer_sees_half_precision_inside_and_other_statistics(options, message):
    def check():
        return parity.check_layer(
            lambda rngs: AnotherNorm(rngs, **options),
            lambda: torch.nn.Sequential(torch.nn.BatchNorm1d(3)),
            np.random.default_rng(0).normal(size=(16, 3)),
            variables=lambda variables: {name.replace("0.", "norm."): v for name, v in variables.items()},
        )

    if message is None:
        assert check().passed
        return
    with pytest.raises(AssertionError, match=message):
        check()


def test_a_comparison_that_could_not_fail_is_refused():
    with pytest.raises(ValueError, match="could not fail"):
        parity.check_loss(lambda x: x * 0, lambda x: x * 0, (np.ones(3),))


class LinearThenNorm(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.linear, self.norm = nn.Linear(3, 8, rngs=rngs), nn.LayerNorm(8)

    def __call__(self, input):
        return jnp.tanh(self.norm(self.linear(input)))


class TorchLinearThenNorm(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear, self.norm = torch.nn.Linear(3, 8), torch.nn.LayerNorm(8)

    def forward(self, input):
        return torch.tanh(self.norm(self.linear(input)))


def kernels(variables):
    return {
        name.replace("linear.weight", "linear.kernel"): values.T if values.ndim == 2 else values
        for name, values in variables.items()
    }


def test_check_layer_passes_right_code_for_any_input():
    for seed in range(8):
        inputs = np.random.default_rng(seed).normal(size=(16, 3))
        parity.check_layer(LinearThenNorm, TorchLinearThenNorm, inputs, variables=kernels)


def test_check_layer_names_the_variables_of_both_sides():
    with pytest.raises(
        ValueError, match=r"values for our variables \['scale'\], got values for \['bias', 'weight'\]"
    ) as error:
        parity.check_layer(lambda rngs: nnx.LayerNorm(3, rngs=rngs), lambda: torch.nn.LayerNorm(3), np.ones((2, 3)))
    assert "PyTorch has ['bias', 'weight'], ours has ['bias', 'scale']; give `variables`" in str(error.value)


def test_check_layer_explains_a_mapping_that_fails():
    with pytest.raises(ValueError, match=r"got KeyError: 'kernel'; PyTorch has \['bias', 'weight'\], ours has"):
        parity.check_layer(
            lambda rngs: nnx.Linear(3, 2, rngs=rngs),
            lambda: torch.nn.Linear(3, 2),
            np.ones((2, 3)),
            variables=lambda variables: {"kernel": variables["kernel"]},
        )


@pytest.mark.parametrize(
    "program", ["import parity; parity.check_loss", "from parity.__main__ import main; main(['run'])"]
)
def test_without_torch_the_error_names_the_extra(program):
    hidden = "import sys; sys.modules['torch'] = None; "
    done = subprocess.run([sys.executable, "-c", hidden + program], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert re.search(
        r"expected \w+ to be installed, found none; install it with: pip install '.\[parity\]'", done.stderr
    )
    assert ("Traceback" in done.stderr) == ("check_loss" in program)
