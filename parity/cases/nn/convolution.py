"""Cases of the convolutions and the transposed convolutions."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F
from flax import nnx

from jaxtrain import nn
from parity._quiet import quietly
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.subjects.layer import LayerCase, Variables, channels_last, channels_second
from parity.subjects.loss import LossCase

IN, OUT = 4, 6
CENTRED = [(0.0, 1.0)]
ONE_AXIS, TWO_AXES, THREE_AXES = (normal(shape, CENTRED) for shape in ((8, 9, IN), (4, 8, 7, IN), (2, 5, 4, 6, IN)))


def kernel_names(variables: Variables) -> Variables:
    """PyTorch's weights, of convolution and transposed convolution alike, as our kernels."""
    return {
        "kernel" if name == "weight" else name: np.moveaxis(values, (1, 0), (-2, -1)) if values.ndim > 1 else values
        for name, values in variables.items()
    }


def case(
    layer: type,
    reference: type,
    configuration: str,
    inputs: list,
    arguments: dict[str, Any],
    defects: dict[str, type | dict[str, Any]],
) -> Case:
    """A layer against PyTorch's. A defect is another layer, or the arguments that are wrong."""

    def broken(defect: type | dict[str, Any]) -> Callable[[nnx.Rngs], nnx.Module]:
        other, wrong = (layer, defect) if isinstance(defect, dict) else (defect, {})
        return lambda rngs: other(IN, OUT, **arguments | wrong, rngs=rngs)

    return LayerCase(
        component=f"nn.{layer.__name__}",
        configuration=configuration,
        ours=lambda rngs: layer(IN, OUT, **arguments, rngs=rngs),
        reference=lambda: reference(IN, OUT, **arguments),
        inputs=inputs,
        defects={bug: broken(defect) for bug, defect in defects.items()},
        variables=kernel_names,
        to_torch=channels_second,
        from_torch=channels_last,
    )


def interleaved(output, groups):
    return output.reshape(*output.shape[:-1], groups, -1).swapaxes(-1, -2).reshape(output.shape)


class Mirrored(nn.Conv):
    """The convolution of the textbooks, with the kernel reversed."""

    def __call__(self, input):
        kernel = jnp.flip(self.kernel[...], range(len(self.kernel_size)))
        return nn.conv(input, kernel, self.bias[...], self.stride, 1, self.dilation, self.groups)


class PaddedAtTheEndFirst(nn.Conv):
    """An odd padding that begins at the start."""

    def __call__(self, input):
        padded = jnp.pad(input, ((0, 0), *((high, low) for low, high in self.padding), (0, 0)))
        return nn.conv(padded, self.kernel[...], self.bias[...])


class SilentConv1d(torch.nn.Conv1d):
    """Without PyTorch's warning that an odd padding costs it a copy."""

    def forward(self, input):
        return quietly(super().forward)(input)


class OutputsInterleaved(nn.Conv):
    """Groups of every second channel of the output."""

    def __call__(self, input):
        return interleaved(super().__call__(input), self.groups)


class NotMirrored(nn.ConvTranspose):
    """The kernel without the reversal, as `jax.lax.conv_transpose` uses it."""

    def __call__(self, input):
        kernel = jnp.flip(self.kernel[...], range(len(self.kernel_size)))
        bias = None if self.bias is None else self.bias[...]
        return nn.conv_transpose(input, kernel, bias, self.stride, self.padding, self.output_padding)


class GroupsInterleaved(nn.ConvTranspose):
    """Groups of every second channel of the output."""

    def __call__(self, input):
        return interleaved(super().__call__(input), self.groups)


def functional_case(
    component: str, configuration: str, ours: Callable, reference: Callable, shapes: list, defects: dict
) -> Case:
    """A function of input, kernel and bias, with the channels on axis 1."""
    input, kernel, bias = (normal(shape)[0] for shape in shapes)
    return LossCase(
        component=f"nn.{component}",
        configuration=configuration,
        ours=ours,
        reference=lambda input, kernel, bias: reference(input, kernel.movedim((-1, -2), (0, 1)), bias),
        inputs=[(input, kernel, bias)],
        wrt=(0, 1, 2),
        defects=defects,
    )


CONV = [
    case(
        nn.Conv,
        torch.nn.Conv2d,
        "images, padding=1",
        TWO_AXES,
        {"kernel_size": (3, 3), "padding": 1},
        {"kernel mirrored": Mirrored, "no bias": {"bias": False}, "padded by the edge": {"padding_mode": "replicate"}},
    ),
    case(
        nn.Conv,
        torch.nn.Conv2d,
        "stride, dilation and groups",
        TWO_AXES,
        {"kernel_size": (3, 2), "stride": (2, 1), "padding": (1, 0), "dilation": (1, 2), "groups": 2, "bias": False},
        {"output channels interleaved": OutputsInterleaved},
    ),
    case(
        nn.Conv,
        SilentConv1d,
        "padding='same' of an even kernel",
        ONE_AXIS,
        {"kernel_size": 4, "padding": "same"},
        {"odd padding first": PaddedAtTheEndFirst},
    ),
    case(
        nn.Conv,
        torch.nn.Conv3d,
        "three axes",
        THREE_AXES,
        {"kernel_size": (2, 3, 3), "padding": (0, 1, 1)},
        {"no bias": {"bias": False}},
    ),
    *(
        case(
            nn.Conv,
            torch.nn.Conv1d,
            f"padding_mode={mode!r}",
            ONE_AXIS,
            {"kernel_size": 3, "padding": 2, "padding_mode": mode},
            {"zeros": {"padding_mode": "zeros"}},
        )
        for mode in ("reflect", "replicate", "circular")
    ),
    functional_case(
        "conv",
        "axis=1, stride=2",
        lambda x, kernel, bias: nn.conv(x, kernel, bias, 2, 1, axis=1),
        lambda x, kernel, bias: F.conv2d(x, kernel, bias, 2, 1),
        [(4, 6, 7, 6), (3, 3, 6, 5), (5,)],
        {
            "padded at the end only": lambda x, kernel, bias: nn.conv(
                jnp.pad(x, ((0, 0), (0, 0), (0, 2), (0, 2))), kernel, bias, 2, axis=1
            ),
        },
    ),
]

TRANSPOSED = [
    case(
        nn.ConvTranspose,
        torch.nn.ConvTranspose2d,
        "images, stride=2, padding=1",
        TWO_AXES,
        {"kernel_size": (4, 3), "stride": 2, "padding": 1},
        {"kernel not mirrored": NotMirrored, "no bias": {"bias": False}},
    ),
    case(
        nn.ConvTranspose,
        torch.nn.ConvTranspose1d,
        "output padding, groups, dilation",
        ONE_AXIS,
        {"kernel_size": 3, "stride": 3, "padding": 1, "output_padding": 2, "groups": 2, "dilation": 2},
        {"groups interleaved": GroupsInterleaved},
    ),
    case(
        nn.ConvTranspose,
        torch.nn.ConvTranspose3d,
        "three axes, more padding than kernel",
        THREE_AXES,
        {"kernel_size": (1, 2, 2), "padding": (1, 0, 2), "bias": False},
        {"kernel not mirrored": NotMirrored},
    ),
    functional_case(
        "conv_transpose",
        "axis=1",
        lambda x, kernel, bias: nn.conv_transpose(x, kernel, bias, 2, 1, axis=1),
        lambda x, kernel, bias: F.conv_transpose1d(x, kernel, bias, 2, 1),
        [(4, 6, 6), (3, 5, 6), (5,)],
        {"last axis": lambda x, kernel, bias: jnp.moveaxis(nn.conv_transpose(x, kernel, bias, 2, 1), -1, 1)},
    ),
]

CASES: list[Case] = [*CONV, *TRANSPOSED]
