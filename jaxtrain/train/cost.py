"""What a step will cost, read from its program."""

import math
from collections.abc import Iterator
from typing import Any

from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, jaxprs_in_params


def cost(program: ClosedJaxpr | Jaxpr, platform: str) -> tuple[float, bool]:
    """The multiplications of all products in a program, and whether it has convolutions that are slow in a loop.

    Args:
        program: a traced program. Each loop is counted once.
        platform: where it will run; of what depends on the platform, only that branch counts.
    """
    work, is_slow_in_loops = 0.0, False
    for equation in program.eqns:
        if equation.primitive.name == "dot_general":
            (contracted, _), _ = equation.params["dimension_numbers"]
            left: Any = equation.invars[0].aval
            work += _size(equation) * math.prod(left.shape[axis] for axis in contracted)
        if equation.primitive.name == "conv_general_dilated":
            kernel: Any = equation.invars[1].aval
            outputs = equation.params["dimension_numbers"].rhs_spec[0]
            work += _size(equation) * kernel.size / kernel.shape[outputs]
            is_slow_in_loops |= platform == "cpu" and not _is_in_eigens_layout(equation)
        for inner in _programs_within(equation, platform):
            more, also = cost(inner, platform)
            work, is_slow_in_loops = work + more, is_slow_in_loops or also
    return work, is_slow_in_loops


def _size(equation: JaxprEqn) -> float:
    product: Any = equation.outvars[0].aval
    return float(math.prod(product.shape))


def _is_in_eigens_layout(convolution: JaxprEqn) -> bool:
    """Whether XLA hands a convolution on a CPU to Eigen, inside a loop too.

    There, 32 images of 16x16 pixels and 32 channels took 2 ms in this layout and 95 to 99 ms in others (JAX 0.10.2).
    XLA changes the layout where the window has more positions than the images.
    """
    images: Any = convolution.invars[0].aval
    window: Any = convolution.invars[1].aval
    last, axes_of_window = images.ndim - 1, tuple(range(images.ndim - 2))
    of_images, of_window, of_outputs = convolution.params["dimension_numbers"]
    has_layout = of_images == of_outputs == (0, last, *range(1, last)) and of_window == (
        last,
        last - 1,
        *axes_of_window,
    )
    return has_layout and math.prod(window.shape[:-2]) <= math.prod(images.shape[1:-1])


def _programs_within(equation: JaxprEqn, platform: str) -> Iterator[ClosedJaxpr | Jaxpr]:
    """The programs that an equation runs on a platform."""
    choices = equation.params.get("branches_platforms")
    if choices is None:
        yield from jaxprs_in_params(equation.params)
        return
    branches = equation.params["branches"]
    yield next(branch for branch, names in zip(branches, choices, strict=True) if names is None or platform in names)
