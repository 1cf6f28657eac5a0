"""The networks over plain dicts, as one writes them by hand with JAX and Optax alone."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax

from parity.speed.runs.task import Cnn, Gpt, Mlp, Sgd, Task

Tree = Any
Network = tuple[Callable[[jax.Array], tuple[Tree, Tree]], Callable[..., tuple[jax.Array, Tree]]]
"""`init(key) -> params, statistics`, and `apply(params, statistics, x, key) -> logits, statistics`.

Without a key, `apply` evaluates.
"""


Convolve = Callable[[jax.Array, jax.Array, int], jax.Array]
"""A function of a kernel, images and a stride."""


def network(description: Mlp | Cnn | Gpt, convolve: Convolve | None = None) -> Network:
    """The functions of a network; `convolve` takes the place of the plain convolution."""
    match description:
        case Mlp():
            return _mlp(description)
        case Cnn():
            return _cnn(description, convolve or plain_convolution)
        case Gpt():
            return _gpt(description)


def optimizer(task: Task) -> optax.GradientTransformation:
    """Optax's optimizer of a task."""
    match task.optimizer:
        case Sgd(lr, momentum, weight_decay, decay_every):
            rate = optax.exponential_decay(lr, decay_every, 0.99, staircase=True) if decay_every else lr
            sgd = optax.sgd(rate, momentum)
            return optax.chain(optax.add_decayed_weights(weight_decay), sgd) if weight_decay else sgd
        case adam:
            decay = adam.weight_decay
            return optax.adamw(adam.lr, weight_decay=decay) if decay else optax.adam(adam.lr)


def _mlp(description: Mlp) -> Network:
    last = len(description.layers) - 1

    def init(key: jax.Array) -> tuple[Tree, Tree]:
        keys = jax.random.split(key, last + 1)
        params, statistics = {}, {}
        for index, (inside, out) in enumerate(description.layers):
            params[f"linear{index}"] = _linear(keys[index], inside, out)
            if description.batch_norm and index < last:
                params[f"norm{index}"], statistics[f"norm{index}"] = _norm(out)
        return params, statistics

    def apply(params: Tree, statistics: Tree, x: jax.Array, key: jax.Array | None) -> tuple[jax.Array, Tree]:
        new = {}
        keys = None if key is None or not description.dropout else jax.random.split(key, last)
        for index in range(last):
            x = _apply_linear(params[f"linear{index}"], x)
            name = f"norm{index}"
            if description.batch_norm:
                x, new[name] = _batch_norm(params[name], statistics[name], x, key is not None)
            x = jax.nn.relu(x)
            if keys is not None:
                kept = jax.random.bernoulli(keys[index], 1 - description.dropout, x.shape)
                x = jnp.where(kept, x / (1 - description.dropout), 0)
        return _apply_linear(params[f"linear{last}"], x), new

    return init, apply


def _cnn(description: Cnn, convolve: Convolve) -> Network:
    def init(key: jax.Array) -> tuple[Tree, Tree]:
        keys = iter(jax.random.split(key, 3 * len(description.blocks) + 2))
        params: Tree = {"stem": _kernel(next(keys), 3, 3, description.widths[0])}
        statistics: Tree = {}
        params["norm"], statistics["norm"] = _norm(description.widths[0])
        for index, (inside, out, stride) in enumerate(description.blocks):
            name = f"block{index}"
            norm1, norm2 = _norm(out), _norm(out)
            params[name] = {
                "conv1": _kernel(next(keys), 3, inside, out),
                "conv2": _kernel(next(keys), 3, out, out),
                "norm1": norm1[0],
                "norm2": norm2[0],
            }
            if (inside, stride) != (out, 1):
                params[name]["shortcut"] = _kernel(next(keys), 1, inside, out)
            statistics[name] = {"norm1": norm1[1], "norm2": norm2[1]}
        params["out"] = _linear(next(keys), description.widths[-1], description.classes)
        return params, statistics

    def apply(params: Tree, statistics: Tree, x: jax.Array, key: jax.Array | None) -> tuple[jax.Array, Tree]:
        train, new = key is not None, {}
        x, new["norm"] = _batch_norm(params["norm"], statistics["norm"], convolve(params["stem"], x, 1), train)
        x = jax.nn.relu(x)
        for index, (_, _, stride) in enumerate(description.blocks):
            name = f"block{index}"
            own, seen = params[name], statistics[name]
            y, norm1 = _batch_norm(own["norm1"], seen["norm1"], convolve(own["conv1"], x, stride), train)
            y, norm2 = _batch_norm(own["norm2"], seen["norm2"], convolve(own["conv2"], jax.nn.relu(y), 1), train)
            x = jax.nn.relu(y + (convolve(own["shortcut"], x, stride) if "shortcut" in own else x))
            new[name] = {"norm1": norm1, "norm2": norm2}
        return _apply_linear(params["out"], x.mean((1, 2))), new

    return init, apply


def _gpt(description: Gpt) -> Network:
    width = description.width

    def init(key: jax.Array) -> tuple[Tree, Tree]:
        keys = iter(jax.random.split(key, 4 * description.depth + 3))
        params = {
            "tokens": 0.02 * jax.random.normal(next(keys), (description.vocabulary, width)),
            "places": 0.02 * jax.random.normal(next(keys), (description.context, width)),
            "norm": _norm(width)[0],
            "out": _linear(next(keys), width, description.vocabulary),
        }
        for index in range(description.depth):
            params[f"block{index}"] = {
                "norm1": _norm(width)[0],
                "norm2": _norm(width)[0],
                "attend": _linear(next(keys), width, 3 * width),
                "project": _linear(next(keys), width, width),
                "widen": _linear(next(keys), width, 4 * width),
                "narrow": _linear(next(keys), 4 * width, width),
            }
        return params, {}

    def apply(params: Tree, statistics: Tree, x: jax.Array, key: jax.Array | None) -> tuple[jax.Array, Tree]:
        x = params["tokens"][x] + params["places"]
        for index in range(description.depth):
            own = params[f"block{index}"]
            parts = _apply_linear(own["attend"], _layer_norm(own["norm1"], x))
            parts = parts.reshape(*x.shape[:-1], 3, description.heads, -1)
            seen = jax.nn.dot_product_attention(*(parts[..., part, :, :] for part in range(3)), is_causal=True)
            x = x + _apply_linear(own["project"], seen.reshape(x.shape))
            hidden = jax.nn.gelu(_apply_linear(own["widen"], _layer_norm(own["norm2"], x)))
            x = x + _apply_linear(own["narrow"], hidden)
        return _apply_linear(params["out"], _layer_norm(params["norm"], x)), {}

    return init, apply


def _linear(key: jax.Array, inside: int, out: int) -> Tree:
    return {"kernel": jax.random.normal(key, (inside, out)) / jnp.sqrt(inside), "bias": jnp.zeros(out)}


def _apply_linear(params: Tree, x: jax.Array) -> jax.Array:
    return x @ params["kernel"] + params["bias"]


def _kernel(key: jax.Array, size: int, inside: int, out: int) -> jax.Array:
    return jax.random.normal(key, (size, size, inside, out)) / jnp.sqrt(size * size * inside)


def plain_convolution(kernel: jax.Array, x: jax.Array, stride: int) -> jax.Array:
    """The convolution of a batch of square images, padded so that a stride of 1 keeps their size."""
    margin = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), [(margin, margin)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _norm(features: int) -> tuple[Tree, Tree]:
    params = {"scale": jnp.ones(features), "bias": jnp.zeros(features)}
    return params, {"mean": jnp.zeros(features), "var": jnp.ones(features)}


def _batch_norm(params: Tree, statistics: Tree, x: jax.Array, train: bool) -> tuple[jax.Array, Tree]:
    if train:
        axes = tuple(range(x.ndim - 1))
        mean = x.mean(axes)
        var = jnp.square(x - mean).mean(axes)
        new = {"mean": 0.9 * statistics["mean"] + 0.1 * mean, "var": 0.9 * statistics["var"] + 0.1 * var}
    else:
        mean, var, new = statistics["mean"], statistics["var"], statistics
    return (x - mean) * (params["scale"] * lax.rsqrt(var + 1e-5)) + params["bias"], new


def _layer_norm(params: Tree, x: jax.Array) -> jax.Array:
    centered = x - x.mean(-1, keepdims=True)
    return centered * lax.rsqrt(jnp.square(centered).mean(-1, keepdims=True) + 1e-5) * params["scale"] + params["bias"]
