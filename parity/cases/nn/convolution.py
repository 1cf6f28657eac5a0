"""Cases of the convolutions and the transposed convolutions."""

from collections.abc import Callable
from functools import partial

import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

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
    ours: Callable, reference: Callable, configuration: str, defects: dict[str, Callable], inputs: list, **limits
) -> Case:
    """A layer against PyTorch's, whose sizes are bound by both sides."""
    return LayerCase(
        component=f"nn.{getattr(ours, 'func', ours).__name__}",
        configuration=configuration,
        ours=lambda rngs: ours(IN, OUT, rngs=rngs),
        reference=lambda: reference(IN, OUT),
        inputs=inputs,
        defects={bug: lambda rngs, layer=layer: layer(IN, OUT, rngs=rngs) for bug, layer in defects.items()},
        variables=kernel_names,
        **limits,
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
    """The kernel as it lies, as `jax.lax.conv_transpose` takes it."""

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
        partial(nn.Conv, kernel_size=(3, 3), padding=1),
        partial(torch.nn.Conv2d, kernel_size=3, padding=1),
        "images, padding=1",
        {
            "kernel mirrored": partial(Mirrored, kernel_size=(3, 3), padding=1),
            "no bias": partial(nn.Conv, kernel_size=(3, 3), padding=1, bias=False),
            "padded by the edge": partial(nn.Conv, kernel_size=(3, 3), padding=1, padding_mode="replicate"),
        },
        TWO_AXES,
    ),
    case(
        partial(nn.Conv, kernel_size=(3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, bias=False),
        partial(
            torch.nn.Conv2d, kernel_size=(3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, bias=False
        ),
        "stride, dilation and groups",
        {
            "output channels interleaved": partial(
                OutputsInterleaved,
                kernel_size=(3, 2),
                stride=(2, 1),
                padding=(1, 0),
                dilation=(1, 2),
                groups=2,
                bias=False,
            )
        },
        TWO_AXES,
    ),
    case(
        partial(nn.Conv, kernel_size=4, padding="same"),
        partial(SilentConv1d, kernel_size=4, padding="same"),
        "padding='same' of an even kernel",
        {"odd padding first": partial(PaddedAtTheEndFirst, kernel_size=4, padding="same")},
        ONE_AXIS,
    ),
    case(
        partial(nn.Conv, kernel_size=(2, 3, 3), padding=(0, 1, 1)),
        partial(torch.nn.Conv3d, kernel_size=(2, 3, 3), padding=(0, 1, 1)),
        "three axes",
        {"no bias": partial(nn.Conv, kernel_size=(2, 3, 3), padding=(0, 1, 1), bias=False)},
        THREE_AXES,
    ),
    *(
        case(
            partial(nn.Conv, kernel_size=3, padding=2, padding_mode=mode),
            partial(torch.nn.Conv1d, kernel_size=3, padding=2, padding_mode=mode),
            f"padding_mode={mode!r}",
            {"zeros": partial(nn.Conv, kernel_size=3, padding=2)},
            ONE_AXIS,
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
        partial(nn.ConvTranspose, kernel_size=(4, 3), stride=2, padding=1),
        partial(torch.nn.ConvTranspose2d, kernel_size=(4, 3), stride=2, padding=1),
        "images, stride=2, padding=1",
        {
            "kernel not mirrored": partial(NotMirrored, kernel_size=(4, 3), stride=2, padding=1),
            "no bias": partial(nn.ConvTranspose, kernel_size=(4, 3), stride=2, padding=1, bias=False),
        },
        TWO_AXES,
    ),
    case(
        partial(nn.ConvTranspose, kernel_size=3, stride=3, padding=1, output_padding=2, groups=2, dilation=2),
        partial(torch.nn.ConvTranspose1d, kernel_size=3, stride=3, padding=1, output_padding=2, groups=2, dilation=2),
        "output padding, groups, dilation",
        {
            "groups interleaved": partial(
                GroupsInterleaved, kernel_size=3, stride=3, padding=1, output_padding=2, groups=2, dilation=2
            )
        },
        ONE_AXIS,
    ),
    case(
        partial(nn.ConvTranspose, kernel_size=(1, 2, 2), padding=(1, 0, 2), bias=False),
        partial(torch.nn.ConvTranspose3d, kernel_size=(1, 2, 2), padding=(1, 0, 2), bias=False),
        "three axes, more padding than kernel",
        {"kernel not mirrored": partial(NotMirrored, kernel_size=(1, 2, 2), padding=(1, 0, 2), bias=False)},
        THREE_AXES,
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
