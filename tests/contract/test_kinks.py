"""At their kinks the activations have the derivatives of PyTorch, and none of them hides a NaN."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from jaxtrain import nn

ELEMENTS = np.array([-4.0, -3.0, -1.0, -0.5, -0.0, 0.0, 0.1, 0.5, 1.0, 3.0, 6.0, 25.0, np.nan], np.float32)
ARGUMENTS = {"threshold": (0.1, 25.0), "prelu": (np.array([0.25], np.float32),)}
NAMES = [
    "celu",
    "elu",
    "gelu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "leaky_relu",
    "logsigmoid",
    "mish",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "silu",
    "sigmoid",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
]


@pytest.mark.parametrize("name", NAMES)
def test_values_and_derivatives(name):
    arguments = ARGUMENTS.get(name, ())
    theirs = torch.tensor(ELEMENTS, requires_grad=True)
    expected = getattr(F, name)(theirs, *(torch.tensor(a) if isinstance(a, np.ndarray) else a for a in arguments))
    expected.sum().backward()
    value, pullback = jax.vjp(lambda x: getattr(nn, name)(x, *arguments), jnp.asarray(ELEMENTS))
    np.testing.assert_allclose(value, expected.detach(), rtol=1e-5, atol=1e-6)
    derivative = pullback(jnp.ones_like(value))[0]
    # What PyTorch passes on to a NaN differs from one activation to the next.
    np.testing.assert_allclose(derivative[:-1], theirs.grad[:-1], rtol=1e-5, atol=1e-6)
