"""Activations that set small elements to zero."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_number
from jaxtrain.nn._elementwise import elementwise


@elementwise
def hardshrink(input: Float[Array, "*shape"], lambd: float = 0.5) -> Float[Array, "*shape"]:
    """Set elements of small magnitude to zero.

        y = 0 where |x| ≤ lambd, x elsewhere

    Args:
        input: array of any shape.
        lambd: largest magnitude that becomes zero. Default 0.5.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.hardshrink(jnp.array([-2.0, 0.5, 1.0])))
        [-2.  0.  1.]

    PyTorch: `torch.nn.functional.hardshrink` and `torch.nn.Hardshrink`.
    """
    check_number("hardshrink", "lambd", lambd)
    return jnp.where((input >= -lambd) & (input <= lambd), 0, input)


@elementwise
def softshrink(input: Float[Array, "*shape"], lambd: float = 0.5) -> Float[Array, "*shape"]:
    """Move each element towards zero by up to `lambd`.

        y = sign(x) · max(|x| - lambd, 0)

    Args:
        input: array of any shape.
        lambd: largest step, at least 0. Default 0.5.

    Returns:
        Array of the input's shape and dtype.

    Raises:
        TypeError: if the input is not floating-point.
        ValueError: if lambd is negative.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import nn
        >>> print(nn.softshrink(jnp.array([-2.0, 0.5, 1.0])))
        [-1.5  0.   0.5]

    PyTorch: `torch.nn.functional.softshrink` and `torch.nn.Softshrink`.
    """
    check_number("softshrink", "lambd", lambd, 0.0)
    shrunk = jnp.where(input > lambd, input - lambd, input + lambd)
    return jnp.where((input >= -lambd) & (input <= lambd), 0, shrunk)
