"""An encoder like BERT: three embeddings, post-norm layers with a padding mask, a pooler and a classifier."""

import math
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

WIDTH, HEADS, LAYERS, WORDS, LENGTH, BATCH, CLASSES = 16, 4, 2, 13, 7, 3, 5
HEAD = WIDTH // HEADS


class TorchEmbeddings(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.word = torch.nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.position, self.kind = torch.nn.Embedding(LENGTH, WIDTH), torch.nn.Embedding(2, WIDTH)
        self.norm, self.dropout = torch.nn.LayerNorm(WIDTH, eps=1e-12), torch.nn.Dropout(0.1)

    def forward(self, ids, kinds):
        x = self.word(ids) + self.position(torch.arange(ids.shape[1])) + self.kind(kinds)
        return self.dropout(self.norm(x))


class TorchAttention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key = torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, WIDTH)
        self.value, self.out = torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, x, mask):
        q, k, v = (f(x).view(*x.shape[:2], HEADS, HEAD).transpose(1, 2) for f in (self.query, self.key, self.value))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out(y.transpose(1, 2).flatten(2))


class TorchLayer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.norm1 = TorchAttention(), torch.nn.LayerNorm(WIDTH, eps=1e-12)
        self.up, self.down = torch.nn.Linear(WIDTH, 2 * WIDTH), torch.nn.Linear(2 * WIDTH, WIDTH)
        self.norm2 = torch.nn.LayerNorm(WIDTH, eps=1e-12)

    def forward(self, x, mask):
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.down(F.gelu(self.up(x))))


class TorchBert(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embeddings = TorchEmbeddings()
        self.layers = torch.nn.ModuleList(TorchLayer() for _ in range(LAYERS))
        self.pooler, self.head = torch.nn.Linear(WIDTH, WIDTH), torch.nn.Linear(WIDTH, CLASSES)

    def forward(self, ids, kinds):
        mask = (ids != 0)[:, None, None, :]
        x = self.embeddings(ids, kinds)
        for layer in self.layers:
            x = layer(x, mask)
        return self.head(torch.tanh(self.pooler(x[:, 0])))


class Embeddings(nnx.Module):
    def __init__(self, options: Mapping[str, Any], rngs: nnx.Rngs):
        self.options = nnx.static(dict(options))
        padding = options.get("padding_idx", 0)
        self.word = nn.Embedding(WORDS, WIDTH, padding_idx=padding, rngs=rngs)
        self.position, self.kind = nnx.Embed(LENGTH, WIDTH, rngs=rngs), nnx.Embed(2, WIDTH, rngs=rngs)
        self.norm = nnx.LayerNorm(WIDTH, epsilon=options.get("eps", 1e-12), rngs=rngs)
        self.dropout = nnx.Dropout(options.get("rate", 0.1), rngs=rngs)

    def __call__(self, ids, kinds):
        x = self.word(ids) + self.position(jnp.arange(ids.shape[1]))
        if self.options.get("kinds", True):
            x = x + self.kind(kinds)
        return self.dropout(self.norm(x))


class Attention(nnx.Module):
    def __init__(self, options: Mapping[str, Any], rngs: nnx.Rngs):
        self.options = nnx.static(dict(options))
        self.query, self.key = nnx.Linear(WIDTH, WIDTH, rngs=rngs), nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.value, self.out = nnx.Linear(WIDTH, WIDTH, rngs=rngs), nnx.Linear(WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x, mask):
        get = self.options.get
        q, k, v = (f(x).reshape(*x.shape[:2], HEADS, HEAD).swapaxes(1, 2) for f in (self.query, self.key, self.value))
        if get("swapped"):
            q, k = k, q
        scores = q @ k.swapaxes(-1, -2) * get("scale", 1 / math.sqrt(HEAD))
        if get("mask") == "inverted":
            scores = jnp.where(mask, -jnp.inf, scores)
        elif get("mask") != "none":
            scores = jnp.where(mask, scores, -jnp.inf)
        y = jnp.nan_to_num(jax.nn.softmax(scores, axis=-1)) @ v
        return self.out(y.swapaxes(1, 2).reshape(x.shape))


class Layer(nnx.Module):
    def __init__(self, options: Mapping[str, Any], rngs: nnx.Rngs):
        self.options = nnx.static(dict(options))
        self.attention = Attention(options, rngs)
        self.norm1 = options.get("norm", nnx.LayerNorm)(WIDTH, epsilon=1e-12, rngs=rngs)
        self.up = nnx.Linear(WIDTH, 2 * WIDTH, rngs=rngs)
        self.down = nnx.Linear(2 * WIDTH, WIDTH, rngs=rngs)
        self.norm2 = nnx.LayerNorm(WIDTH, epsilon=options.get("eps2", 1e-12), rngs=rngs)

    def __call__(self, x, mask):
        gelu = self.options.get("gelu", lambda x: nnx.gelu(x, approximate=False))
        if self.options.get("form") == "pre":
            x = x + self.attention(self.norm1(x), mask)
            return x + self.down(gelu(self.up(self.norm2(x))))
        if self.options.get("form") == "bare":
            return self.norm2(self.down(gelu(self.up(self.norm1(x + self.attention(x, mask))))))
        x = self.norm1(x + self.attention(x, mask))
        return self.norm2(x + self.down(gelu(self.up(x))))


class UnbiasedNorm(nnx.Module):
    """A layer norm by hand, whose variance divides by n - 1."""

    def __init__(self, width: int, epsilon: float, rngs: nnx.Rngs):
        self.weight, self.bias = nnx.Param(jnp.ones(width)), nnx.Param(jnp.zeros(width))
        self.epsilon = epsilon

    def __call__(self, x):
        x = (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, ddof=1, keepdims=True) + self.epsilon)
        return x * self.weight[...] + self.bias[...]


class Bert(nnx.Module):
    def __init__(self, options: Mapping[str, Any], rngs: nnx.Rngs):
        self.options = nnx.static(dict(options))
        self.embeddings = Embeddings(options, rngs)
        self.layers = nnx.List([Layer(options if index == 1 else {}, rngs) for index in range(LAYERS)])
        self.pooler = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.head = nnx.Linear(WIDTH, CLASSES, dtype=options.get("head"), rngs=rngs)

    def __call__(self, ids, kinds):
        mask = (ids != 0)[:, None, None, :]
        x = self.embeddings(ids, kinds)
        for layer in self.layers:
            x = layer(x, mask)
        pooled = self.pooler(self.options.get("pool", lambda x: x[:, 0])(x))
        return self.head(self.options.get("pooled", jnp.tanh)(pooled))


WEIGHTS = (1.0, 2.0, 0.5, 1.0, 3.0)


def torch_loss(model, ids, kinds, labels):
    return F.cross_entropy(
        model(ids, kinds), labels, weight=torch.tensor(WEIGHTS, dtype=next(model.parameters()).dtype)
    )


def loss(model, ids, kinds, labels):
    return losses.cross_entropy(model(ids, kinds), labels, weight=jnp.asarray(WEIGHTS))


def unweighted(model, ids, kinds, labels):
    return losses.cross_entropy(model(ids, kinds), labels)


def by_count(model, ids, kinds, labels):
    logs = jax.nn.log_softmax(model(ids, kinds))
    picked = jnp.take_along_axis(logs, labels[:, None], 1)[:, 0]
    return -(picked * jnp.asarray(WEIGHTS)[labels]).mean()


def zero_bias(model):
    bias = model.layers[0].up.bias
    bias.set_value(jnp.zeros_like(bias.get_value()))


MISTAKES = (
    Planted("Flax's default ε", "embeddings.norm", "ε of the norm is 1e-06", {"eps": 1e-6}),
    Planted("ε of a later norm", "layers.1.norm2", "ε of the norm is 1e-05", {"eps2": 1e-5}),
    Planted("an unbiased variance", "layers.1.norm1", "unbiased", {"norm": UnbiasedNorm}),
    Planted("an RMS norm", "layers.1.norm1", "RMS norm", {"norm": nnx.RMSNorm}),
    Planted("the tanh approximation", "layers.1", "tanh approximation", {"gelu": nnx.gelu}),
    Planted("silu", "layers.1", "activation is silu", {"gelu": nnx.silu}),
    Planted("no token types", "embeddings", "second term of a sum is missing", {"kinds": False}),
    Planted("the last token is pooled", "the model itself", "element at -1", {"pool": lambda x: x[:, -1]}),
    Planted("the mean is pooled", "the model itself", "mean over the positions", {"pool": lambda x: x.mean(1)}),
    Planted("no tanh in the pooler", "the model itself", "no activation", {"pooled": lambda x: x}),
    Planted("the mask is ignored", "layers.1.attention", "mask of attention is ignored", {"mask": "none"}),
    Planted("the mask is inverted", "layers.1.attention", "mask of attention is inverted", {"mask": "inverted"}),
    Planted("no scale", "layers.1.attention", "scale of attention is 1 ", {"scale": 1.0}),
    Planted("scale by the head without a root", "layers.1.attention", "scale of attention", {"scale": 1 / HEAD}),
    Planted("query for key", "layers.1.attention", "query and key are swapped", {"swapped": True}),
    Planted("pre-norm", "layers.1", "pre-norm", {"form": "pre"}),
    Planted("no residuals", "layers.1", "residual", {"form": "bare"}),
    Planted("half precision in the head", "head", "float16", {"head": jnp.float16}),
    Planted("dropout is on", "embeddings.dropout", "dropout is left on", {"training": True}),
    Planted("no class weights", "loss", "weights of the classes are missing", loss=unweighted),
    Planted("a mean by count", "loss", "divided by the number of examples", loss=by_count),
    Planted("a bias that was not loaded", "parameter layers.0.up.bias", "it is zero", spoil=zero_bias),
    Planted("decay for Adam", "optimizer", "weight decay", optimizer=optim.adam(1e-3, weight_decay=0.01)),
)

RNG = np.random.default_rng(0)
IDS = RNG.integers(1, WORDS, (BATCH, LENGTH)) * (np.arange(LENGTH) < np.array([[7], [5], [4]]))
SUBJECT = Subject(
    "BERT",
    TorchBert,
    lambda options: Bert(options, nnx.Rngs(0)),
    (IDS, RNG.integers(0, 2, (BATCH, LENGTH)), np.array([1, 4, 2])),
    (torch_loss, loss),
    (lambda module: torch.optim.Adam(module.parameters(), 1e-3), optim.adam(1e-3)),
    MISTAKES,
    evaluation=True,
)
