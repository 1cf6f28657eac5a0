"""Mistakes in recurrent layers."""

from collections.abc import Iterator
from itertools import permutations
from typing import Any

import torch
from torch.nn import functional

from parity.diff.intercept import FunctionCall
from parity.diff.mistakes.mistake import Mistake

GATES = {"lstm": "ifgo", "gru": "rzn"}


def recurrent(call: FunctionCall) -> Iterator[Mistake]:
    weights, has_bias = call.get("weights"), call.get("bias")
    if not isinstance(weights, list | tuple):
        return
    gates = GATES[call.name]
    size = 4 if has_bias else 2
    if has_bias:
        for index, name in ((3, "recurrent"), (2, "input")):
            yield Mistake(
                f"there is one bias: the {name} one is missing; PyTorch adds two",
                "add bias_ih and bias_hh",
                lambda call, index=index: call(
                    weights=[w * 0 if at % size == index else w for at, w in enumerate(call.get("weights"))]
                ),
            )
    for order in permutations(range(len(gates))):
        if list(order) != list(range(len(gates))):
            names = "".join(gates[at] for at in order)
            yield Mistake(
                f"the gates are taken in the order {', '.join(names)}; PyTorch's is {', '.join(gates)}",
                "reorder the rows of PyTorch's weights and biases",
                lambda call, order=order: call(weights=[_reordered(w, order) for w in call.get("weights")]),
            )
    if call.name == "lstm" and has_bias:
        yield Mistake(
            "1 is added to the bias of the forget gate",
            "do not add it",
            lambda call: call(
                weights=[w + _forget(w) if at % size == 2 else w for at, w in enumerate(call.get("weights"))]
            ),
        )
    if call.get("bidirectional"):
        yield Mistake(
            "the backward direction reads the sequence forward", "reverse the sequence and its result", _both_forward
        )
        yield Mistake(
            "the result of the backward direction is not reversed",
            "reverse it before joining",
            _not_reversed_back,
        )
        yield Mistake(
            "the two directions are joined in the other order, backward first",
            "join forward, then backward",
            _swapped_directions,
        )
    yield from _cells(call)
    if call.name == "gru":
        yield Mistake(
            "the reset gate multiplies the state before its product, PyTorch's multiplies the product and its bias",
            "n = tanh(W x + b + r · (U h + c))",
            _reset_before,
        )


ACTIVATIONS: dict[str, Any] = {
    "relu": torch.relu,
    "the identity": lambda x: x,
    "a sigmoid": torch.sigmoid,
    "hard_tanh": functional.hardtanh,
}
HARD: dict[str, Any] = {
    "the hard sigmoid of Keras, relu(0.2 x + 0.5)": lambda x: (0.2 * x + 0.5).clamp(0, 1),
    "a hard sigmoid": functional.hardsigmoid,
}


def _cells(call: FunctionCall) -> Iterator[Mistake]:
    """Cells with other activations or terms than PyTorch's."""
    where = {"inner": "the candidate", **({"outer": "the cell before the output gate"} if call.name == "lstm" else {})}
    for part, place in where.items():
        for name, function in ACTIVATIONS.items():
            yield Mistake(
                f"the activation of {place} is {name}, PyTorch's is tanh",
                "use jnp.tanh",
                lambda call, part=part, function=function: _by_hand(call, **{part: function}),
            )
    for name, function in HARD.items():
        yield Mistake(
            f"the gates go through {name}, PyTorch's through a sigmoid",
            "use jax.nn.sigmoid",
            lambda call, function=function: _by_hand(call, gate=function),
        )
    if call.name == "gru":
        yield Mistake(
            "the update gate is the other way round: it weighs the candidate, PyTorch's the old state",
            "h = (1 - z) · n + z · h",
            lambda call: _by_hand(call, turned=True),
        )
        yield Mistake(
            "there is no reset gate", "n = tanh(W x + b + r · (U h + c))", lambda call: _by_hand(call, resets=False)
        )
    yield Mistake(
        "the sequence is read backward, and the result is not reversed",
        "read it forward",
        lambda call: call(input=call.first.flip(_time(call))),
    )
    yield Mistake("the sequence is read backward", "read it forward", _backward)
    for value in (1.0,):
        yield Mistake(
            f"the first state is {value:g}, PyTorch's is 0",
            "begin with zeros",
            lambda call, value=value: call(hx=_filled(call.get("hx"), value)),
        )


def _time(call: FunctionCall) -> int:
    return 1 if call.get("batch_first") else 0


def _backward(call: FunctionCall) -> Any:
    output, *rest = call(input=call.first.flip(_time(call)))
    return output.flip(_time(call)), *rest


def _filled(state: Any, value: float) -> Any:
    if isinstance(state, tuple):
        return tuple(torch.full_like(each, value) for each in state)
    return torch.full_like(state, value)


def _by_hand(
    call: FunctionCall,
    gate: Any = torch.sigmoid,
    inner: Any = torch.tanh,
    outer: Any = torch.tanh,
    turned: bool = False,
    resets: bool = True,
) -> Any:
    """A layer of one or two directions, written out."""
    weights, hx = list(call.get("weights")), call.get("hx")
    ways = 2 if call.get("bidirectional") else 1
    size = len(weights) // ways
    if size not in (2, 4):
        raise ValueError("more than one layer")
    x = call.first.transpose(0, 1) if call.get("batch_first") else call.first
    outputs, lasts = [], []
    for way in range(ways):
        own = weights[way * size : (way + 1) * size]
        w, u = own[:2]
        b, c = own[2:] if size == 4 else (w.new_zeros(len(w)), w.new_zeros(len(w)))
        states: Any = tuple(h[way] for h in hx) if isinstance(hx, tuple) else (hx[way],)
        rows = []
        for row in x.flip(0) if way else x:
            one, two = row @ w.T + b, states[0] @ u.T + c
            if call.name == "lstm":
                i, f, g, o = (one + two).chunk(4, -1)
                cell = gate(f) * states[1] + gate(i) * inner(g)
                states = gate(o) * outer(cell), cell
            else:
                (r, z, n), (s, y, m) = one.chunk(3, -1), two.chunk(3, -1)
                new, share = inner(n + (gate(r + s) if resets else 1.0) * m), gate(z + y)
                share = 1 - share if turned else share
                states = ((1 - share) * new + share * states[0],)
            rows.append(states[0])
        output = torch.stack(rows)
        outputs.append(output.flip(0) if way else output)
        lasts.append(states)
    joined = torch.cat(outputs, -1)
    finals = [torch.stack(each) for each in zip(*lasts, strict=True)]
    return (joined.transpose(0, 1) if call.get("batch_first") else joined), *finals


def _reordered(weight: torch.Tensor, order: Any) -> torch.Tensor:
    parts = weight.chunk(len(order))
    return torch.cat([parts[at] for at in order])


def _forget(bias: torch.Tensor) -> torch.Tensor:
    one = torch.zeros_like(bias)
    quarter = len(bias) // 4
    one[quarter : 2 * quarter] = 1
    return one


def _one_way(call: FunctionCall, x: torch.Tensor, half: int) -> tuple[torch.Tensor, ...]:
    """One direction of a layer that has two, of a single layer."""
    weights = call.get("weights")
    per = len(weights) // 2
    hx = call.get("hx")
    states = tuple(h[half : half + 1] for h in hx) if isinstance(hx, tuple) else hx[half : half + 1]
    return call(input=x, hx=states, weights=weights[half * per : (half + 1) * per], bidirectional=False)


def _joined(call: FunctionCall, reverse_in: bool, reverse_out: bool, swap: bool = False) -> Any:
    x, time = call.first, 1 if call.get("batch_first") else 0
    forward = _one_way(call, x, 0)
    backward = _one_way(call, x.flip(time) if reverse_in else x, 1)
    second = backward[0].flip(time) if reverse_out else backward[0]
    pair = (second, forward[0]) if swap else (forward[0], second)
    return torch.cat(pair, -1), *(torch.cat([a, b]) for a, b in zip(forward[1:], backward[1:], strict=True))


def _both_forward(call: FunctionCall) -> Any:
    return _joined(call, False, False)


def _not_reversed_back(call: FunctionCall) -> Any:
    return _joined(call, True, False)


def _swapped_directions(call: FunctionCall) -> Any:
    return _joined(call, True, True, swap=True)


def _reset_before(call: FunctionCall) -> Any:
    x, hx, weights = call.first, call.get("hx"), list(call.get("weights"))
    if len(weights) != 4:
        raise ValueError("more than one layer or direction")
    w, u, b, c = weights
    x = x.transpose(0, 1) if call.get("batch_first") else x
    h, rows = hx[0], []
    (wr, wz, wn), (ur, uz, un) = w.chunk(3), u.chunk(3)
    (br, bz, bn), (cr, cz, cn) = b.chunk(3), c.chunk(3)
    for row in x:
        r = torch.sigmoid(row @ wr.T + br + h @ ur.T + cr)
        z = torch.sigmoid(row @ wz.T + bz + h @ uz.T + cz)
        n = torch.tanh(row @ wn.T + bn + (r * h) @ un.T + cn)
        h = (1 - z) * n + z * h
        rows.append(h)
    y = torch.stack(rows)
    return (y.transpose(0, 1) if call.get("batch_first") else y), h[None]


RULES = (({"lstm", "gru"}, (recurrent,)),)
