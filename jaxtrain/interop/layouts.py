"""How PyTorch stores the variables of a layer: their names, and the order of their axes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from flax import nnx

from jaxtrain import nn


def _as_it_is(array: np.ndarray) -> np.ndarray:
    return array


@dataclass(frozen=True)
class Layout:
    """How PyTorch stores one variable.

    Attributes:
        name: its name in PyTorch's layer.
        from_torch: from PyTorch's array to ours.
        to_torch: the way back.
        part: which of how many equal parts of PyTorch's array it is, along the first axis; None for all of it.
        moves: how the axes change: not at all, a matrix is transposed, or in another way.
    """

    name: str
    from_torch: Callable[[np.ndarray], np.ndarray] = _as_it_is
    to_torch: Callable[[np.ndarray], np.ndarray] = _as_it_is
    part: tuple[int, int] | None = None
    moves: Literal["nothing", "matrix", "axes"] = "nothing"


def _kernel_of_matrix(weight: np.ndarray) -> np.ndarray:
    return np.swapaxes(weight, -1, -2)


def _kernel_of_convolution(weight: np.ndarray) -> np.ndarray:
    """Move the two axes of channels from the front to the end, swapped; the same for transposed convolutions."""
    return np.moveaxis(weight, (1, 0), (-2, -1))


def _weight_of_convolution(kernel: np.ndarray) -> np.ndarray:
    return np.moveaxis(kernel, (-2, -1), (1, 0))


def _mirrored(kernel: np.ndarray) -> np.ndarray:
    """The kernel mirrored along its spatial axes."""
    return np.flip(kernel, tuple(range(kernel.ndim - 2)))


def _matrix(name: str) -> Layout:
    """A kernel that is PyTorch's weight transposed."""
    return Layout(name, _kernel_of_matrix, _kernel_of_matrix, moves="matrix")


MATRIX = {"kernel": _matrix("weight")}
CONVOLUTION = {"kernel": Layout("weight", _kernel_of_convolution, _weight_of_convolution, moves="axes")}
# PyTorch's transposed convolution mirrors the kernel, Flax's does not.
FLAX_TRANSPOSED = {
    "kernel": Layout(
        "weight",
        lambda weight: _mirrored(np.moveaxis(weight, (0, 1), (-2, -1))),
        lambda kernel: np.moveaxis(_mirrored(kernel), (-2, -1), (0, 1)),
        moves="axes",
    )
}
BILINEAR = {
    "kernel": Layout(
        "weight", lambda weight: np.moveaxis(weight, 0, -1), lambda kernel: np.moveaxis(kernel, -1, 0), moves="axes"
    )
}
TABLE = {"embedding": Layout("weight")}
FLAX_NORM = {"scale": Layout("weight"), "mean": Layout("running_mean"), "var": Layout("running_var")}


def _by_part(module: nnx.Module) -> dict[str, Layout]:
    """Where our name of a parameter has a `kernel`, PyTorch's has a `weight`, which is transposed."""
    names = [name for name, parameter in vars(module).items() if isinstance(parameter, nnx.Param) and "kernel" in name]
    return {name: _matrix(name.replace("kernel", "weight")) for name in names}


def _attention(module: nnx.MultiHeadAttention) -> dict[str, Layout]:
    """Query, key and value are one packed array in PyTorch, and the heads have no axis of their own there."""
    heads, size = module.num_heads, module.head_dim

    def of_rows(weight: np.ndarray) -> np.ndarray:
        return weight.T.reshape(weight.shape[1], heads, size)

    def of_columns(weight: np.ndarray) -> np.ndarray:
        return weight.T.reshape(heads, size, weight.shape[0])

    found = {
        "out.kernel": Layout(
            "out_proj.weight", of_columns, lambda kernel: kernel.reshape(heads * size, -1).T, moves="axes"
        ),
        "out.bias": Layout("out_proj.bias"),
    }
    for index, name in enumerate(("query", "key", "value")):
        found[f"{name}.kernel"] = Layout(
            "in_proj_weight", of_rows, lambda kernel: kernel.reshape(-1, heads * size).T, (index, 3), "axes"
        )
        found[f"{name}.bias"] = Layout(
            "in_proj_bias", lambda bias: bias.reshape(heads, size), lambda bias: bias.reshape(-1), (index, 3), "axes"
        )
    return found


def _flax_transposed(module: nnx.ConvTranspose) -> dict[str, Layout]:
    return CONVOLUTION if module.transpose_kernel else FLAX_TRANSPOSED


KINDS: tuple[tuple[tuple[type, ...], Callable[[Any], Mapping[str, Layout]]], ...] = (
    ((nn.Linear, nnx.Linear), lambda _: MATRIX),
    ((nn.Conv, nnx.Conv, nn.ConvTranspose), lambda _: CONVOLUTION),
    ((nnx.ConvTranspose,), _flax_transposed),
    ((nn.Bilinear,), lambda _: BILINEAR),
    ((nn.Embedding, nnx.Embed), lambda _: TABLE),
    ((nn.MultiheadAttention, nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell), _by_part),
    ((nnx.BatchNorm, nnx.LayerNorm, nnx.RMSNorm, nnx.GroupNorm, nnx.InstanceNorm), lambda _: FLAX_NORM),
    ((nnx.MultiHeadAttention,), _attention),
)


def layouts_of(module: nnx.Module) -> Mapping[str, Layout]:
    """The layouts of a layer's variables that PyTorch stores differently, by their path inside the layer.

    Every other variable has the same name and the same axes in PyTorch.
    """
    return next((layouts(module) for types, layouts in KINDS if isinstance(module, types)), {})
