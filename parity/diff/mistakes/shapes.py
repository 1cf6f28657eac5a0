"""Mistakes in the order of axes and parts."""

from collections.abc import Iterator
from itertools import permutations
from math import prod

import torch

from parity.diff.intercept import FunctionCall
from parity.diff.mistakes.mistake import Mistake

RESHAPES = {"view", "reshape", "flatten"}


def flatten_order(call: FunctionCall) -> Iterator[Mistake]:
    x = call.first
    if x.ndim in (3, 4, 5):
        yield Mistake(
            "the channels-last array is flattened as it is, PyTorch flattens channels first",
            "transpose to channels first before the reshape, or reorder the rows of the next kernel",
            lambda call: call.function(call.first.moveaxis(1, -1).contiguous(), *call.args[1:], **call.kwargs),
        )
        yield Mistake(
            "the array is flattened in the order of channels first, PyTorch's lies channels last",
            "flatten as it is",
            lambda call: call.function(call.first.moveaxis(-1, 1).contiguous(), *call.args[1:], **call.kwargs),
        )
    if x.ndim > 3 and x.shape[-1] == x.shape[-2]:
        yield Mistake(
            "height and width are swapped before the array is flattened (its columns come first)",
            "flatten row by row",
            lambda call: call.function(call.first.transpose(-1, -2).contiguous(), *call.args[1:], **call.kwargs),
        )


def split_axis(call: FunctionCall) -> Iterator[Mistake]:
    """One axis becomes two: heads and their size, in this order or the other."""
    x = call.first
    y = call()
    if y.ndim != x.ndim + 1:
        return
    for axis in range(x.ndim):
        same = y.shape[:axis] == x.shape[:axis] and y.shape[axis + 2 :] == x.shape[axis + 1 :]
        if same and prod(y.shape[axis : axis + 2]) == x.shape[axis]:

            def swapped(call: FunctionCall, axis: int = axis) -> torch.Tensor:
                shape = [*y.shape]
                shape[axis], shape[axis + 1] = shape[axis + 1], shape[axis]
                return call.first.reshape(shape).transpose(axis, axis + 1)

            yield Mistake(
                f"an axis of {x.shape[axis]} is split into {y.shape[axis + 1]} x {y.shape[axis]}, PyTorch's into "
                f"{y.shape[axis]} x {y.shape[axis + 1]} (heads first, then their size)",
                f"reshape to {tuple(y.shape)}",
                swapped,
            )


def split_in_three(call: FunctionCall) -> Iterator[Mistake]:
    """One axis becomes three: query, key and value; heads; their size."""
    x, y = call.first, call()
    if y.ndim != x.ndim + 2:
        return
    for axis in range(x.ndim):
        parts = tuple(y.shape[axis : axis + 3])
        if (
            y.shape[:axis] != x.shape[:axis]
            or y.shape[axis + 3 :] != x.shape[axis + 1 :]
            or prod(parts) != x.shape[axis]
        ):
            continue
        given = " x ".join(map(str, parts))
        for order in list(permutations(range(3)))[1:]:
            other = tuple(parts[at] for at in order)

            def changed(
                call: FunctionCall, axis: int = axis, order: tuple[int, ...] = order, other: tuple[int, ...] = other
            ) -> torch.Tensor:
                shape = *y.shape[:axis], *other, *y.shape[axis + 3 :]
                back = [axis + order.index(at) for at in range(3)]
                return call.first.reshape(shape).permute(*range(axis), *back, *range(axis + 3, y.ndim))

            yield Mistake(
                f"an axis of {x.shape[axis]} is split into {' x '.join(map(str, other))}, PyTorch's into {given} "
                "(query, key and value first, then heads, then their size, perhaps)",
                f"reshape to {tuple(y.shape)}",
                changed,
            )


def transposed(call: FunctionCall) -> Iterator[Mistake]:
    yield Mistake(
        "a reshape stands where PyTorch transposes axes",
        "use jnp.swapaxes or jnp.transpose, then reshape",
        lambda call: call.first.reshape(call().shape),
    )
    if call().shape == call.first.shape:
        yield Mistake("two axes are not transposed", "transpose them", lambda call: call.first.clone())


def order_of_parts(call: FunctionCall) -> Iterator[Mistake]:
    parts = call()
    if 2 <= len(parts) <= 4 and len({part.shape for part in parts}) == 1:
        orders = sorted(permutations(range(len(parts))), key=lambda order: sum(a != b for a, b in enumerate(order)))
        for order in orders[1:]:
            yield Mistake(
                f"the {len(parts)} parts are taken in the order {order}, PyTorch's is {tuple(range(len(parts)))}",
                "take them in PyTorch's order (query, key, value; or the gates i, f, g, o)",
                lambda call, order=order: tuple(call()[at] for at in order),
            )
        count = len(parts)
        axis = call.get("dim", 0)

        def strided(call: FunctionCall) -> tuple[torch.Tensor, ...]:
            x, at = call.first, axis % call.first.ndim
            return x.unflatten(at, (x.shape[at] // count, count)).unbind(at + 1)

        yield Mistake(
            f"every {count}th element makes a part, PyTorch's parts lie one after the other",
            "use jnp.split",
            strided,
        )


def position(call: FunctionCall) -> Iterator[Mistake]:
    """Indexing: the first or the last token, the shift of targets."""
    index = call.args[1] if len(call.args) > 1 else None
    parts = index if isinstance(index, tuple) else (index,)
    for at, part in enumerate(parts):
        if isinstance(part, int) and not isinstance(part, bool):
            for other in {0, -1, part + 1, part - 1} - {part}:
                yield Mistake(
                    f"the element at {other} is taken, PyTorch takes {part}",
                    f"take the one at {part}",
                    lambda call, at=at, other=other: call.function(
                        call.args[0], (*parts[:at], other, *parts[at + 1 :])
                    ),
                )
            if any(isinstance(p, slice) for p in parts[:at]) and at == 1:
                yield Mistake(
                    "the mean over the positions is taken, PyTorch takes one of them",
                    f"take the one at {part}",
                    lambda call: call.args[0].mean(1),
                )
                yield Mistake(
                    "the maximum over the positions is taken, PyTorch takes one of them",
                    f"take the one at {part}",
                    lambda call: call.args[0].amax(1),
                )
    for at, part in enumerate(parts):
        if not isinstance(part, slice) or (part.start, part.stop) not in ((None, -1), (1, None)):
            continue
        other = slice(1, None) if part.stop == -1 else slice(None, -1)
        yield Mistake(
            f"the slice is [{other.start or ''}:{other.stop or ''}], PyTorch's is "
            f"[{part.start or ''}:{part.stop or ''}] (targets that are not shifted, or the wrong way)",
            "shift the targets by one position against the logits",
            lambda call, at=at, other=other: call.function(call.args[0], (*parts[:at], other, *parts[at + 1 :])),
        )


def positions(call: FunctionCall) -> Iterator[Mistake]:
    for offset in (1, -1, 2, -2):
        yield Mistake(
            f"the positions are off by {offset}",
            "count them as PyTorch does",
            lambda call, offset=offset: call() + offset,
        )


RULES = (
    (RESHAPES, (flatten_order, split_axis, split_in_three)),
    ({"transpose", "permute", "swapaxes", "movedim"}, (transposed,)),
    ({"chunk", "split", "tensor_split", "unbind"}, (order_of_parts,)),
    ({"__getitem__"}, (position,)),
    ({"arange"}, (positions,)),
)
