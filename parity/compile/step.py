"""Compile a GPT's train step under a placement for a machine."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax.sharding import AxisType

from jaxtrain.train import Placement, make_train_step
from parity.compile import gpt
from parity.compile.communication import Traffic, traffic
from parity.compile.machine import Machine
from parity.speed.compiling import kernels

_MODEL = 4
"""Devices along the axis of tensor parallelism, or all if there are fewer."""


def _mesh(machine: Machine, model: int) -> jax.sharding.Mesh:
    shape = (len(machine.devices) // model, model)
    return jax.make_mesh(shape, ("data", "model"), (AxisType.Auto,) * 2, devices=machine.devices)


def _along_model(machine: Machine) -> int:
    return math.gcd(_MODEL, len(machine.devices))


PLACEMENTS: dict[str, Callable[[Machine], Placement]] = {
    "data": lambda machine: Placement(_mesh(machine, 1)),
    "sharded": lambda machine: Placement(_mesh(machine, 1), fully_sharded="data"),
    "tensor": lambda machine: Placement(_mesh(machine, _along_model(machine)), rules=gpt.TENSOR_RULES),
    "both": lambda machine: Placement(
        _mesh(machine, _along_model(machine)), rules=gpt.TENSOR_RULES, fully_sharded="data"
    ),
}
"""Data parallel, fully sharded, tensor parallel, and the last two together."""


@dataclass(frozen=True)
class Compiled:
    """What a step needs on each device.

    Attributes:
        machine: the name of the machine where it would run.
        memory: bytes of memory on each of its devices.
        size: of the GPT.
        placement: how it is spread.
        parameters: numbers in the GPT.
        state: bytes of the state and the batch on one device.
        temporaries: bytes besides, at the peak.
        kernels: kernels that the program launches, each loop counted once.
        traffic: collectives of one step; None if the program does not show them.
        refused: why the compiler does not take the program: too little memory; otherwise empty.
    """

    machine: str
    memory: float
    size: str
    placement: str
    parameters: int
    state: int
    temporaries: int
    kernels: int
    traffic: dict[str, Traffic] | None
    refused: str = ""

    @property
    def fits(self) -> bool:
        """Whether a device has the memory."""
        return not self.refused and self.state + self.temporaries <= self.memory


def compile_step(machine: Machine, size: str, name: str, sequences: int) -> Compiled:
    """Compile one step; no array is made.

    Args:
        machine: for which machine.
        size: a key of `gpt.SIZES`.
        name: a key of `PLACEMENTS`.
        sequences: rows of the batch for each device.
    """
    placement = PLACEMENTS[name](machine)
    shapes = jax.eval_shape(lambda: gpt.new(gpt.SIZES[size]))
    state = jax.tree.map(_at, shapes, placement.shardings(shapes))
    rows = jax.ShapeDtypeStruct((sequences * len(machine.devices), gpt.SIZES[size].length + 1), jnp.int32)
    batch = _at(rows, jax.NamedSharding(placement.mesh, jax.P(placement.data)))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(shapes.params))
    about = machine.name, machine.memory, size, name, parameters
    held = sum(_bytes_on_a_device(leaf) for leaf in jax.tree.leaves((state, batch)))
    step = jax.jit(make_train_step(gpt.loss_fn, placement=placement), donate_argnums=0)
    lowered = step.lower(state, batch)
    try:
        compiled = lowered.compile(compiler_options=machine.options)
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return Compiled(*about, held, 0, 0, {}, str(error).splitlines()[0])
    text, memory = compiled.as_text(), compiled.memory_analysis()
    if text is None or memory is None:
        raise RuntimeError(f"compile: expected a compiler that shows program and memory, got none for {machine.name}")
    return Compiled(*about, held, int(memory.temp_size_in_bytes), kernels(text), traffic(text))


def _at(leaf: jax.ShapeDtypeStruct, sharding: jax.NamedSharding) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _bytes_on_a_device(leaf: jax.ShapeDtypeStruct) -> int:
    assert leaf.sharding is not None
    return math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize
