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
from jaxtrain import nn

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
