"""Cases of `nn.Bilinear` and `nn.bilinear`."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.subjects.layer import LayerCase, Variables
from parity.subjects.loss import LossCase

FIRST, SECOND, OUT = 3, 4, 5
# Many examples: the largest makes the largest errors, and in which order its terms are added well is chance.
[X] = normal((48, FIRST + SECOND), [(0.0, 1.0)])
[KERNEL] = normal((FIRST, SECOND, OUT), [(0.0, 1.0)])
[BIAS] = normal((OUT,), [(0.0, 1.0)])


class OfOneInput(nnx.Module):
    """The layer, with both inputs side by side."""

    def __init__(self, layer: nn.Bilinear):
        self.layer = layer

    def __call__(self, input: jax.Array) -> jax.Array:
        return self.layer(input[..., :FIRST], input[..., FIRST:])


class TorchOfOneInput(torch.nn.Module):
    """The same of PyTorch's layer."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Bilinear(FIRST, SECOND, OUT)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return self.layer(input[..., :FIRST].contiguous(), input[..., FIRST:].contiguous())


class WithoutBias(nn.Bilinear):
    def __call__(self, input1, input2):
        return nn.bilinear(input1, input2, self.kernel[...])


def kernel_names(variables: Variables) -> Variables:
    return {
        name.replace("weight", "kernel"): np.moveaxis(values, 0, -1) if values.ndim == 3 else values
        for name, values in variables.items()
    }


CASES: list[Case] = [
    LayerCase(
        component="nn.Bilinear",
        ours=lambda rngs: OfOneInput(nn.Bilinear(FIRST, SECOND, OUT, rngs=rngs)),
        reference=TorchOfOneInput,
        inputs=[X],
        variables=kernel_names,
        defects={"no bias": lambda rngs: OfOneInput(WithoutBias(FIRST, SECOND, OUT, rngs=rngs))},
    ),
    LossCase(
        component="nn.bilinear",
        ours=nn.bilinear,
        reference=lambda x, y, kernel, bias: F.bilinear(x, y, kernel.permute(2, 0, 1), bias),
        inputs=[(X[:, :FIRST], X[:, FIRST:], KERNEL, BIAS)],
        wrt=(0, 1, 2, 3),
        defects={"bias twice": lambda x, y, kernel, bias: nn.bilinear(x, y, kernel, jnp.add(bias, bias))},
    ),
]
