"""Cases of `nn.EmbeddingBag` and `nn.embedding_bag`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.cases.nn.embedding import table_name
from parity.subjects.layer import LayerCase
from parity.subjects.loss import LossCase

ROWS, WIDTH = 7, 12
BAGS = [np.array(index) for index in ([[0, 3, 3, 6], [1, 3, 0, 0]], [[2, 2, 2, 2], [5, 4, 1, 6]])]
INDICES, OFFSETS = np.array([0, 1, 1, 5, 2, 1, 3, 6]), np.array([0, 0, 2, 5])
[TABLE] = normal((ROWS, WIDTH), [(0.0, 1.0)])
[WEIGHTS] = normal(INDICES.shape, [(0.0, 1.0)])


def bag(table: jax.Array, offsets: np.ndarray, **options: Any) -> jax.Array:
    """Ours on the vector of indices."""
    return nn.embedding_bag(jnp.asarray(INDICES, jnp.int32), table, jnp.asarray(offsets, jnp.int32), **options)


def case(mode: Any, wrong: dict[str, Any], **options: Any) -> Case:
    """A layer on rows of indices."""
    named = ", ".join([f"mode={mode}", *(f"{name}={value}" for name, value in options.items())])
    return LayerCase(
        component="nn.EmbeddingBag",
        configuration=named,
        ours=lambda rngs: nn.EmbeddingBag(ROWS, WIDTH, mode=mode, **options, rngs=rngs),
        reference=lambda: torch.nn.EmbeddingBag(ROWS, WIDTH, mode=mode, **options),
        inputs=BAGS,
        variables=table_name,
        defects={
            str(wrong): lambda rngs: nn.EmbeddingBag(ROWS, WIDTH, **({"mode": mode} | options | wrong), rngs=rngs)
        },
    )


def functional_case(configuration: str, wrong: dict[str, Any], offsets: np.ndarray = OFFSETS, **options: Any) -> Case:
    """The function on one vector of indices, with a bag that is empty."""
    return LossCase(
        component="nn.embedding_bag",
        configuration=configuration,
        ours=lambda table: bag(table, offsets, **options),
        reference=lambda table: F.embedding_bag(torch.tensor(INDICES), table, torch.tensor(offsets), **options),
        inputs=[(TABLE,), (TABLE.round(),)],
        defects={str(wrong): lambda table: bag(table, offsets, **(options | wrong))},
    )


CASES: list[Case] = [
    case("mean", {"mode": "sum"}),
    case("sum", {"padding_idx": None}, padding_idx=3),
    case("max", {"mode": "mean"}),
    case("sum", {"max_norm": None}, max_norm=2.0),
    functional_case(
        "sum, include_last_offset",
        {"mode": "mean"},
        np.array([0, 0, 2, 5, 8]),
        mode="sum",
        include_last_offset=True,
    ),
    functional_case("mean, padding_idx=1", {"padding_idx": None}, mode="mean", padding_idx=1),
    functional_case("max, ties", {"mode": "mean"}, mode="max"),
    LossCase(
        component="nn.embedding_bag",
        configuration="per_sample_weights",
        ours=lambda table, weights: bag(table, OFFSETS, mode="sum", per_sample_weights=weights),
        reference=lambda table, weights: F.embedding_bag(
            torch.tensor(INDICES), table, torch.tensor(OFFSETS), mode="sum", per_sample_weights=weights
        ),
        inputs=[(TABLE, WEIGHTS)],
        wrt=(0, 1),
        defects={
            "weights ignored": lambda table, weights: bag(table, OFFSETS, mode="sum"),
        },
    ),
]
