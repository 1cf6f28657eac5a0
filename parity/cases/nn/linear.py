"""Cases of `nn.Linear` and `nn.linear`."""

import jax.numpy as jnp
import torch
import torch.nn.functional as F
from jax import lax

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import MOMENTS, normal
from parity.subjects.layer import LayerCase
from parity.subjects.loss import LossCase

# Many single examples, each with a kernel. PyTorch adds the products to the bias, JAX the bias to the products: which
# sums are larger, and so are rounded to larger steps, depends on the numbers.
EXAMPLES = [*normal((5,), MOMENTS * 8), *normal((32, 5))]
KERNELS, BIASES = (normal(shape, [(0.0, 1.0)] * len(EXAMPLES)) for shape in ((5, 40), (40,)))


class AddsBiasFirst(nn.Linear):
    def __call__(self, inputs, out_sharding=None):
        return jnp.matmul(inputs + self.bias[...], self.kernel[...])


class TransposedKernel(nn.Linear):
    def __call__(self, inputs, out_sharding=None):
        return nn.linear(inputs, self.kernel[...].T, self.bias[...])


def rounded_to_bfloat16(input, kernel, bias):
    # Compilers for GPUs take two casts that undo each other away.
    return nn.linear(input, lax.reduce_precision(kernel, exponent_bits=8, mantissa_bits=7), bias)


CASES: list[Case] = [
    LayerCase(
        component="nn.Linear",
        configuration="square",
        ours=lambda rngs: nn.Linear(16, 16, rngs=rngs),
        reference=lambda: torch.nn.Linear(16, 16),
        inputs=normal((32, 16)),
        defects={
            "kernel in torch's layout": lambda rngs: TransposedKernel(16, 16, rngs=rngs),
            "bias before the product": lambda rngs: AddsBiasFirst(16, 16, rngs=rngs),
            "no bias": lambda rngs: nn.Linear(16, 16, bias=False, rngs=rngs),
        },
    ),
    LayerCase(
        component="nn.Linear",
        configuration="no bias, three axes",
        ours=lambda rngs: nn.Linear(5, 3, bias=False, rngs=rngs),
        reference=lambda: torch.nn.Linear(5, 3, bias=False),
        inputs=normal((4, 8, 5)),
        defects={"half precision": lambda rngs: nn.Linear(5, 3, bias=False, dtype=jnp.bfloat16, rngs=rngs)},
    ),
    LossCase(
        component="nn.linear",
        configuration="one example and a batch",
        ours=nn.linear,
        reference=lambda input, kernel, bias: F.linear(input, kernel.T, bias),
        inputs=[*zip(EXAMPLES, KERNELS, BIASES, strict=True)],
        wrt=(0, 1, 2),
        defects={"rounded kernel": rounded_to_bfloat16, "no bias": lambda x, kernel, bias: nn.linear(x, kernel)},
    ),
]
