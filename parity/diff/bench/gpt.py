"""GPT-2: token and position embeddings, pre-norm blocks with causal attention, a tied head."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx
from torch.nn import functional as F

from jaxtrain import losses, optim, schedules
from parity.diff.bench.planted import Planted, Subject
from parity.diff.recipe import Recipe

WIDTH, HEADS, LAYERS, WORDS, LENGTH, BATCH = 16, 2, 2, 11, 6, 3


class TorchAttention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.c_attn = torch.nn.Linear(WIDTH, 3 * WIDTH)
        self.c_proj = torch.nn.Linear(WIDTH, WIDTH)
        self.register_buffer("mask", torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1), persistent=False)

    def forward(self, x):
        q, k, v = (
            part.view(*x.shape[:2], HEADS, WIDTH // HEADS).transpose(1, 2)
            for part in self.c_attn(x).split(WIDTH, dim=2)
        )
        scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(WIDTH // HEADS))
        scores = scores.masked_fill(self.mask, -math.inf)
        y = torch.softmax(scores, dim=-1) @ v
        return self.c_proj(y.transpose(1, 2).reshape(x.shape))


class TorchMLP(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.c_fc, self.c_proj = torch.nn.Linear(WIDTH, 2 * WIDTH), torch.nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, x):
        return self.c_proj(F.gelu(self.c_fc(x), approximate="tanh"))


class TorchBlock(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.attn = torch.nn.LayerNorm(WIDTH), TorchAttention()
        self.ln_2, self.mlp = torch.nn.LayerNorm(WIDTH), TorchMLP()

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class TorchGPT(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = torch.nn.Embedding(WORDS, WIDTH), torch.nn.Embedding(LENGTH + 1, WIDTH)
        self.h = torch.nn.ModuleList(TorchBlock() for _ in range(LAYERS))
        self.ln_f = torch.nn.LayerNorm(WIDTH)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.h:
            x = block(x)
        return self.ln_f(x) @ self.wte.weight.T


class Attention(nnx.Module):
    def __init__(self, options: Mapping[str, Any], rngs: nnx.Rngs):
        self.options = nnx.static(dict(options))
        self.c_attn = nnx.Linear(WIDTH, 3 * WIDTH, rngs=rngs)
        self.c_proj = nnx.Linear(WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x):
        get = self.options.get
        size = WIDTH // HEADS
        parts = jnp.split(self.c_attn(x), 3, axis=-1)
        q, k, v = (self.heads(parts[at]) for at in get("parts", (0, 1, 2)))
        scores = q @ k.swapaxes(-1, -2) * get("scale", 1 / math.sqrt(size))
        shown = jnp.tril(jnp.ones(scores.shape[-2:], bool), get("diagonal", 0))
        if get("mask", "before") == "before":
            scores = jnp.where(shown, scores, get("fill", -jnp.inf))
        weights = jax.nn.softmax(scores, axis=get("softmax", -1))
        y = weights @ v
        if get("merge", "transpose") == "transpose":
            y = y.swapaxes(1, 2)
        return self.c_proj(y.reshape(x.shape))

    def heads(self, x):
        size = WIDTH // HEADS
        if self.options.get("heads") == "last":
            return x.reshape(*x.shape[:2], size, HEADS).transpose(0, 3, 1, 2)
        if self.options.get("heads") == "reshape":
            return x.reshape(x.shape[0], HEADS, x.shape[1], size)
        return x.reshape(*x.shape[:2], HEADS, size).swapaxes(1, 2)


class MLP(nnx.Module):
    def __init__(self, options: Mapping[str, Any], rngs: nnx.Rngs):
        self.options = nnx.static(dict(options))
        self.c_fc = nnx.Linear(WIDTH, 2 * WIDTH, dtype=options.get("dtype"), rngs=rngs)
        self.c_proj = nnx.Linear(2 * WIDTH, WIDTH, use_bias=options.get("bias", True), rngs=rngs)

    def __call__(self, x):
        return self.c_proj(self.options.get("gelu", nnx.gelu)(self.c_fc(x)))


class Block(nnx.Module):
    def __init__(self, options: Mapping[str, Any], rngs: nnx.Rngs):
        self.options = nnx.static(dict(options))
        self.ln_1 = nnx.LayerNorm(WIDTH, epsilon=options.get("eps", 1e-5), rngs=rngs)
        self.attn = Attention(options, rngs)
        self.ln_2 = nnx.LayerNorm(WIDTH, epsilon=1e-5, rngs=rngs)
        self.mlp = MLP(options, rngs)

    def __call__(self, x):
        form = self.options.get("form", "pre")
        if form == "post":
            x = self.ln_1(x + self.attn(x))
            return self.ln_2(x + self.mlp(x))
        if form == "parallel":
            return x + self.attn(self.ln_1(x)) + self.mlp(self.ln_2(x))
        if form == "bare":
            x = self.attn(self.ln_1(x))
        elif form == "normed":
            h = self.ln_1(x)
            x = h + self.attn(h)
            h = self.ln_2(x)
            return h + self.mlp(h)
        else:
            x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nnx.Module):
    def __init__(self, options: Mapping[str, Any], rngs: nnx.Rngs):
        # Mistakes are planted in the first block.
        self.options = nnx.static(dict(options))
        self.wte, self.wpe = nnx.Embed(WORDS, WIDTH, rngs=rngs), nnx.Embed(LENGTH + 1, WIDTH, rngs=rngs)
        self.h = nnx.List([Block(options if index == 0 else {}, rngs) for index in range(LAYERS)])
        self.ln_f = nnx.LayerNorm(WIDTH, epsilon=options.get("final_eps", 1e-5), rngs=rngs)

    def __call__(self, ids):
        get = self.options.get
        x = self.wte(ids) * get("embedding_scale", 1.0)
        if get("position", 0) is not None:
            places = self.wpe(jnp.arange(ids.shape[1]) + get("position", 0))
            x = x + (jax.lax.stop_gradient(places) if get("stopped") else places)
        for block in self.h:
            x = block(x)
        x = self.ln_f(x) if get("final", True) else x
        return x @ self.wte.embedding[...].T


def torch_loss(model, ids):
    return F.cross_entropy(model(ids)[:, :-1].reshape(-1, WORDS), ids[:, 1:].reshape(-1))


def loss(model, ids):
    return losses.cross_entropy(model(ids)[:, :-1].reshape(-1, WORDS), ids[:, 1:].reshape(-1))


def unshifted(model, ids):
    return losses.cross_entropy(model(ids)[:, 1:].reshape(-1, WORDS), ids[:, 1:].reshape(-1))


def summed(model, ids):
    return losses.cross_entropy(model(ids)[:, :-1].reshape(-1, WORDS), ids[:, 1:].reshape(-1), reduction="sum")


def doubled(model, ids):
    probabilities = jax.nn.softmax(model(ids)[:, :-1].reshape(-1, WORDS))
    return losses.cross_entropy(probabilities, ids[:, 1:].reshape(-1))


def torch_optimizer(module):
    decayed = [p for p in module.parameters() if p.ndim > 1]
    rest = [p for p in module.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95))


def torch_schedule(optimizer):
    return torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=4)


RATE = schedules.linear_lr(1e-2, start_factor=0.5, total_iters=4)


def optimizer(lr: Any = RATE, masked: bool = True, make: Any = optim.adamw, clip: bool = True, **options: Any) -> Any:
    """AdamW that decays matrices alone, after clipping."""
    options = {"betas": (0.9, 0.95), **options}

    def labels(params):
        return jax.tree.map(lambda p: "decayed" if p.ndim > 1 or not masked else "rest", params)

    groups: Any = {"decayed": make(lr, weight_decay=0.1, **options), "rest": make(lr, weight_decay=0.0, **options)}
    both = optax.multi_transform(groups, labels)
    return optax.chain(optim.clip_grad_norm(0.5), both) if clip else both


def transposed(model):
    kernel = model.h[0].attn.c_proj.kernel
    kernel.set_value(kernel.get_value().T)


def reordered(model):
    kernel = model.h[0].attn.c_attn.kernel
    q, k, v = jnp.split(kernel.get_value(), 3, axis=1)
    kernel.set_value(jnp.concatenate([k, q, v], axis=1))


MISTAKES = (
    Planted("ε of a norm", "h.0.ln_1", "ε of the norm is 1e-06", {"eps": 1e-6}),
    Planted("ε of the last norm", "ln_f", "ε of the norm is 0.001", {"final_eps": 1e-3}),
    Planted("exact GELU", "h.0.mlp", "GELU is exact", {"gelu": lambda x: nnx.gelu(x, approximate=False)}),
    Planted("quick GELU", "h.0.mlp", "quick gelu", {"gelu": lambda x: x * jax.nn.sigmoid(1.702 * x)}),
    Planted("relu for GELU", "h.0.mlp", "activation is relu", {"gelu": jax.nn.relu}),
    Planted("no scale of attention", "h.0.attn", "factor is missing", {"scale": 1.0}),
    Planted("scale by the model's width", "h.0.attn", "1/√16", {"scale": 1 / math.sqrt(WIDTH)}),
    Planted("no causal mask", "h.0.attn", "mask is not applied", {"mask": "none"}),
    Planted("a mask that shows the next token", "h.0.attn", "shows the next position", {"diagonal": 1}),
    Planted("a weak mask", "h.0.attn", "masked scores are -1,", {"fill": -1.0}),
    Planted("key before query", "h.0.attn", "parts are taken in the order", {"parts": (1, 0, 2)}),
    Planted("value before key", "h.0.attn", "parts are taken in the order", {"parts": (0, 2, 1)}),
    Planted("heads split the other way", "h.0.attn", "is split into", {"heads": "last"}),
    Planted("heads by reshape alone", "h.0.attn", "reshape stands where", {"heads": "reshape"}),
    Planted("heads merged without a transpose", "h.0.attn", "not transposed|reshape stands", {"merge": "no"}),
    Planted("softmax over the queries", "h.0.attn", "softmax runs over axis", {"softmax": -2}),
    Planted("a missing bias", "h.0.mlp.c_proj", "has no bias", {"bias": False}),
    Planted("half precision", "h.0.mlp.c_fc", "bfloat16", {"dtype": jnp.bfloat16}),
    Planted("post-norm", "h.0", "post-norm", {"form": "post"}),
    Planted("parallel layers", "h.0", "in parallel", {"form": "parallel"}),
    Planted("a missing residual", "h.0", "residual", {"form": "bare"}),
    Planted("a residual of the norm", "h.0", "normalized input", {"form": "normed"}),
    Planted("positions from 1", "the model itself", "positions are off by 1", {"position": 1}),
    Planted("no positions", "the model itself", "second term of a sum is missing", {"position": None}),
    Planted("a scaled embedding", "the model itself", "multiplied by √d", {"embedding_scale": math.sqrt(WIDTH)}),
    Planted("positions without gradient", "the model itself", "no gradient", {"stopped": True}),
    Planted("no last norm", "the model itself", "", {"final": False}),
    Planted("a transposed kernel", "h.0.attn.c_proj", "kernel is transposed", spoil=transposed),
    Planted(
        "query and key swapped in the file", "parameter h.0.attn.c_attn.weight", "order (1, 0, 2)", spoil=reordered
    ),
    Planted("logits are not shifted", "loss", "slice is", loss=unshifted),
    Planted("a sum for a mean", "loss", "is a sum", loss=summed),
    Planted("a softmax before the loss", "loss", "a softmax is applied", loss=doubled),
    Planted("decay on norms and biases", "optimizer", "all parameters decay", optimizer=optimizer(masked=False)),
    Planted("coupled decay", "optimizer", "added to the gradient", optimizer=optimizer(make=optim.adam)),
    Planted("default betas", "optimizer", "betas is (0.9, 0.999)", optimizer=optimizer(betas=(0.9, 0.999))),
    Planted("ε of Adam", "optimizer", "eps is 1e-06", optimizer=optimizer(eps=1e-6)),
    Planted("no clipping", "optimizer", "are not clipped", optimizer=optimizer(clip=False)),
    Planted("no schedule", "optimizer", "does not follow", optimizer=optimizer(1e-2)),
    Planted("a schedule ahead", "optimizer", "one step ahead", optimizer=optimizer(lambda count: RATE(count + 1))),
)

IDS = np.random.default_rng(0).integers(0, WORDS, (BATCH, LENGTH))
SUBJECT = Subject(
    "GPT-2",
    TorchGPT,
    lambda options: GPT(options, nnx.Rngs(0)),
    (IDS,),
    (torch_loss, loss),
    (Recipe(torch_optimizer, torch_schedule, max_norm=0.5), optimizer()),
    MISTAKES,
)
