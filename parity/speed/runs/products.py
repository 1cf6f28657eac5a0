"""The matrix products and convolutions of a step, alone: how fast the machine can take them."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import ClosedJaxpr, Jaxpr, jaxprs_in_params

from parity.speed.runs.by_hand import Update
from parity.speed.runs.task import Task

_PRODUCTS = {"dot_general", "conv_general_dilated"}


def alone(task: Task) -> Callable[[int], None]:
    """A program that does nothing but a step's products, each on arrays of its own."""
    found = list(_found(_step(task)))
    inputs = [
        [jax.random.normal(jax.random.key(0), variable.aval.shape, jnp.float32) for variable in equation.invars]
        for equation in found
    ]

    @jax.jit
    def program(inputs: list[list[jax.Array]]) -> list[Any]:
        return [
            equation.primitive.bind(*arrays, **equation.params) for equation, arrays in zip(found, inputs, strict=True)
        ]

    def run(epochs: int) -> None:
        result = None
        for _ in range(epochs * task.steps):
            result = program(inputs)
        jax.block_until_ready(result)

    return run


def _step(task: Task) -> ClosedJaxpr:
    update = Update(task)
    x, y = (jax.ShapeDtypeStruct((task.batch_size, *leaf.shape[1:]), leaf.dtype) for leaf in task.data()[0])
    return jax.make_jaxpr(update)(jax.eval_shape(update.start), x, y)


def _found(program: ClosedJaxpr | Jaxpr) -> Iterator[Any]:
    for equation in program.eqns:
        if equation.primitive.name in _PRODUCTS:
            yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from _found(inner)
