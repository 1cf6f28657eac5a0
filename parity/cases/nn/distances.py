"""Cases of norms of vectors, distances and angles."""

import math

import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.subjects.loss import LossCase

X, Y = normal((4, 3, 6), [(0.0, 1.0), (1.0, 2.0)])
ZERO = np.where(np.arange(3)[:, None] == 1, 0, X).astype(np.float32)
SHORT = (1e-9 * X).astype(np.float32)
MEETS_Y = np.where(np.arange(3)[:, None] == 1, Y, X).astype(np.float32)
WITHOUT_MATRICES = "donot_use_mm_for_euclid_dist"


def cdist_case(p: float, wrong: float) -> Case:
    return LossCase(
        component="nn.cdist",
        configuration=f"p={p:g}, one distance 0",
        ours=lambda x, y: nn.cdist(x, y, p),
        reference=lambda x, y: torch.cdist(x, y, p, WITHOUT_MATRICES),
        inputs=[(MEETS_Y, Y)],
        wrt=(0, 1),
        defects={f"p={wrong:g}": lambda x, y: nn.cdist(x, y, wrong)},
    )


CASES: list[Case] = [
    LossCase(
        component="nn.normalize",
        configuration="axis=1",
        ours=lambda x: nn.normalize(x, axis=1),
        reference=F.normalize,
        inputs=[(X,), (Y,)],
        defects={"last axis": nn.normalize, "1-norm": lambda x: nn.normalize(x, 1.0, axis=1)},
    ),
    LossCase(
        component="nn.normalize",
        configuration="p=3, zeros",
        ours=lambda x: nn.normalize(x, 3.0, 0.1),
        reference=lambda x: F.normalize(x, 3.0, -1, 0.1),
        inputs=[(ZERO,)],
        defects={
            "eps added": lambda x: x / ((jnp.abs(x) ** 3).sum(-1, keepdims=True) ** (1 / 3) + 0.1),
            "p=2": lambda x: nn.normalize(x, 2.0, 0.1),
        },
    ),
    LossCase(
        component="nn.pairwise_distance",
        ours=nn.pairwise_distance,
        reference=F.pairwise_distance,
        inputs=[(X, Y)],
        wrt=(0, 1),
        defects={
            "eps=0": lambda x, y: nn.pairwise_distance(x, y, eps=0.0),
            "p=1": lambda x, y: nn.pairwise_distance(x, y, 1.0),
        },
    ),
    LossCase(
        component="nn.pairwise_distance",
        configuration="p=inf, eps=0.5, keepdim",
        ours=lambda x, y: nn.pairwise_distance(x, y, math.inf, 0.5, True),
        reference=lambda x, y: F.pairwise_distance(x, y, math.inf, 0.5, True),
        inputs=[(X, Y)],
        wrt=(0, 1),
        defects={"eps outside the norm": lambda x, y: nn.pairwise_distance(x, y, math.inf, 0.0, True) + 0.5},
    ),
    LossCase(
        component="nn.cosine_similarity",
        configuration="axis=1",
        ours=lambda x, y: nn.cosine_similarity(x, y, axis=1),
        reference=F.cosine_similarity,
        inputs=[(X, Y)],
        wrt=(0, 1),
        defects={"last axis": nn.cosine_similarity},
    ),
    LossCase(
        component="nn.cosine_similarity",
        configuration="vectors shorter than eps",
        ours=nn.cosine_similarity,
        reference=lambda x, y: F.cosine_similarity(x, y, -1),
        inputs=[(SHORT, Y)],
        wrt=(0, 1),
        defects={
            "no derivative of a norm below eps": lambda x, y: jnp.sum(nn.normalize(x, 2.0, 1e-8) * nn.normalize(y), -1),
            "eps=0": lambda x, y: nn.cosine_similarity(x, y, 0.0),
        },
    ),
    cdist_case(2.0, 1.0),
    cdist_case(1.0, 2.0),
    cdist_case(math.inf, 8.0),
    cdist_case(2.5, 2.0),
]
