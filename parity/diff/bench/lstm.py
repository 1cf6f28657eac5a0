"""A tagger: embeddings, an LSTM in both directions, and a class for each word."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from torch.nn import functional as F

from jaxtrain import losses, nn, optim
from parity.diff.bench.planted import Planted, Subject

WORDS, WIDTH, HIDDEN, TAGS, LENGTH, BATCH = 12, 6, 5, 4, 7, 3


class TorchTagger(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.lstm = torch.nn.LSTM(WIDTH, HIDDEN, batch_first=True, bidirectional=True)
        self.head = torch.nn.Linear(2 * HIDDEN, TAGS)

    def forward(self, ids):
        return self.head(self.lstm(self.embedding(ids))[0])


class LSTM(nnx.Module):
    """Both directions, with PyTorch's weights as they are."""

    def __init__(self, options: Mapping[str, Any], rngs: nnx.Rngs):
        self.options = nnx.static(dict(options))
        for end in ("l0", "l0_reverse"):
            for name, shape in (
                ("weight_ih", (4 * HIDDEN, WIDTH)),
                ("weight_hh", (4 * HIDDEN, HIDDEN)),
                ("bias_ih", (4 * HIDDEN,)),
                ("bias_hh", (4 * HIDDEN,)),
            ):
                setattr(self, f"{name}_{end}", nnx.Param(jax.random.normal(rngs.params(), shape)))

    def __call__(self, x):
        get = self.options.get
        forward = self.one_way(x, "l0")
        backward = self.one_way(x if get("reverse") == "no" else x[:, ::-1], "l0_reverse")
        if get("reverse", "both") == "both":
            backward = backward[:, ::-1]
        pair = (backward, forward) if get("swapped") else (forward, backward)
        return jnp.concatenate(pair, -1)

    def one_way(self, x, end):
        get = self.options.get
        w, u, b, c = (getattr(self, f"{name}_{end}")[...] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
        h = s = jnp.zeros((len(x), HIDDEN), x.dtype)
        rows = []
        for row in x.swapaxes(0, 1):
            parts = jnp.split(row @ w.T + b + h @ u.T + (c if get("biases", 2) == 2 else 0), 4, axis=-1)
            i, f, g, o = (parts["ifgo".index(gate)] for gate in get("gates", "ifgo"))
            s = jax.nn.sigmoid(f + get("forget", 0.0)) * s + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * get("act", jnp.tanh)(s)
            rows.append(h)
        return jnp.stack(rows, 1)


class Tagger(nnx.Module):
    def __init__(self, options: Mapping[str, Any], rngs: nnx.Rngs):
        self.options = nnx.static(dict(options))
        self.embedding = nn.Embedding(WORDS, WIDTH, padding_idx=options.get("padding_idx", 0), rngs=rngs)
        self.lstm = LSTM(options, rngs)
        self.head = nnx.Linear(2 * HIDDEN, TAGS, rngs=rngs)

    def __call__(self, ids):
        if self.options.get("shift"):
            ids = ids + 1
        return self.head(self.lstm(self.embedding(ids)))


def torch_loss(model, ids, tags):
    return F.cross_entropy(model(ids).flatten(0, 1), tags.flatten(), ignore_index=-100)


def loss(model, ids, tags):
    return losses.cross_entropy(model(ids).reshape(-1, TAGS), tags.reshape(-1), ignore_index=-100)


def counted(model, ids, tags):
    return losses.cross_entropy(model(ids).reshape(-1, TAGS), tags.reshape(-1), reduction="sum") / tags.size


def as_class_zero(model, ids, tags):
    return losses.cross_entropy(model(ids).reshape(-1, TAGS), jnp.maximum(tags, 0).reshape(-1))


def halved(model, ids, tags):
    return loss(model, ids, tags) / 2


def shifted_tags(model, ids, tags):
    return losses.cross_entropy(model(ids)[:, :-1].reshape(-1, TAGS), tags[:, 1:].reshape(-1))


MISTAKES = (
    Planted("output before cell gate", "lstm", "gates are taken in the order", {"gates": "ifog"}),
    Planted("forget before input gate", "lstm", "gates are taken in the order", {"gates": "figo"}),
    Planted("Keras' order of gates", "lstm", "gates are taken in the order", {"gates": "igfo"}),
    Planted("one bias", "lstm", "there is one bias", {"biases": 1}),
    Planted("a forget bias", "lstm", "forget gate", {"forget": 1.0}),
    Planted("not reversed at all", "lstm", "reads the sequence forward", {"reverse": "no"}),
    Planted("not reversed back", "lstm", "result of the backward direction", {"reverse": "in"}),
    Planted("backward first", "lstm", "joined in the other order", {"swapped": True}),
    Planted("no tanh of the cell", "lstm", "", {"act": lambda x: x}),
    Planted("a gradient for padding", "embedding", "padding row", {"padding_idx": None}),
    Planted("padding counts in the mean", "loss", "mean counts them", loss=counted),
    Planted("padding is class 0", "loss", "count as class 0", loss=as_class_zero),
    Planted("half the loss", "loss", "halved", loss=halved),
    Planted("tags of the next word", "loss", "", loss=shifted_tags),
    Planted("ε inside of the root", "optimizer", "alpha is 0.9", optimizer=optim.rmsprop(1e-2, alpha=0.9)),
    Planted("momentum for RMSprop", "optimizer", "momentum is 0.9", optimizer=optim.rmsprop(1e-2, momentum=0.9)),
)

RNG = np.random.default_rng(0)
SHOWN = np.arange(LENGTH) < np.array([[7], [5], [4]])
IDS = np.where(SHOWN, RNG.integers(1, WORDS - 1, (BATCH, LENGTH)), 0)
LABELS = np.where(SHOWN, RNG.integers(0, TAGS, (BATCH, LENGTH)), -100)
SUBJECT = Subject(
    "LSTM",
    TorchTagger,
    lambda options: Tagger(options, nnx.Rngs(0)),
    (IDS, LABELS),
    (torch_loss, loss),
    (lambda module: torch.optim.RMSprop(module.parameters(), 1e-2), optim.rmsprop(1e-2)),
    MISTAKES,
)
