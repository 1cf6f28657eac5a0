"""The masks that PyTorch's dropouts draw, for both sides: the two frameworks draw different random numbers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import torch

TorchFunction = Callable[..., torch.Tensor]


def seeded(reference: TorchFunction, *arguments: Any, **options: Any) -> torch.Tensor:
    """The result of PyTorch's function, with the same random numbers at each call."""
    torch.manual_seed(5)
    return reference(*arguments, **options)


@contextmanager
def masks_of(reference: TorchFunction, p: float) -> Iterator[None]:
    """Inside, JAX draws the random words that lead to the mask of `reference`."""

    def words(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
        kept = seeded(reference, torch.ones(shape), p, training=True) > 0.9
        return jnp.asarray(np.where(kept.numpy(), np.iinfo(np.uint32).max, 0), dtype)

    with mock.patch.object(jax.random, "bits", words):
        yield
