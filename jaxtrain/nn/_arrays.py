"""Checks and conversions of the layers' arrays."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike, DTypeLike

from jaxtrain._ground.arrays import as_array
from jaxtrain._ground.axes import along_axis
from jaxtrain._ground.checks import check_integer
from jaxtrain._ground.dtypes import at_least_float32
from jaxtrain._ground.spread import spread
from jaxtrain.nn import initializers


def as_floating(where: str, input: ArrayLike, name: str = "input") -> jax.Array:
    """`input` as an array; raise `TypeError` unless it is floating-point. Errors call it `name`."""
    input = as_array(where, name, input)
    if not jnp.issubdtype(input.dtype, jnp.floating):
        raise TypeError(f"{where}: {name} must be floating-point, got {input.dtype}; convert it, as in x.astype(float)")
    return input


def as_floating_or_none(where: str, name: str, vector: ArrayLike | None) -> jax.Array | None:
    """`as_floating` of an argument that may be left out."""
    return None if vector is None else as_floating(where, vector, name)


def canonical_axis(where: str, input: jax.Array, axis: int) -> int:
    """`axis` counted from the front; raise `ValueError` if it does not exist."""
    if not -input.ndim <= axis < input.ndim:
        raise ValueError(f"{where}: axis {axis} does not exist in an input of shape {input.shape}")
    return axis % input.ndim


def channel_axis(where: str, input: jax.Array, axis: int) -> int:
    """`axis` counted from the front; raise `ValueError` if it is the first axis, which counts examples."""
    axis = canonical_axis(where, input, axis)
    if axis == 0:
        raise ValueError(
            f"{where}: expected the examples along axis 0 and the channels along another, got an input of shape "
            f"{input.shape}; give a single example a batch axis, as in x[None]"
        )
    return axis


def check_channels(where: str, input: ArrayLike, axis: int, channels: int) -> jax.Array:
    """`input` as an array of floats; raise `ValueError` unless it has `channels` channels along `axis`."""
    input = as_floating(where, input)
    if input.shape[canonical_axis(where, input, axis)] != channels:
        raise ValueError(
            f"{where}: expected {channels} channels along axis {axis}, got an input of shape {input.shape}; if the "
            "channels lie on another axis, pass axis="
        )
    return input


def as_vector(where: str, name: str, given: ArrayLike | None, input: jax.Array, axis: int) -> jax.Array | None:
    """`given`, if it is, as an array of floats; raise `ValueError` unless it has one element per channel of `input`."""
    vector = as_floating_or_none(where, name, given)
    if vector is not None and vector.shape != (input.shape[axis],):
        raise ValueError(
            f"{where}: {name} has shape {vector.shape}, but axis {axis} of the input of shape {input.shape} holds "
            f"{input.shape[axis]} channels; if the channels lie on another axis, pass axis="
        )
    return vector


def check_output_bias(where: str, bias: jax.Array | None, features: tuple[int, ...]) -> None:
    """Raise `ValueError` unless the bias, if given, has one element per feature of the output, or one for all."""
    if bias is not None and bias.shape not in (features, (1,), ()):
        raise ValueError(f"{where}: bias must have the shape {features} of the output features, got {bias.shape}")


def value(variable: nnx.Variable | None) -> jax.Array | None:
    """The array in a variable; None for None."""
    return None if variable is None else variable[...]


def per_channel(vector: jax.Array | None, x: jax.Array, axis: int) -> jax.Array | None:
    """`vector`, if given, in the dtype of `x` and reshaped to broadcast along its `axis`."""
    return None if vector is None else along_axis(vector, axis, x.ndim).astype(x.dtype)


def add_bias(output: jax.Array, bias: jax.Array | None, axis: int) -> jax.Array:
    """Add the bias, if given, along `axis`, in at least float32; the bias's gradient is a sum in that dtype, too."""
    if bias is None:
        return output
    total = output.astype(at_least_float32(output.dtype))
    return total + spread(along_axis(bias.astype(total.dtype), axis % output.ndim, output.ndim), total)


def as_shape(where: str, normalized_shape: int | Sequence[int]) -> tuple[int, ...]:
    """`normalized_shape` as a tuple; raise unless it holds integers of at least 0, one or more."""
    is_one = np.ndim(normalized_shape) == 0
    sizes = (normalized_shape,) if is_one else tuple(normalized_shape)  # pyright: ignore[reportArgumentType]  # not one
    if not sizes:
        raise ValueError(f"{where}: normalized_shape must name at least one axis, got {normalized_shape!r}")
    return tuple(check_integer(where, "normalized_shape", size, 0) for size in sizes)


def check_dtypes(where: str, *, param_dtype: DTypeLike, dtype: DTypeLike | None = None) -> None:
    """Raise `TypeError` unless both are floating-point; integer parameters would all start at zero."""
    for name, given in (("param_dtype", param_dtype), ("dtype", jnp.float32 if dtype is None else dtype)):
        try:
            found = jnp.dtype(given)
        except TypeError:
            raise TypeError(f"{where}: {name} must be a dtype, got {given!r}; use jnp.float32") from None
        if not jnp.issubdtype(found, jnp.floating):
            raise TypeError(f"{where}: {name} must be floating-point, got {found}; use jnp.float32")


def initialized(
    where: str, name: str, initializer: Any, rngs: nnx.Rngs, shape: tuple[int, ...], dtype: DTypeLike
) -> jax.Array:
    """What an initializer draws; raise `TypeError` if it is the function that makes one, or nothing of the kind."""
    advice = f"{where}: {name} must be a function of a key, a shape and a dtype, got {initializer!r}; "
    makes_one = getattr(initializer, "__module__", "").startswith(initializers.__name__)
    if not callable(initializer) or (makes_one and "<locals>" not in initializer.__qualname__):
        raise TypeError(advice + "call what makes an initializer first, as in nn.initializers.kaiming_normal()")
    drawn: Any = initializer(rngs.params(), shape, dtype)
    # An initializer of Flax may wrap the array, to tell how it is spread over devices.
    if np.shape(getattr(drawn, "raw_value", drawn)) != shape:
        raise TypeError(advice + f"it returned {drawn!r} in place of an array of shape {shape}")
    return drawn


def check_rngs(where: str, rngs: Any) -> nnx.Rngs | nnx.RngStream:
    """`rngs`; raise `TypeError` unless it holds random streams, or is one."""
    if not isinstance(rngs, nnx.Rngs | nnx.RngStream):
        raise TypeError(f"{where}: rngs must be random streams, got {rngs!r}; pass rngs=nnx.Rngs(0)")
    return rngs


def check_flags(where: str, **flags: Any) -> None:
    """Raise `TypeError` unless each flag is True or False: the string "False" would count as true."""
    for name, flag in flags.items():
        if not isinstance(flag, bool | np.bool_):
            raise TypeError(f"{where}: {name} must be True or False, got {flag!r}")


def check_trailing_shape(
    where: str, input: jax.Array, normalized_shape: int | Sequence[int], **parameters: jax.Array | None
) -> tuple[int, ...]:
    """`normalized_shape` as a tuple; raise `ValueError` unless the input ends in it and the parameters have it."""
    shape = as_shape(where, normalized_shape)
    if input.shape[-len(shape) :] != shape:
        sizes = ", ".join(map(str, shape))
        raise ValueError(f"{where}: expected an input of shape (..., {sizes}), got {input.shape}")
    for name, parameter in parameters.items():
        if parameter is not None and parameter.shape != shape:
            raise ValueError(f"{where}: {name} must have the shape {shape} of normalized_shape, got {parameter.shape}")
    return shape


def trailing(values: jax.Array, like: jax.Array) -> jax.Array:
    """The values of the last axes, with as many axes and the dtype of `like`: strict promotion takes nothing else."""
    return values.astype(like.dtype).reshape(*(1,) * (like.ndim - values.ndim), *values.shape)
