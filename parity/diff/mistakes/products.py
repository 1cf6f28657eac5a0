"""Mistakes in linear layers, convolutions, pooling and embeddings."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn import functional as F

from parity.diff.intercept import FunctionCall
from parity.diff.mistakes.mistake import Mistake

CONVOLUTIONS = {"conv1d", "conv2d", "conv3d"}
TRANSPOSED = {"conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
POOLS = {"max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d"}
PRODUCTS = {"linear", "matmul", "bmm", *CONVOLUTIONS}


def bias_left_out(call: FunctionCall) -> Iterator[Mistake]:
    if call.get("bias") is not None:
        yield Mistake("the layer has no bias, PyTorch's has one", "pass use_bias=True", lambda call: call(bias=None))


def kernel_transposed(call: FunctionCall) -> Iterator[Mistake]:
    weight = call.get("weight")
    if weight is not None and weight.ndim == 2 and weight.shape[0] == weight.shape[1]:
        yield Mistake(
            "the kernel is transposed",
            "load PyTorch's weight transposed, as interop.load_state_dict does (the Conv1D of GPT-2 is not transposed)",
            lambda call: call(weight=call.get("weight").T),
        )


def kernel_turned(call: FunctionCall) -> Iterator[Mistake]:
    axes = tuple(range(2, call.get("weight").ndim))
    yield Mistake(
        "the kernel is flipped along its spatial axes (a convolution in place of a cross-correlation)",
        "do not flip it: jax.lax.conv_general_dilated cross-correlates, as PyTorch does; for a transposed convolution "
        "pass transpose_kernel=True",
        lambda call: call(weight=call.get("weight").flip(axes)),
    )
    if len(axes) == 2 and call.get("weight").shape[-1] == call.get("weight").shape[-2]:
        yield Mistake(
            "height and width of the kernel are swapped",
            "transpose PyTorch's weight with (2, 3, 1, 0)",
            lambda call: call(weight=call.get("weight").transpose(2, 3)),
        )
    if call.get("weight").shape[0] == call.get("weight").shape[1]:
        yield Mistake(
            "input and output channels of the kernel are swapped",
            "transpose PyTorch's weight with (2, 3, 1, 0)",
            lambda call: call(weight=call.get("weight").transpose(0, 1)),
        )


def _tuple(value: Any, count: int) -> tuple[int, ...]:
    return (value,) * count if isinstance(value, int) else tuple(value) * (count if len(value) == 1 else 1)


def _same(call: FunctionCall, padding_value: float = 0.0, swap: bool = False, **changed: Any) -> torch.Tensor:
    """The call with the padding that "SAME" makes: half of it on each side, the odd one at the end."""
    x, weight = call.first, call.get("weight")
    size = tuple(weight.shape[2:]) if weight is not None else _tuple(call.get("kernel_size"), x.ndim - 2)
    stride = _tuple(call.get("stride") or (1 if weight is not None else size), len(size))
    dilation = _tuple(call.get("dilation") or 1, len(size))
    pads = []
    for length, k, s, d in zip(x.shape[2:], size, stride, dilation, strict=True):
        total = max((math.ceil(length / s) - 1) * s + d * (k - 1) + 1 - length, 0)
        low, high = total // 2, total - total // 2
        pads.append((high, low) if swap else (low, high))
    flat = [n for pair in reversed(pads) for n in pair]
    return call.function(F.pad(x, flat, value=padding_value), *_rest(call, padding=0, **changed))


def _rest(call: FunctionCall, **changed: Any) -> list[Any]:
    """The positional arguments after the first one."""
    defaults = {"bias": None, "stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    last = max((at for at, name in enumerate(call.names) if name in {*changed, "groups"}), default=0)
    return [changed.get(name, call.get(name, defaults.get(name))) for name in call.names[1 : last + 1]]


def convolution_padding(call: FunctionCall) -> Iterator[Mistake]:
    given = call.get("padding", 0)
    fix = f"pass padding={given!r} as pairs, such as ((1, 1), (1, 1)), or use jaxtrain.nn.Conv"
    yield Mistake(f'the convolution pads as "SAME" (at the end first), PyTorch pads {given} on both sides', fix, _same)
    yield Mistake(f'the convolution does not pad ("VALID"), PyTorch pads {given}', fix, lambda call: call(padding=0))
    if isinstance(given, int | tuple):
        for mode in ("reflect", "replicate", "circular"):
            pads = [n for n in reversed(_tuple(given, call.first.ndim - 2)) for _ in range(2)]
            if any(pads):
                yield Mistake(
                    f"the convolution pads in the mode {mode!r}, PyTorch with zeros",
                    'pass padding_mode="zeros"',
                    lambda call, mode=mode, pads=pads: call.function(
                        F.pad(call.first, pads, mode=mode), *_rest(call, padding=0)
                    ),
                )
        count = call.first.ndim - 2
        for padding in range(4):
            if _tuple(given, count) != (padding,) * count:
                yield Mistake(
                    f"the convolution pads {padding}, PyTorch {given}", fix, lambda call, p=padding: call(padding=p)
                )


def convolution_geometry(call: FunctionCall) -> Iterator[Mistake]:
    for name in ("stride", "dilation"):
        count = call.first.ndim - 2
        given = _tuple(call.get(name, 1), count)
        for value in (1, 2):
            if given != (value,) * count:
                yield Mistake(
                    f"the {name} of the convolution is {value}, PyTorch's is {call.get(name, 1)}",
                    f"pass PyTorch's {name}",
                    lambda call, name=name, value=value: call(**{name: value}),
                )

    def shifted(call: FunctionCall) -> torch.Tensor:
        pads = [side for _ in range(call.first.ndim - 2) for side in (-1, 1)]
        return call.function(F.pad(call.first, pads), *_rest(call))

    if any(s > 1 for s in _tuple(call.get("stride", 1), call.first.ndim - 2)):
        yield Mistake(
            "the strided convolution begins one position later than PyTorch's",
            "pad explicitly, with the same number on both sides",
            shifted,
        )


def patches(call: FunctionCall) -> Iterator[Mistake]:
    """Convolutions whose windows lie next to each other: many ports reshape the image and multiply."""
    weight = call.get("weight")
    if weight.ndim != 4 or _tuple(call.get("stride", 1), 2) != tuple(weight.shape[2:]):
        return
    out, channels, height, width = weight.shape
    orders = {
        "the image's patches are flattened channels first, the kernel channels last": lambda w: w.permute(
            0, 2, 3, 1
        ).reshape(w.shape),
        "the image's patches are flattened channels last, the kernel channels first": lambda w: w.reshape(
            out, height, width, channels
        ).permute(0, 3, 1, 2),
    }
    for says, change in orders.items():
        yield Mistake(
            says,
            "flatten both in one order, such as (height, width, channels)",
            lambda call, change=change: call(weight=change(call.get("weight"))),
        )
    if call.first.shape[2] == call.first.shape[3]:
        yield Mistake(
            "the patches are taken column by column, PyTorch's row by row",
            "take them row by row",
            lambda call: call().transpose(2, 3),
        )


def causal(call: FunctionCall) -> Iterator[Mistake]:
    """Convolutions over time that look at the past alone."""
    if call.name == "conv1d" and call.get("weight").shape[-1] > 1:
        width = call.get("weight").shape[-1] - 1
        yield Mistake(
            "the convolution is causal (all padding in front), PyTorch's pads both sides",
            "pad both sides",
            lambda call: call.function(F.pad(call.first, (width, 0)), *_rest(call, padding=0)),
        )


def pooling(call: FunctionCall) -> Iterator[Mistake]:
    kind, n = ("max", call.name[8]) if call.name.startswith("max") else ("avg", call.name[8])
    size = call.get("kernel_size")
    stride, padding = call.get("stride") or size, call.get("padding", 0)
    other = "avg" if kind == "max" else "max"
    pool = getattr(F, f"{other}_pool{n}d")
    yield Mistake(
        f"it is {other} pooling, PyTorch's is {kind} pooling",
        f"use {kind} pooling",
        lambda call: pool(call.first, size, stride, padding),
    )
    value = -math.inf if kind == "max" else 0.0
    yield Mistake(
        f'the pooling pads as "SAME" (at the end first), PyTorch pads {padding} on both sides',
        "pass padding as pairs, such as ((1, 1), (1, 1))",
        lambda call: _same_pool(call, value),
    )
    if kind == "max":
        yield Mistake(
            "the max pooling pads with zeros, PyTorch with -∞",
            "pad with -jnp.inf",
            lambda call: call.function(_padded(call.first, padding), size, stride),
        )
    else:
        counted = call.get("count_include_pad", True)
        yield Mistake(
            f"the average {'does not count' if counted else 'counts'} the padding, PyTorch's "
            f"{'does' if counted else 'does not'}",
            f"pass count_include_pad={counted}",
            lambda call: F.avg_pool2d(call.first, size, stride, padding, count_include_pad=not counted),
        )
    yield Mistake(
        "the stride of the pooling is 1, as is Flax's default; PyTorch's is the size of the window",
        f"pass strides={stride}",
        lambda call: call.function(call.first, size, 1, padding),
    )
    yield Mistake(
        "the pooling does not pad, PyTorch does",
        f"pass padding={padding}",
        lambda call: call.function(call.first, size, stride, 0),
    )


def _padded(x: torch.Tensor, padding: Any) -> torch.Tensor:
    return F.pad(x, [n for n in reversed(_tuple(padding, x.ndim - 2)) for _ in range(2)])


def _same_pool(call: FunctionCall, value: float) -> torch.Tensor:
    x, size = call.first, _tuple(call.get("kernel_size"), call.first.ndim - 2)
    stride = _tuple(call.get("stride") or size, len(size))
    pads = []
    for length, k, s in reversed(list(zip(x.shape[2:], size, stride, strict=True))):
        total = max((math.ceil(length / s) - 1) * s + k - length, 0)
        pads += [total // 2, total - total // 2]
    return call.function(F.pad(x, pads, value=value), size, stride)


def embedding(call: FunctionCall) -> Iterator[Mistake]:
    weight = call.get("weight")
    root = math.sqrt(weight.shape[1])
    yield Mistake(
        "the embedding is multiplied by √d, PyTorch's is not", "remove the factor", lambda call: call() * root
    )
    index = call.get("padding_idx")
    if index is not None and index >= 0:
        yield Mistake(
            "the padding row of the embedding gets a gradient, PyTorch's does not",
            f"pass padding_idx={index}, as jaxtrain.nn.Embedding does",
            lambda call: call(padding_idx=None),
        )
    yield Mistake(
        "the indices are shifted by one",
        "remove the offset of the indices",
        lambda call: call(input=(call.first + 1) % weight.shape[0]),
    )
    yield Mistake(
        "the indices are shifted back by one",
        "add PyTorch's offset to the indices",
        lambda call: call(input=(call.first - 1) % weight.shape[0]),
    )
    for offset in (2,):
        yield Mistake(
            f"the indices are not shifted by {offset}",
            f"add PyTorch's offset of {offset}",
            lambda call, offset=offset: call(input=(call.first - offset) % weight.shape[0]),
        )
    yield Mistake("all indices are zero", "pass the indices", lambda call: call(input=torch.zeros_like(call.first)))


def low_precision(call: FunctionCall) -> Iterator[Mistake]:
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        name = str(dtype).removeprefix("torch.")

        def changed(call: FunctionCall, dtype: torch.dtype = dtype) -> Any:
            args = [a.to(dtype) if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in call.args]
            kwargs = {k: v.to(dtype) if isinstance(v, torch.Tensor) else v for k, v in call.kwargs.items()}
            return call.function(*args, **kwargs).to(call.first.dtype)

        yield Mistake(
            f"the product is computed in {name}",
            "pass dtype=None and precision='highest', or make PyTorch round, too",
            changed,
        )


RULES = (
    ({"linear", *CONVOLUTIONS, *TRANSPOSED}, (bias_left_out,)),
    ({"linear"}, (kernel_transposed,)),
    (CONVOLUTIONS, (convolution_padding, convolution_geometry, causal, patches)),
    (CONVOLUTIONS | TRANSPOSED, (kernel_turned,)),
    (POOLS, (pooling,)),
    ({"embedding"}, (embedding,)),
    (PRODUCTS, (low_precision,)),
)
