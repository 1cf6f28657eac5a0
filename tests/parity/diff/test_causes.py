"""Known mistakes, planted into PyTorch's own layers: the experiments find them, and nothing else."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from parity.diff.causes import cause_of
from parity.diff.torch_side import TorchLayer, recorded


class Function(nn.Module):
    """A layer with weights that computes what it is told to."""

    def __init__(self, function, *shapes):
        super().__init__()
        torch.manual_seed(1)
        self.function = function
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(shape)) for shape in shapes)

    def forward(self, *inputs):
        return self.function(*inputs, *self.weights)


def close(a, b):
    return all(
        x is not None and y is not None and x.shape == y.shape and np.allclose(x, y, 1e-9, 1e-12)
        for x, y in zip(a, b, strict=True)
    )


def cause(theirs, ours, *inputs, shapes=()):
    """What the experiments say about a layer that computes `ours` where PyTorch computes `theirs`."""
    layer, other = (Function(function, *shapes).double() for function in (theirs, ours))
    rng = np.random.default_rng(0)
    arrays = tuple(rng.normal(size=shape) if isinstance(shape, tuple) else shape for shape in inputs)
    steps = recorded(layer, lambda module, *batch: torch.sin(module(*batch)).sum(), [arrays], None, "float64")
    call = next(call for call in steps[0].calls if call.path == "")
    planted = TorchLayer(other, call).replay()

    def same(found, gradients):
        alike = close(found.outputs, planted.outputs)
        if gradients:
            pairs = [(found.parameter_gradients[name], true) for name, true in planted.parameter_gradients.items()]
            alike = alike and close([a for a, _ in pairs], [b for _, b in pairs])
        return alike

    return cause_of(TorchLayer(layer, call), same)


def attention(scale=None, causal=True):
    return lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=causal, scale=scale)


def heads(x, w, transposed=True):
    y = F.linear(x, w).view(2, 5, 3, 4)
    return (y.transpose(1, 2) if transposed else y.reshape(2, 3, 5, 4)).tanh()


def gru(x, w, u, b, c):
    state = torch.zeros(1, len(x), 3, dtype=x.dtype)
    return torch.gru(x, state, [w, u, b, c], True, 1, 0.0, False, False, True)[0]


def lstm(x, w, u):
    state = torch.zeros(1, len(x), 3, dtype=x.dtype)
    return torch.lstm(x, (state, state), [w, u], False, 1, 0.0, False, False, True)[0]


def gru_by_hand(x, w, u, b, c, turned=False, gate=torch.sigmoid):
    h, rows = torch.zeros(len(x), 3, dtype=x.dtype), []
    for row in x.unbind(1):
        (r, z, n), (s, y, m) = (row @ w.T + b).chunk(3, -1), (h @ u.T + c).chunk(3, -1)
        new, share = torch.tanh(n + gate(r + s) * m), gate(z + y)
        h = share * new + (1 - share) * h if turned else (1 - share) * new + share * h
        rows.append(h)
    return torch.stack(rows, 1)


def lstm_by_hand(x, w, u):
    """Without the tanh of the cell."""
    h = cell = torch.zeros(len(x), 3, dtype=x.dtype)
    rows = []
    for row in x.unbind(1):
        i, f, g, o = (row @ w.T + h @ u.T).chunk(4, -1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * cell
        rows.append(h)
    return torch.stack(rows, 1)


GRU = [(2, 4, 5)], [(9, 5), (9, 3), (9,), (9,)]
ROWS = {
    "update gate": (gru, lambda *args: gru_by_hand(*args, turned=True), *GRU, "update gate is the other way round"),
    "hard gates": (gru, lambda *args: gru_by_hand(*args, gate=F.hardsigmoid), *GRU, "go through a hard sigmoid"),
    "backward": (gru, lambda x, *args: gru(x.flip(1), *args), *GRU, "read backward"),
    "cell": (lstm, lstm_by_hand, [(2, 4, 5)], [(12, 5), (12, 3)], "before the output gate is the identity"),
    "eps": (
        lambda x: F.layer_norm(x, (4,)),
        lambda x: F.layer_norm(x, (4,), eps=1e-6),
        [(3, 4)],
        [],
        "ε of the norm is 1e-06",
    ),
    "gelu": (F.gelu, lambda x: F.gelu(x, approximate="tanh"), [(3, 4)], [], "tanh approximation"),
    "bias": (F.linear, lambda x, w, b: F.linear(x, w), [(3, 4)], [(4, 4), (4,)], "has no bias"),
    "transposed": (F.linear, lambda x, w: F.linear(x, w.T), [(3, 4)], [(4, 4)], "kernel is transposed"),
    "scale": (attention(), attention(1.0), [(2, 3, 5, 4)] * 3, [], "scale of attention is 1"),
    "causal": (attention(), attention(causal=False), [(2, 3, 5, 4)] * 3, [], "causal mask is missing"),
    "heads": (heads, lambda x, w: heads(x, w, False), [(2, 5, 12)], [(12, 12)], "a reshape stands"),
    "flatten": (
        lambda x, w: F.linear(x.flatten(1), w),
        lambda x, w: F.linear(x.permute(0, 2, 3, 1).reshape(2, -1), w),
        [(2, 3, 2, 2)],
        [(4, 12)],
        "flattened as it is",
    ),
    "same": (
        lambda x, w: F.conv2d(x, w, stride=2, padding=1),
        lambda x, w: F.conv2d(F.pad(x, (0, 1, 0, 1)), w, stride=2),
        [(2, 3, 6, 6)],
        [(4, 3, 3, 3)],
        'pads as "SAME"',
    ),
    "flipped": (F.conv2d, lambda x, w: F.conv2d(x, w.flip(2, 3)), [(2, 3, 5, 5)], [(4, 3, 3, 3)], "flipped"),
    "max pool": (
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 2),
        [(2, 3, 6, 6)],
        [],
        "avg pooling",
    ),
    "order": (
        lambda x, w: torch.sub(*F.linear(x, w).chunk(2, -1)),
        lambda x, w: torch.sub(*reversed(F.linear(x, w).chunk(2, -1))),
        [(3, 4)],
        [(6, 4)],
        "order (1, 0)",
    ),
    "residual": (
        lambda x, w: x + F.linear(x, w),
        lambda x, w: F.linear(x, w),
        [(3, 4)],
        [(4, 4)],
        "first term of a sum is missing",
    ),
    "gradient": (
        lambda x, w: F.linear(x, w).tanh() + x,
        lambda x, w: F.linear(x, w).tanh().detach() + x,
        [(3, 4)],
        [(4, 4)],
        "no gradient",
    ),
    "factor": (lambda x: x * math.sqrt(8.0), lambda x: x * 1.0, [(3, 4)], [], "factor is missing"),
    "last": (lambda x: x[:, 0], lambda x: x[:, -1], [(3, 4, 2)], [], "element at -1"),
}


@pytest.mark.parametrize("row", ROWS)
def test_the_mistake_is_named(row):
    theirs, ours, inputs, shapes, words = ROWS[row]
    found = cause(theirs, ours, *inputs, shapes=shapes)
    assert words in found.says
    assert found.complete


def test_what_no_known_mistake_explains_has_no_cause():
    assert cause(torch.tanh, lambda x: torch.tanh(x) ** 3 + 0.1, (3, 4)) is None
