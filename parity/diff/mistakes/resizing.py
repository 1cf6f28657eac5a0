"""Mistakes in resizing images."""

from collections.abc import Iterator

from torch.nn import functional as F

from parity.diff.intercept import FunctionCall
from parity.diff.mistakes.mistake import Mistake


def interpolation(call: FunctionCall) -> Iterator[Mistake]:
    mode, corners = call.get("mode", "nearest"), bool(call.get("align_corners"))
    smooth = {3: "linear", 4: "bilinear", 5: "trilinear"}[call.first.ndim]
    size = call.get("size")
    size = [int(n * s) for n, s in zip(call.first.shape[2:], _scales(call), strict=True)] if size is None else size
    variants = {
        "nearest": ("nearest", None, False),
        "nearest, at the centres of pixels as in jax.image.resize": ("nearest-exact", None, False),
        smooth: (smooth, False, False),
        f"{smooth}, with align_corners=True": (smooth, True, False),
    }
    if call.first.ndim == 4:
        variants |= {
            "bicubic": ("bicubic", False, False),
            "bicubic, with align_corners=True": ("bicubic", True, False),
            "bilinear with antialiasing, as jax.image.resize has by default": ("bilinear", False, True),
            "cubic as in jax.image.resize (a = -0.5; PyTorch's is -0.75)": ("bicubic", False, True),
        }
    given = mode + (", with align_corners=True" if corners else "")
    for name, (other, aligned, antialias) in variants.items():
        if name != given or antialias:
            yield Mistake(
                f"the interpolation is {name}; PyTorch's is {given}",
                "jax.image.resize has no align_corners; jax.image.scale_and_translate takes any grid",
                lambda call, other=other, aligned=aligned, antialias=antialias: F.interpolate(
                    call.first, size, mode=other, align_corners=aligned, antialias=antialias
                ),
            )


def _scales(call: FunctionCall) -> list[float]:
    scale, count = call.get("scale_factor"), call.first.ndim - 2
    return list(scale) if isinstance(scale, list | tuple) else [scale] * count


RULES = (({"interpolate"}, (interpolation,)),)
