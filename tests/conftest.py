"""What every test process needs before JAX and PyTorch start."""

import os
from typing import Any

import jax
import pytest
import torch
from hypothesis import settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from parity._compilation import QUICK

# Eight CPU devices for what is sharded. JAX reads the flags when it makes its first array.
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8 {QUICK}"

torch.set_num_threads(1)

# The package neither promotes dtypes nor adds axes silently, whatever the program around it allows.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def promotion():
    """For tests of what becomes of arrays of different dtypes where a program lets JAX promote them."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


class OwnDraws(providers.HypothesisProvider):
    """Draws no constants from the sources imported so far: which these are depends on the tests run before."""

    _local_constants: Any = Constants()


providers.AVAILABLE_PROVIDERS["hypothesis"] = OwnDraws

# Few draws, the same ones each time; `--hypothesis-profile=long` for many that differ from run to run.
settings.register_profile("ci", max_examples=3, derandomize=True, deadline=None, database=None)
settings.register_profile("long", max_examples=500, deadline=None, database=None, print_blob=True)
settings.load_profile("ci")
