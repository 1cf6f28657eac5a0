"""Watch and change the functions that PyTorch's modules call."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

DROPOUTS = {"dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"}
SIGNATURES = {
    "linear": ("input", "weight", "bias"),
    "bilinear": ("input1", "input2", "weight", "bias"),
    **{f"conv{n}d": ("input", "weight", "bias", "stride", "padding", "dilation", "groups") for n in (1, 2, 3)},
    **{
        f"conv_transpose{n}d": ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
        for n in (1, 2, 3)
    },
    **{f"max_pool{n}d": ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode") for n in (1, 2, 3)},
    **{
        f"avg_pool{n}d": ("input", "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")
        for n in (1, 2, 3)
    },
    "gelu": ("input", "approximate"),
    "leaky_relu": ("input", "negative_slope"),
    "scaled_dot_product_attention": ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale"),
    "softmax": ("input", "dim"),
    "log_softmax": ("input", "dim"),
    "masked_fill": ("input", "mask", "value"),
    "lstm": ("input", "hx", "weights", "bias", "layers", "dropout", "train", "bidirectional", "batch_first"),
    "gru": ("input", "hx", "weights", "bias", "layers", "dropout", "train", "bidirectional", "batch_first"),
    "chunk": ("input", "chunks", "dim"),
    "split": ("input", "size", "dim"),
    "transpose": ("input", "dim0", "dim1"),
    "flatten": ("input", "start_dim", "end_dim"),
    "mean": ("input", "dim", "keepdim"),
    "sum": ("input", "dim", "keepdim"),
    "var": ("input", "dim"),
    "std": ("input", "dim"),
    "cat": ("tensors", "dim"),
    "cumsum": ("input", "dim"),
}
"""Of functions that are not written in Python; the other ones tell themselves."""


@dataclass(frozen=True)
class FunctionCall:
    """One call of a function of PyTorch.

    Attributes:
        name: of the function.
        function: calls it.
        args: positional arguments.
        kwargs: named ones.
        names: of the positional arguments, as far as they are known.
    """

    name: str
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    names: tuple[str, ...]

    def get(self, name: str, default: Any = None) -> Any:
        """An argument by name."""
        given = dict(zip(self.names, self.args, strict=False)) | dict(self.kwargs)
        return given.get(name, default)

    def __call__(self, **changed: Any) -> Any:
        """Make the call, with some arguments changed."""
        args = [changed.pop(name, value) for name, value in zip(self.names, self.args, strict=False)]
        return self.function(*args, *self.args[len(args) :], **{**self.kwargs, **changed})

    @property
    def first(self) -> torch.Tensor:
        return self.args[0] if self.args else next(iter(self.kwargs.values()))


Change = Callable[[FunctionCall], Any]


class Interception(TorchFunctionMode):
    """Dropout is switched off, and chosen calls are changed; all calls are counted.

    Args:
        changes: what to do instead, by the number of the call.
        watch: called with the number and each call.
    """

    def __init__(
        self, changes: Mapping[int, Change] | None = None, watch: Callable[[int, FunctionCall], None] | None = None
    ):
        super().__init__()
        self.changes = changes or {}
        self.watch = watch
        self.count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), dict(kwargs or {})
        if name in DROPOUTS:
            return args[0] if args else kwargs["input"]
        if name == "scaled_dot_product_attention":
            kwargs |= {"dropout_p": 0.0}
            args = args[:4]
        if name in {"__get__", "dim", "size", "is_floating_point"}:
            return func(*args, **kwargs)
        number, self.count = self.count, self.count + 1
        call = FunctionCall(name, lambda *a, **k: self._inside(func, *a, **k), args, kwargs, names_of(func, name))
        if self.watch:
            self.watch(number, call)
        return self.changes[number](call) if number in self.changes else call()

    def _inside(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call the function; multi-head attention, which is one function, shows what it calls."""
        if getattr(func, "__name__", "") != "multi_head_attention_forward":
            return func(*args, **kwargs)
        with _without_overrides(), self:
            return func(*args, **kwargs)


@contextmanager
def _without_overrides():
    """Let a function written in Python run its body under a mode, instead of asking the mode again."""
    name = "has_torch_function"
    original = getattr(functional, name)
    setattr(functional, name, lambda relevant: False)
    try:
        yield
    finally:
        setattr(functional, name, original)


def names_of(function: Any, name: str) -> tuple[str, ...]:
    if (plain := name.rstrip("_")) in SIGNATURES:
        return SIGNATURES[plain]
    try:
        return tuple(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ("input", "other")
