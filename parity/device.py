"""What is different where JAX runs on a GPU or a TPU: products of float32 are rounded to fewer digits by default."""

from contextlib import AbstractContextManager, nullcontext

import jax


def is_cpu() -> bool:
    """Whether JAX computes where PyTorch does."""
    return jax.default_backend() == "cpu"


def full_products() -> AbstractContextManager[object]:
    """Products in the precision of their arguments, as PyTorch computes them on a CPU."""
    return nullcontext() if is_cpu() else jax.default_matmul_precision("highest")


def default_products() -> AbstractContextManager[object]:
    """Products as the device computes them for users who ask for nothing: in TF32 or bfloat16."""
    return nullcontext() if is_cpu() else jax.default_matmul_precision("default")
