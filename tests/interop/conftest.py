"""What several tests of this folder need."""

from collections.abc import Iterator

import jax
import pytest
import torch


@pytest.fixture
def float64() -> Iterator[None]:
    """Both sides in float64, also the scalars that PyTorch keeps in its default dtype, NAdam's `mu_product` for one."""
    torch.set_default_dtype(torch.float64)
    with jax.enable_x64(True):
        yield
    torch.set_default_dtype(torch.float32)
