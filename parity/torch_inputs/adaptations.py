"""Functions that are not compared as they are, and how both sides are adapted."""

import inspect
from collections.abc import Callable
from functools import partial, wraps
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from jaxtrain.interop.layouts import BILINEAR, CONVOLUTION
from parity._quiet import quietly
from parity.references.masks import masks_of, seeded
from parity.torch_inputs.comparison import bound
from parity.torch_inputs.torch_databases import Call

Pair = tuple[Callable, Callable]

DIMS: dict[str, int | None] = {
    "cosine_similarity": 1,
    "glu": -1,
    "log_softmax": None,
    "normalize": 1,
    "softmax": None,
    "softmin": None,
}
"""Functions whose `dim` is our `axis`, and its default in PyTorch."""

POOLS = ("avg_pool", "lp_pool", "max_pool", "adaptive_avg_pool", "adaptive_max_pool")


def adapted(function: str, entry: str, ours: Callable, theirs: Callable) -> Pair:
    """Both sides of a function of ours, as they are called with PyTorch's arguments."""
    if function in DIMS:
        theirs = with_axis(theirs)
    if function in (*POOLS, "conv", "conv_transpose"):
        axes = int(entry[-2])
        ours, theirs = with_examples(axes, ours), with_indices(axes, theirs)
    return ADAPTED.get(function, lambda *pair: pair)(ours, theirs)


def translated(function: str, call: Call) -> Call:
    """The arguments of a call with `axis` in place of `dim`."""
    if function not in DIMS:
        return call
    args, kwargs = call.args, dict(call.kwargs)
    dim = kwargs.pop("dim", DIMS[function])
    if len(args) > 1 and isinstance(args[1], int):
        args, dim = (args[0], *args[2:]), args[1]
    kwargs.pop("dtype", None)  # PyTorch's float64 results of float32 arrays need x64 here.
    return Call(args, kwargs | {"axis": -3 if dim is None else dim})  # Only `Softmax2d` is without.


def module_call(module: type[torch.nn.Module], constructor: Call, forward: Call) -> Call:
    """The call of a module without variables as that of a function, its constructor's arguments by name."""
    return Call(forward.args, forward.kwargs | bound(module, constructor.args, constructor.kwargs))


def as_function(module: type[torch.nn.Module]) -> Callable[..., torch.Tensor]:
    """PyTorch's module as a function of its input and its constructor's arguments."""

    @wraps(module)
    def called(input: torch.Tensor, **arguments: Any) -> torch.Tensor:
        return module(**arguments)(input)

    return called


def with_axis(theirs: Callable) -> Callable:
    """PyTorch's function with its `dim` as `axis`."""
    if getattr(theirs, "__name__", "") == "Softmax2d":
        return lambda input, *, axis: theirs(input)
    return lambda *args, axis, **kwargs: theirs(*args, dim=axis, **kwargs)


def with_examples(axes: int, ours: Callable) -> Callable:
    """Ours, also of a single example, which needs an axis of examples; values and places become one array."""

    @wraps(ours)
    def called(input: jax.Array, *args: Any, **arguments: Any) -> jax.Array:
        is_single = input.ndim == axes + 1
        result = ours(input[None] if is_single else input, *args, **arguments)
        if isinstance(result, tuple):
            result = jnp.stack([result[0], result[1].astype(result[0].dtype)], axis=1)
        return result[0] if is_single else result

    return called


def with_indices(axes: int, theirs: Callable) -> Callable:
    """PyTorch's function, whose values and places become one tensor."""

    def called(input: torch.Tensor, *args: Any, **arguments: Any) -> torch.Tensor:
        result = theirs(input, *args, **arguments)
        if not isinstance(result, tuple):
            return result
        return torch.stack([result[0], result[1].to(result[0].dtype)], dim=input.ndim - axes - 1)

    return called


def of_weight(layout: Callable[[Any], Any], ours: Callable, theirs: Callable) -> Pair:
    """Ours as a function of PyTorch's weight."""

    @wraps(ours)
    def called(*, kernel: jax.Array, **arguments: Any) -> jax.Array:
        return ours(kernel=layout(kernel), **arguments)

    return called, theirs


def below_log_softmax(ours: Callable, theirs: Callable) -> Pair:
    """Both as functions of logits, because PyTorch's gradient of `ctc_loss` includes a log-softmax."""

    @wraps(ours)
    def of_logits(log_probs: jax.Array, **arguments) -> jax.Array:
        return ours(jax.nn.log_softmax(log_probs), **arguments)

    return of_logits, lambda log_probs, *args, **kwargs: theirs(F.log_softmax(log_probs, -1), *args, **kwargs)


def with_masks(ours: Callable, theirs: Callable) -> Pair:
    """Both with the masks that PyTorch draws."""

    @wraps(ours)
    def masked(input: jax.Array, p: float = 0.5, **arguments) -> jax.Array:
        if theirs is F.dropout3d and input.ndim == 4:
            return masked(input[None], p, **arguments)[0]  # For ours, a single example needs an axis of examples.
        with masks_of(quietly(theirs), p):
            return ours(input, p, **arguments)

    return masked, partial(seeded, theirs)


def with_weights_masked(ours: Callable, theirs: Callable) -> Pair:
    """Both with the masks that PyTorch draws for the weights of the attention."""

    @wraps(ours)
    def masked(query: jax.Array, dropout_p: float = 0.0, **arguments) -> jax.Array:
        with masks_of(F.dropout, dropout_p):
            return ours(query, dropout_p=dropout_p, dropout_key=jax.random.key(0), **arguments)

    return masked, partial(seeded, theirs)


def with_slopes(ours: Callable, theirs: Callable) -> Pair:
    """Both with the slopes that PyTorch draws."""

    @wraps(ours)
    def sloped(input: jax.Array, lower: float = 1 / 8, upper: float = 1 / 3, **arguments) -> jax.Array:
        def drawn(x: Any) -> np.ndarray:
            # PyTorch draws a slope for each element that is not positive, in their order.
            signs = torch.from_numpy(np.where(np.asarray(x) > 0, 1, -1).astype(x.dtype))
            return np.abs(seeded(theirs, signs, lower, upper, True).numpy())

        def slopes(key: jax.Array, shape: tuple[int, ...], dtype: Any, *ends: float) -> jax.Array:
            return jax.pure_callback(drawn, jax.ShapeDtypeStruct(shape, dtype), jax.lax.stop_gradient(input))

        with mock.patch.object(jax.random, "uniform", slopes):
            return ours(input, lower, upper, **arguments)

    return sloped, partial(seeded, theirs)


def table_first(ours: Callable, theirs: Callable) -> Pair:
    """Both with the table before the indices, as the database has them."""

    @wraps(ours)
    def looked_up(weight: jax.Array, input: jax.Array, **arguments) -> jax.Array:
        return ours(input, weight, **arguments)

    looked_up.__signature__ = _table_first(inspect.signature(ours))  # pyright: ignore[reportAttributeAccessIssue]
    return looked_up, lambda weight, input, **arguments: theirs(input, weight, **arguments)


def _table_first(signature: inspect.Signature) -> inspect.Signature:
    first, second, *others = signature.parameters.values()
    return signature.replace(parameters=[second, first, *others])


def of_all_axes(ours: Callable, theirs: Callable) -> Pair:
    """Both with the default of `torch.flatten`."""
    return wraps(ours)(lambda input, start_dim=0, **arguments: ours(input, start_dim, **arguments)), theirs


ADAPTED: dict[str, Callable[[Callable, Callable], Pair]] = {
    "alpha_dropout": with_masks,
    "bilinear": partial(of_weight, BILINEAR["kernel"].from_torch),
    "conv": partial(of_weight, CONVOLUTION["kernel"].from_torch),
    "conv_transpose": partial(of_weight, CONVOLUTION["kernel"].from_torch),
    "ctc_loss": below_log_softmax,
    "dropout": with_masks,
    "embedding": table_first,
    "embedding_bag": table_first,
    "feature_alpha_dropout": with_masks,
    "feature_dropout": with_masks,
    "flatten": of_all_axes,
    "linear": partial(of_weight, lambda weight: weight.T),
    "rrelu": with_slopes,
    "scaled_dot_product_attention": with_weights_masked,
}
