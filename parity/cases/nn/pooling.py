"""Cases of the poolings."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from jax import lax

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.subjects.loss import LossCase

CENTRED = [(0.0, 1.0)]
SIGNALS, IMAGES, VOLUMES = (normal(shape, CENTRED) for shape in ((2, 3, 9), (2, 3, 7, 6), (1, 2, 5, 4, 6)))
TIES = [image.round() for image in normal((2, 3, 7, 6), [(0.0, 1.0), (0.0, 2.0)])]
POSITIVE = [abs(image) + 0.5 for image in IMAGES]


def case(
    name: str,
    theirs: Callable[..., torch.Tensor],
    configuration: str,
    inputs: list,
    arguments: dict[str, Any],
    defects: dict[str, dict[str, Any] | Callable],
) -> Case:
    """A pooling in PyTorch's layout. A defect is another function, or the arguments that are wrong."""
    ours = getattr(nn, name)
    return LossCase(
        component=f"nn.{name}",
        configuration=configuration,
        ours=partial(ours, **arguments, axis=1),
        reference=partial(theirs, **arguments),
        inputs=[(x,) for x in inputs],
        defects={
            bug: partial(ours, **(arguments | wrong), axis=1) if isinstance(wrong, dict) else wrong
            for bug, wrong in defects.items()
        },
    )


def last_of_the_largest(x):
    return jnp.flip(nn.max_pool(jnp.flip(x, (2, 3)), 3, 1, 1, axis=1), (2, 3))


def shared_among_the_largest(x):
    """Windows as Flax users write them with `jnp.maximum`."""
    padded = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-jnp.inf)
    rows = jnp.maximum(jnp.maximum(padded[:, :, :-2], padded[:, :, 1:-1]), padded[:, :, 2:])
    return jnp.maximum(jnp.maximum(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])


def padded_with_zeros(x):
    return nn.max_pool(jnp.pad(x, ((0, 0), (0, 0), (1, 1))), 3, 2, axis=1)


def means_of_equal_windows(x):
    """Windows that do not overlap."""
    return lax.reduce_window(x, np.zeros((), x.dtype), lax.add, (1, 1, 2), (1, 1, 2), "VALID") / 2


CASES: list[Case] = [
    case("max_pool", F.max_pool2d, "images", IMAGES, {"kernel_size": 2}, {"stride=1": {"stride": 1, "kernel_size": 2}}),
    case(
        "max_pool",
        F.max_pool2d,
        "ties, kernel_size=3, stride=1, padding=1",
        TIES,
        {"kernel_size": 3, "stride": 1, "padding": 1},
        {"the last of the largest": last_of_the_largest, "derivative shared": shared_among_the_largest},
    ),
    case(
        "max_pool",
        F.max_pool1d,
        "signals below 0, kernel_size=3, stride=2, padding=1",
        [-abs(signal) for signal in SIGNALS],
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"padded with zeros": padded_with_zeros},
    ),
    case(
        "max_pool",
        F.max_pool3d,
        "volumes, dilation=2, ceil_mode",
        VOLUMES,
        {"kernel_size": 2, "stride": 2, "padding": 1, "dilation": (2, 1, 2), "ceil_mode": True},
        {"no dilation": {"dilation": 1}},
    ),
    case(
        "avg_pool",
        F.avg_pool2d,
        "images, padding=1",
        IMAGES,
        {"kernel_size": 3, "stride": 2, "padding": 1},
        {"padding not counted": {"count_include_pad": False}},
    ),
    case(
        "avg_pool",
        F.avg_pool1d,
        "signals, ceil_mode",
        SIGNALS,
        {"kernel_size": 2, "stride": 2, "ceil_mode": True},
        {"no last window": {"ceil_mode": False}, "sums halved": lambda x: nn.lp_pool(x, 1, 2, axis=1) / 2},
    ),
    case(
        "avg_pool",
        F.avg_pool3d,
        "volumes, ceil_mode, padding=1, padding not counted",
        VOLUMES,
        {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True, "count_include_pad": False},
        {"padding counted": {"count_include_pad": True}},
    ),
    case(
        "avg_pool",
        F.avg_pool2d,
        "divisor_override=3",
        IMAGES,
        {"kernel_size": 2, "divisor_override": 3},
        {"number of elements": {"divisor_override": None}},
    ),
    case(
        "lp_pool",
        F.lp_pool2d,
        "norm_type=2, ceil_mode",
        POSITIVE,
        {"norm_type": 2.0, "kernel_size": (2, 4), "ceil_mode": True},
        {"no last window": {"ceil_mode": False}, "norm_type=3": {"norm_type": 3.0}},
    ),
    case(
        "lp_pool",
        F.lp_pool1d,
        "norm_type=3, signals",
        [abs(signal) for signal in SIGNALS],
        {"norm_type": 3.0, "kernel_size": 2},
        {"stride=1": {"stride": 1}},
    ),
    case(
        "adaptive_avg_pool",
        F.adaptive_avg_pool2d,
        "output_size=(5, 3)",
        IMAGES,
        {"output_size": (5, 3)},
        {"output_size=(3, 5)": {"output_size": (3, 5)}},
    ),
    case(
        "adaptive_avg_pool",
        F.adaptive_avg_pool1d,
        "output_size=4",
        SIGNALS,
        {"output_size": 4},
        {"windows without overlap": means_of_equal_windows},
    ),
    case(
        "adaptive_max_pool",
        F.adaptive_max_pool2d,
        "ties, output_size=(4, 3)",
        TIES,
        {"output_size": (4, 3)},
        {
            "the last of the largest": lambda x: jnp.flip(
                nn.adaptive_max_pool(jnp.flip(x, (2, 3)), (4, 3), axis=1), (2, 3)
            )
        },
    ),
    case(
        "adaptive_max_pool",
        F.adaptive_max_pool3d,
        "output_size=(2, 4, 1)",
        VOLUMES,
        {"output_size": (2, 4, 1)},
        {"means": lambda x: nn.adaptive_avg_pool(x, (2, 4, 1), axis=1)},
    ),
]
