"""Mistakes in attention."""

import math
from collections.abc import Iterator

import torch

from parity.diff.intercept import FunctionCall
from parity.diff.mistakes.mistake import Mistake


def softmax_axis(call: FunctionCall) -> Iterator[Mistake]:
    given = call.get("dim") % call.first.ndim
    for axis in range(call.first.ndim):
        if axis != given:
            yield Mistake(
                f"the softmax runs over axis {axis}, PyTorch's over axis {given}",
                f"pass axis={given - call.first.ndim}",
                lambda call, axis=axis: call(dim=axis),
            )


def softmax_scale(call: FunctionCall) -> Iterator[Mistake]:
    yield Mistake("the softmax is applied twice", "apply it once", lambda call: call.function(call(), call.get("dim")))
    yield Mistake("there is no softmax", "apply it", lambda call: call.first.clone())


def scalar_scale(call: FunctionCall) -> Iterator[Mistake]:
    """Products with a number, among them the scale of attention."""
    other = call.args[1] if len(call.args) > 1 else None
    if not isinstance(other, int | float) or not other:
        return
    word = "multiplies" if call.name.startswith("mul") else "divides"
    for label, factor in {
        "1": 1.0,
        "its square": other * other,
        "its root": math.sqrt(abs(other)),
        "its inverse": 1 / other,
    }.items():
        if factor != other:
            yield Mistake(
                f"where PyTorch {word} by {other:g}, the factor is {label}" if factor != 1 else
                f"the factor is missing: PyTorch {word} by {other:g}",
                f"{'multiply' if word == 'multiplies' else 'divide'} by {other:g}",
                lambda call, factor=factor: call.function(call.args[0], factor),
            )  # fmt: skip
    if other < 1 and word == "multiplies":
        size = round(1 / other**2)
        for heads in (2, 3, 4, 6, 8, 12, 16):
            yield Mistake(
                f"the scale is 1/√{size * heads} (the width of the model?), PyTorch's is 1/√{size}",
                f"use 1/√{size}, the size of a head",
                lambda call, width=size * heads: call.function(call.args[0], 1 / math.sqrt(width)),
            )
    for width in {call.first.shape[-1], *call.first.shape[1:2]}:
        for label, factor in {
            f"√{width}": math.sqrt(width),
            f"1/√{width}": 1 / math.sqrt(width),
            f"{width}": width,
        }.items():
            yield Mistake(
                f"where PyTorch {word} by {other:g}, the factor is {label}",
                f"use the factor {other:g}; the scale of attention is 1/√(size of a head)",
                lambda call, factor=factor: call.function(call.args[0], factor),
            )


def fused_attention(call: FunctionCall) -> Iterator[Mistake]:
    query, causal = call.get("query"), call.get("is_causal", False)
    size = query.shape[-1]
    scale = call.get("scale") or 1 / math.sqrt(size)
    heads = query.shape[1] if query.ndim == 4 else 1
    for label, value in {
        "1 (it is missing)": 1.0,
        "1/√(model width)": 1 / math.sqrt(size * heads),
        "1/(size of a head)": 1 / size,
        "applied twice": scale * scale,
        "√(size of a head)": math.sqrt(size),
    }.items():
        if value != scale:
            yield Mistake(
                f"the scale of attention is {label}, PyTorch's is 1/√(size of a head)",
                f"multiply the scores by 1/√{size}",
                lambda call, value=value: call(scale=value),
            )
    if causal:
        yield Mistake(
            "the causal mask is missing", "mask the positions that follow", lambda call: call(is_causal=False)
        )
        for label, diagonal in {"hides the position itself": -1, "shows the next position": 1}.items():

            def shifted(call: FunctionCall, diagonal: int = diagonal) -> torch.Tensor:
                q, k = call.get("query"), call.get("key")
                mask = torch.ones(q.shape[-2], k.shape[-2], dtype=torch.bool).tril(diagonal)
                return torch.nan_to_num(call(is_causal=False, attn_mask=mask))

            yield Mistake(f"the causal mask {label}", "use jnp.tril of ones", shifted)

        def after(call: FunctionCall) -> torch.Tensor:
            q, k, v = (call.get(name) for name in ("query", "key", "value"))
            weights = torch.softmax(q @ k.transpose(-1, -2) * scale, -1)
            return (weights * torch.ones(weights.shape[-2:], dtype=q.dtype).tril()) @ v

        yield Mistake("the mask is applied after the softmax", "mask the scores before the softmax", after)
    else:
        yield Mistake("there is a causal mask, PyTorch has none", "remove it", lambda call: call(is_causal=True))
    if call.get("attn_mask") is not None:
        yield Mistake("the mask of attention is ignored", "pass it", lambda call: call(attn_mask=None))
        if call.get("attn_mask").dtype == torch.bool:
            yield Mistake(
                "the mask of attention is inverted",
                "True means that a position takes part",
                lambda call: torch.nan_to_num(call(attn_mask=~call.get("attn_mask"))),
            )
    yield Mistake(
        "query and key are swapped",
        "take query, key and value in PyTorch's order",
        lambda call: call(query=call.get("key"), key=call.get("query")),
    )
    yield Mistake(
        "the softmax runs over the queries, PyTorch's over the keys", "pass axis=-1 to the softmax", _over_queries
    )


def _over_queries(call: FunctionCall) -> torch.Tensor:
    q, k, v = (call.get(name) for name in ("query", "key", "value"))
    scores = q @ k.transpose(-1, -2) * (call.get("scale") or 1 / math.sqrt(q.shape[-1]))
    if call.get("is_causal", False):
        scores = scores.masked_fill(~torch.ones(scores.shape[-2:], dtype=torch.bool).tril(), -math.inf)
    return torch.softmax(scores, -2) @ v


def mask_fill(call: FunctionCall) -> Iterator[Mistake]:
    yield Mistake("the mask is not applied", "apply it before the softmax", lambda call: call.first.clone())
    yield Mistake("the mask is inverted", "invert it", lambda call: call(mask=~call.get("mask")))
    for value in (0.0, -1.0, -100.0, -1e3, -1e4, 1e-9, -math.inf):
        if value != call.get("value"):
            yield Mistake(
                f"masked scores are {value:g}, PyTorch's are {call.get('value'):g}",
                "fill with PyTorch's value",
                lambda call, value=value: call(value=value),
            )
    mask = call.get("mask")
    if mask.ndim >= 2 and mask.shape[-1] == mask.shape[-2]:
        for label, offset in {"hides the position itself": 0, "shows the next position": 2}.items():
            yield Mistake(
                f"the causal mask {label}",
                "use jnp.tril of ones",
                lambda call, offset=offset: torch.nan_to_num(call(mask=torch.ones_like(mask).triu(offset))),
            )


def rotated(call: FunctionCall) -> Iterator[Mistake]:
    """`cat` of two halves, as in rotary embeddings."""
    tensors = call.get("tensors")
    if len(tensors) == 2:
        yield Mistake(
            "the two parts are joined in the other order",
            "swap them",
            lambda call: call(tensors=tuple(reversed(call.get("tensors")))),
        )
        if tensors[0].shape == tensors[1].shape:
            yield Mistake(
                "the two parts are interleaved, PyTorch puts one after the other",
                "use jnp.concatenate",
                lambda call: torch.stack(tuple(call.get("tensors")), -1).flatten(-2),
            )
            for sign in ((-1, 1), (1, -1), (-1, -1)):
                yield Mistake(
                    f"the signs of the two parts are multiplied by {sign}",
                    "take PyTorch's signs",
                    lambda call, sign=sign: call(
                        tensors=tuple(s * t for s, t in zip(sign, call.get("tensors"), strict=True))
                    ),
                )


RULES = (
    ({"scaled_dot_product_attention"}, (fused_attention,)),
    ({"softmax", "log_softmax"}, (softmax_axis, softmax_scale)),
    ({"mul", "div", "mul_", "div_"}, (scalar_scale,)),
    ({"masked_fill", "masked_fill_"}, (mask_fill,)),
    ({"cat"}, (rotated,)),
)
