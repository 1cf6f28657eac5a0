"""Known mistakes, planted into PyTorch's own layers: the experiments find them, and nothing else."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from parity.diff.causes import cause_of
from parity.diff.normed import normed_cause
from parity.diff.pooled import pooled_cause
from parity.diff.swapped import swapped_cause
from parity.diff.torch_part import TorchPart
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


class Gated(nn.Module):
    def __init__(self, turned):
        super().__init__()
        torch.manual_seed(1)
        self.up, self.gate = nn.Linear(3, 4), nn.Linear(3, 4)
        self.a, self.b = nn.Parameter(torch.randn(4)), nn.Parameter(torch.randn(4))
        self.turned = turned

    def forward(self, x):
        up, gate, a, b = self.up, self.gate, self.a, self.b
        up, gate, a, b = {"": (up, gate, a, b), "layers": (gate, up, a, b), "arrays": (up, gate, b, a)}[self.turned]
        return a * up(x) * F.silu(b + gate(x))


@pytest.mark.parametrize(("turned", "words"), [("layers", "'up' and 'gate'"), ("arrays", "'a' and 'b'"), ("", None)])
def test_two_parts_that_are_swapped_are_named(turned, words):
    layer, other = Gated("").double(), Gated(turned).double()
    steps = recorded(layer, lambda module, x: module(x).sin().sum(), [(np.ones((2, 3)),)], None, "float64")
    call = steps[0].calls[-1]
    planted = TorchLayer(other, call).replay()

    def same(found, gradients):
        names = planted.parameter_gradients if gradients else ()
        pairs = [(found.parameter_gradients[name], planted.parameter_gradients[name]) for name in names]
        return close(found.outputs, planted.outputs) and close([a for a, _ in pairs], [b for _, b in pairs])

    found = swapped_cause(TorchLayer(layer, call), same)
    assert (found and found.says) == (words and f"{words} are swapped")
    assert found is None or found.complete


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

    layer = TorchLayer(layer, call)
    return cause_of(layer, same) or normed_cause(layer, same) or pooled_cause(layer, same)


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
MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])


def masked_mean(x):
    mask = (MASK != 0).to(x.dtype)
    return (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)


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
    "packed": (
        lambda x, w: torch.sub(*F.linear(x, w).reshape(2, 5, 2, 2, 3).unbind(2)),
        lambda x, w: torch.sub(*F.linear(x, w).reshape(2, 5, 2, 3, 2).mT.unbind(2)),
        [(2, 5, 4)],
        [(12, 4)],
        "an axis of 12 is split into 2 x 3 x 2, PyTorch's into 2 x 2 x 3",
    ),
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
    "rms eps": (
        lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6),
        lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5),
        [(3, 4)],
        [],
        "number that is added is 1e-05",
    ),
    "std": (
        lambda x: x / (x.std(-1, keepdim=True) + 1e-5),
        lambda x: x / (x.std(-1, keepdim=True, unbiased=False) + 1e-5),
        [(3, 4)],
        [],
        "the std divides by n, PyTorch's by n - 1",
    ),
    "masked mean": (masked_mean, lambda x: x.mean(1), [(3, 4, 2)], [], "the mask is ignored: it is 1"),
    "count": (
        masked_mean,
        lambda x: masked_mean(x) * MASK.double().mean(1, keepdim=True),
        [(3, 4, 2)],
        [],
        "the sum of the mask counts what it leaves out",
    ),
    "pooled": (
        lambda x, w: F.linear(masked_mean(x), w),
        lambda x, w: F.linear(x.amax(1), w),
        [(3, 4, 2)],
        [(5, 2)],
        "the maximum over all positions goes on",
    ),
    "pixels": (
        lambda x, w: F.linear(F.adaptive_avg_pool2d(x, 1).flatten(1), w),
        lambda x, w: F.linear(x.amax((2, 3)), w),
        [(3, 2, 4, 4)],
        [(5, 2)],
        "the maximum over all pixels goes on",
    ),
    "resized": (
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear"),
        [(2, 3, 4, 4)],
        [],
        "the interpolation is bilinear; PyTorch's is bilinear, with align_corners=True",
    ),
    "normed": (
        lambda x, w: x + 0.5 * F.linear(F.layer_norm(x, (4,)), w),
        lambda x, w: F.layer_norm(x, (4,)) + 0.5 * F.linear(F.layer_norm(x, (4,)), w),
        [(3, 4)],
        [(4, 4)],
        "the residual carries the normalized input",
    ),
    "no norm": (lambda x: F.layer_norm(x, (4,)).tanh(), torch.tanh, [(3, 4)], [], "the norm is left out"),
    "positions": (
        lambda x, p: x + p,
        lambda x, p: torch.cat([x[:, :1], x[:, 1:] + p[:-1]], 1),
        [(3, 4, 2)],
        [(4, 2)],
        "begin one position too late",
    ),
    "patches": (
        lambda x, w: F.conv2d(x, w, stride=2),
        lambda x, w: F.conv2d(x, w.permute(0, 2, 3, 1).reshape(w.shape), stride=2),
        [(2, 3, 4, 4)],
        [(5, 3, 2, 2)],
        "patches are flattened channels first, the kernel channels last",
    ),
    "columns": (
        lambda x, w: F.linear(x.flatten(2).transpose(1, 2), w),
        lambda x, w: F.linear(x.mT.flatten(2).transpose(1, 2), w),
        [(2, 3, 4, 4)],
        [(5, 3)],
        "its columns come first",
    ),
    "table": (
        lambda x, w: x + F.embedding(torch.arange(3), w),
        lambda x, w: x + F.embedding(torch.arange(3), w).detach(),
        [(2, 3, 4)],
        [(3, 4)],
        "no gradient goes through embedding",
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


class Glued(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.one, self.two = nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x, residual=1):
        x = residual * x + self.one(x).tanh()
        return self.two(x)


def test_what_lies_between_two_marks_is_changed_while_the_first_stays_as_it_was():
    layer = Glued().double()
    steps = recorded(layer, lambda module, x: module(x).sin().sum(), [(np.ones((2, 3)),)], None, "float64")
    one, two, host = steps[0].calls
    part = TorchPart(TorchLayer(layer, host), two, [one])
    wanted = layer(torch.ones(2, 3).double(), residual=0).detach().numpy()
    found = cause_of(part, lambda found, gradients: close(found.outputs, [wanted]))
    assert found.says == "the first term of a sum is missing (a residual, perhaps)"
    one.outputs[0][:] = 0.0
    zero = layer.two(torch.ones(2, 3).double()).detach().numpy()
    assert close(part.replay().outputs, [zero])
