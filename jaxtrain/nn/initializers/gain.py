"""Gains that make up for how much nonlinearities shrink the standard deviation."""

import math
from typing import Literal, get_args

from jaxtrain._ground.checks import check_choice

Nonlinearity = Literal[
    "linear",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "sigmoid",
    "tanh",
    "relu",
    "leaky_relu",
    "selu",
]


def calculate_gain(nonlinearity: Nonlinearity, param: float | None = None) -> float:
    """Return the factor by which weights before a nonlinearity should be larger.

        1 for linear maps, convolutions and "sigmoid"
        5/3 for "tanh"
        √2 for "relu"
        √(2 / (1 + param²)) for "leaky_relu"
        3/4 for "selu"

    Args:
        nonlinearity: name of the function.
        param: slope of leaky ReLU below zero. Default None: 0.01.

    Returns:
        A Python float.

    Raises:
        ValueError: if the nonlinearity is unknown, or the slope of leaky ReLU is not a number.

    Example:
        >>> from jaxtrain import nn
        >>> nn.initializers.calculate_gain("leaky_relu", 2.0)
        0.6324555320336759

    PyTorch: `torch.nn.init.calculate_gain`.
    """
    check_choice("calculate_gain", "nonlinearity", nonlinearity, get_args(Nonlinearity))
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, int | float):
            raise ValueError(f"calculate_gain: the slope of leaky_relu must be a number, got {param!r}")
        return math.sqrt(2 / (1 + slope**2))
    return {"tanh": 5 / 3, "relu": math.sqrt(2), "selu": 3 / 4}.get(nonlinearity, 1.0)
