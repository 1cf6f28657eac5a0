"""Cases of the activations."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import torch.nn.functional as F

from jaxtrain import nn
from parity.case import Case
from parity.cases.nn._inputs import normal
from parity.draws import generator
from parity.subjects.layer import LayerCase, same_layout
from parity.subjects.loss import LossCase

KINKS = [-800.0, -200.0, -3.0, -1.0, -0.5, 0.0, 0.5, 1.0, 3.0, 6.0, 20.0, 20.5, 200.0]
"""Where pieces of the activations meet, and far away on both sides."""

LINE = [
    np.concatenate([KINKS, generator(0).normal(size=499)]).astype(np.float32),
    generator(1).normal(size=512).astype(np.float32),
]
FEATURES = normal((5, 4, 6), [(0.0, 1.0), (3.0, 2.0)])
ROUNDED_SLOPE = {
    "formula_limit": 1e-7,
    "reason": "PyTorch's derivative is 1/6 rounded to float32, in float64 as well",
}


def case(
    name: str, reference: Callable, defects: dict[str, Callable], configuration: str = "defaults", **options: Any
) -> Case:
    """An activation of numbers on a line; `options` are arguments of ours and PyTorch's, or limits of the case."""
    limits = {key: options.pop(key) for key in ("formula_limit", "reason") if key in options}
    return LossCase(
        component=f"nn.{name}",
        configuration=configuration,
        ours=partial(getattr(nn, name), **options),
        reference=partial(reference, **options),
        inputs=[(x,) for x in LINE],
        defects=defects,
        **limits,
    )


def along_axis_1(name: str, reference: Callable, defects: dict[str, Callable]) -> Case:
    return LossCase(
        component=f"nn.{name}",
        configuration="axis=1",
        ours=partial(getattr(nn, name), axis=1),
        reference=partial(reference, dim=1),
        inputs=[(x,) for x in FEATURES],
        defects={"last axis": getattr(nn, name), **defects},
    )


def prelu_case(configuration: str, slopes: int, axis: int, defects: dict[str, Callable]) -> Case:
    return LayerCase(
        component="nn.PReLU",
        configuration=configuration,
        ours=lambda _: nn.PReLU(slopes, axis=axis),
        reference=lambda: torch.nn.PReLU(slopes),
        inputs=FEATURES,
        variables=same_layout,
        defects=defects,
    )


class FirstSlope(nn.PReLU):
    def __call__(self, input):
        return nn.prelu(input, self.weight[:1])


class PositiveSlopeToo(nn.PReLU):
    def __call__(self, input):
        return input * self.weight[...]


CASES: list[Case] = [
    case("relu", F.relu, {"derivative 1/2 at 0": lambda x: jnp.maximum(x, 0)}),
    case("relu6", F.relu6, {"derivative 1/2 at the ends": lambda x: jnp.clip(x, 0, 6), "relu": nn.relu}),
    case("hardtanh", F.hardtanh, {"jax.nn.hard_tanh": jax.nn.hard_tanh}),
    case(
        "hardtanh",
        F.hardtanh,
        {"default ends": nn.hardtanh},
        "min_val=-3, max_val=0.5",
        min_val=-3.0,
        max_val=0.5,
    ),
    case(
        "threshold",
        F.threshold,
        {
            "replaced below only": lambda x: jnp.where(x < 0.5, 7.0, x),
            "value 0": lambda x: nn.threshold(x, 0.5, 0.0),
        },
        "threshold=0.5, value=7",
        threshold=0.5,
        value=7.0,
    ),
    case("leaky_relu", F.leaky_relu, {"jax.nn.leaky_relu": jax.nn.leaky_relu}),
    case("leaky_relu", F.leaky_relu, {"default slope": nn.leaky_relu}, "negative_slope=0.2", negative_slope=0.2),
    case("rrelu", F.rrelu, {"lower slope": lambda x: nn.leaky_relu(x, 1 / 8)}, "evaluation"),
    case("rrelu", F.rrelu, {"default slopes": nn.rrelu}, "evaluation, lower=0.1, upper=0.5", lower=0.1, upper=0.5),
    LossCase(
        component="nn.rrelu",
        configuration="training, lower = upper",
        ours=lambda x: nn.rrelu(x, 0.25, 0.25, True, key=jax.random.key(0)),
        reference=lambda x: F.rrelu(x, 0.25, 0.25, True),
        inputs=[(x,) for x in LINE],
        defects={"evaluation by default slopes": nn.rrelu},
    ),
    case("elu", F.elu, {"selu": nn.selu}),
    case("elu", F.elu, {"alpha=1": nn.elu, "celu": lambda x: nn.celu(x, 0.5)}, "alpha=0.5", alpha=0.5),
    case("celu", F.celu, {"alpha=1": nn.celu, "elu": lambda x: nn.elu(x, 0.5)}, "alpha=0.5", alpha=0.5),
    case("selu", F.selu, {"elu": nn.elu, "scale of six digits": lambda x: 1.0507 * nn.elu(x, 1.67326)}),
    case("sigmoid", F.sigmoid, {"hardsigmoid": nn.hardsigmoid}),
    case("hardsigmoid", F.hardsigmoid, {"slope 1/5": lambda x: jnp.clip(x / 5 + 0.5, 0, 1)}, **ROUNDED_SLOPE),
    case("tanh", F.tanh, {"hardtanh": nn.hardtanh}),
    case("softsign", F.softsign, {"by the square": lambda x: x / (1 + x * x)}),
    case("softplus", F.softplus, {"beta=2": lambda x: nn.softplus(x, 2.0), "jax.nn.softplus": jax.nn.softplus}),
    case(
        "softplus",
        F.softplus,
        {"not divided by beta": lambda x: jax.nn.softplus(2 * x), "default threshold": lambda x: nn.softplus(x, 2.0)},
        "beta=2, threshold=5",
        beta=2.0,
        threshold=5.0,
    ),
    case(
        "logsigmoid",
        F.logsigmoid,
        {"softplus": nn.softplus, "logarithm of the sigmoid": lambda x: jnp.log(jax.nn.sigmoid(x))},
    ),
    case("tanhshrink", F.tanhshrink, {"softshrink": nn.softshrink}),
    case("hardshrink", F.hardshrink, {"lambd itself kept": lambda x: jnp.where(jnp.abs(x) < 0.5, 0, x)}),
    case("hardshrink", F.hardshrink, {"default lambd": nn.hardshrink}, "lambd=1", lambd=1.0),
    case("softshrink", F.softshrink, {"hardshrink": nn.hardshrink, "lambd=1": lambda x: nn.softshrink(x, 1.0)}),
    case("softshrink", F.softshrink, {"default lambd": nn.softshrink}, "lambd=1", lambd=1.0),
    case("gelu", F.gelu, {"the default of jax.nn.gelu": jax.nn.gelu}),
    case("gelu", F.gelu, {"exact": nn.gelu}, 'approximate="tanh"', approximate="tanh"),
    case("silu", F.silu, {"quick GELU": lambda x: x * jax.nn.sigmoid(1.702 * x)}),
    case("mish", F.mish, {"silu": nn.silu}),
    case("hardswish", F.hardswish, {"silu": nn.silu}),
    along_axis_1("glu", F.glu, {"halves swapped": lambda x: nn.glu(jnp.roll(x, 2, 1), axis=1)}),
    along_axis_1("softmax", F.softmax, {"softmin": lambda x: nn.softmin(x, axis=1)}),
    along_axis_1("softmin", F.softmin, {"softmax": lambda x: nn.softmax(x, axis=1)}),
    along_axis_1("log_softmax", F.log_softmax, {"softmax": lambda x: nn.softmax(x, axis=1)}),
    prelu_case("one slope", 1, -1, {"slope of all elements": lambda _: PositiveSlopeToo()}),
    prelu_case("a slope a channel, axis=1", 4, 1, {"first slope": lambda _: FirstSlope(4)}),
    LossCase(
        component="nn.prelu",
        configuration="a slope a channel, axis=1",
        ours=partial(nn.prelu, axis=1),
        reference=F.prelu,
        inputs=[(x, np.array([0.25, -0.5, 0.1, 1.5], np.float32)) for x in FEATURES],
        wrt=(0, 1),
        defects={"first slope": lambda x, slopes: nn.prelu(x, slopes[:1])},
    ),
]
