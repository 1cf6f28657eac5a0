"""Cases of `nn.Embedding` and `nn.embedding`."""

import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.subjects.layer import LayerCase, Variables
from parity.subjects.loss import LossCase

ROWS, WIDTH = 7, 48
INDICES = [np.array(index) for index in ([[0, 3, 3, 6], [1, 3, 0, 0]], [[2, 2, 2, 2], [5, 4, 1, 6]])]
TABLE = normal((ROWS, WIDTH))[0]


def table_name(variables: Variables) -> Variables:
    """PyTorch's weight is our `embedding`, not a kernel."""
    return {"embedding": variables["weight"]} if "weight" in variables else variables


class GradientThroughNorm(nn.Embedding):
    """A gradient that goes through the norm."""

    def __call__(self, input):
        norm = jnp.linalg.norm(self.embedding[...], axis=-1, keepdims=True)
        return nn.embedding(input, self.embedding[...] * jnp.minimum(1, self.max_norm / (norm + 1e-7)))


class ZeroPadding(nn.Embedding):
    """Returns zeros at the padding, whatever the table says."""

    def __call__(self, input):
        return jnp.where(input[..., None] == self.padding_idx, 0, super().__call__(input))


def case(configuration: str, defects: dict[str, type[nn.Embedding] | dict], **options) -> Case:
    return LayerCase(
        component="nn.Embedding",
        configuration=configuration,
        ours=lambda rngs: nn.Embedding(ROWS, WIDTH, **options, rngs=rngs),
        reference=lambda: torch.nn.Embedding(ROWS, WIDTH, **options),
        inputs=INDICES,
        variables=table_name,
        defects={
            bug: lambda rngs, wrong=wrong: (
                nn.Embedding(ROWS, WIDTH, **wrong, rngs=rngs)
                if isinstance(wrong, dict)
                else wrong(ROWS, WIDTH, **options, rngs=rngs)
            )
            for bug, wrong in defects.items()
        },
    )


def functional_case(configuration: str, defects: dict[str, dict], **options) -> Case:
    """The function, without what PyTorch does to the table in place."""
    return LossCase(
        component="nn.embedding",
        configuration=configuration,
        ours=lambda index, table: nn.embedding(index, table, **options),
        reference=lambda index, table: F.embedding(index, table, **options),
        inputs=[(index, TABLE) for index in INDICES],
        wrt=(1,),
        defects={
            bug: lambda index, table, wrong=wrong: nn.embedding(index, table, **wrong) for bug, wrong in defects.items()
        },
    )


CASES: list[Case] = [
    case("defaults", {"padding": {"padding_idx": 3}, "gradient by frequency": {"scale_grad_by_freq": True}}),
    case(
        "padding_idx=-1",
        {"no padding": {}, "counted from the front": {"padding_idx": 1}, "zeros at the padding": ZeroPadding},
        padding_idx=-1,
    ),
    case(
        "max_norm=2",
        {
            "no limit": {},
            "gradient through the norm": GradientThroughNorm,
            "1-norm": {"max_norm": 2.0, "norm_type": 1.0},
        },
        max_norm=2.0,
    ),
    case(
        "scale_grad_by_freq, padding_idx=0",
        {"not scaled": {"padding_idx": 0}, "no padding": {"scale_grad_by_freq": True}},
        scale_grad_by_freq=True,
        padding_idx=0,
    ),
    functional_case(
        "max_norm=1.5, norm_type=1, padding_idx=2",
        {
            "2-norm": {"max_norm": 1.5, "padding_idx": 2},
            "no padding": {"max_norm": 1.5, "norm_type": 1.0},
        },
        max_norm=1.5,
        norm_type=1.0,
        padding_idx=2,
    ),
    functional_case("scale_grad_by_freq", {"not scaled": {}}, scale_grad_by_freq=True),
]
