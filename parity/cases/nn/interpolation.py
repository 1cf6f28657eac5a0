"""Cases of `nn.interpolate`."""

from dataclasses import replace
from typing import Any

import jax
import torch.nn.functional as F

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.subjects.loss import LossCase

SIGNALS, IMAGES, VOLUMES = (normal(shape, [(0.0, 1.0)]) for shape in ((2, 2, 7), (1, 2, 5, 8), (1, 1, 3, 4, 5)))


def jax_resize(x):
    return jax.image.resize(x, (1, 2, 3, 5), "bicubic")


def case(inputs: list, configuration: str, defects: dict[str, Any], **options: Any) -> Case:
    """A defect is another function, or the arguments that are wrong."""
    return LossCase(
        component="nn.interpolate",
        configuration=configuration,
        ours=lambda x: nn.interpolate(x, **options, axis=1),
        reference=lambda x: F.interpolate(x, **options),
        inputs=[(x,) for x in inputs],
        defects={
            bug: (lambda x, wrong=wrong: nn.interpolate(x, **(options | wrong), axis=1))
            if isinstance(wrong, dict)
            else wrong
            for bug, wrong in defects.items()
        },
    )


CASES: list[Case] = [
    case(SIGNALS, "nearest, size=11", {"by the centre": {"mode": "nearest-exact"}}, size=11),
    case(
        IMAGES,
        "nearest-exact, scale_factor=0.6",
        {"by the start": {"mode": "nearest"}},
        scale_factor=0.6,
        mode="nearest-exact",
    ),
    case(
        SIGNALS,
        "linear, scale_factor=1.7",
        {"scale recomputed": {"recompute_scale_factor": True}},
        scale_factor=1.7,
        mode="linear",
    ),
    case(
        IMAGES,
        "bilinear, size=(3, 11)",
        {"corners aligned": {"align_corners": True}, "antialiased": {"antialias": True}},
        size=(3, 11),
        mode="bilinear",
    ),
    case(
        IMAGES,
        "bicubic, corners aligned",
        {"corners not aligned": {"align_corners": False}},
        size=(3, 11),
        mode="bicubic",
        align_corners=True,
    ),
    case(
        IMAGES,
        "bicubic, antialiased",
        {"not antialiased": {"antialias": False}, "lanczos": {"mode": "lanczos"}},
        size=(3, 5),
        mode="bicubic",
        antialias=True,
    ),
    case(IMAGES, "bicubic", {"jax.image.resize": jax_resize}, size=(3, 5), mode="bicubic"),
    replace(
        case(IMAGES, "lanczos", {"bicubic": {"mode": "bicubic"}}, size=(3, 5), mode="lanczos", antialias=True),
        torch_since="2.13",
    ),
    case(
        VOLUMES,
        "trilinear, scale_factor=2",
        {"corners aligned": {"align_corners": True}},
        scale_factor=2.0,
        mode="trilinear",
    ),
    case(SIGNALS, "area, size=4", {"linear": {"mode": "linear"}}, size=4, mode="area"),
]
