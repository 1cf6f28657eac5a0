"""Compile a train step under a placement for a machine."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
from jax.sharding import PartitionSpec
from jaxtyping import PyTree

from jaxtrain.train import Placement, TrainState, make_train_step
from jaxtrain.train._mesh import device_mesh
from parity.compile.communication import Traffic, traffic
from parity.compile.machine import Machine
from parity.speed.compiling import kernels

_MODEL = 4
"""Devices along the axis of tensor parallelism, or all if there are fewer."""


@dataclass(frozen=True)
class Step:
    """A train step, before it is placed.

    Attributes:
        name: what is trained.
        new: makes the state before the first step.
        loss_fn: its loss.
        batch: makes the shapes and dtypes of a batch from its number of rows.
        rows: rows of the batch for each device.
        rules: how tensor parallelism splits the parameters; without rules it does not.
        min_size: numbers in the smallest array that is sharded.
        accumulate: parts of the batch.
    """

    name: str
    new: Callable[[], TrainState]
    loss_fn: Callable[..., Any]
    batch: Callable[[int], PyTree]
    rows: int
    rules: Mapping[str, PartitionSpec] = field(default_factory=dict)
    min_size: int = 2**16
    accumulate: int = 1


def _mesh(machine: Machine, model: int) -> jax.sharding.Mesh:
    return device_mesh({"data": len(machine.devices) // model, "model": model}, machine.devices)


def _along_model(machine: Machine) -> int:
    return math.gcd(_MODEL, len(machine.devices))


PLACEMENTS: dict[str, Callable[[Machine, Step], Placement]] = {
    "data": lambda machine, step: Placement(_mesh(machine, 1)),
    "sharded": lambda machine, step: Placement(_mesh(machine, 1), fully_sharded="data", min_size=step.min_size),
    "tensor": lambda machine, step: Placement(_mesh(machine, _along_model(machine)), rules=step.rules),
    "both": lambda machine, step: Placement(
        _mesh(machine, _along_model(machine)), rules=step.rules, fully_sharded="data", min_size=step.min_size
    ),
}
"""Data parallel, fully sharded, tensor parallel, and the last two together."""


@dataclass(frozen=True)
class Compiled:
    """What a step needs on each device.

    Attributes:
        machine: the name of the machine where it would run.
        memory: bytes of memory on each of its devices.
        step: what is trained.
        placement: how it is spread.
        parameters: numbers in the model.
        state: bytes of the state and the batch on one device.
        temporaries: bytes besides, at the peak.
        kernels: kernels that the program launches, each loop counted once.
        traffic: collectives of one step; None if the program does not show how often one of its loops runs.
        refused: why the compiler does not take the program; otherwise empty.
    """

    machine: str
    memory: float
    step: str
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

    @property
    def failed(self) -> bool:
        """Whether the compiler refused it for another reason than too little memory."""
        return bool(self.refused) and "RESOURCE_EXHAUSTED" not in self.refused


def compile_step(machine: Machine, step: Step, name: str) -> Compiled:
    """Compile one step; no array is made.

    Args:
        machine: for which machine.
        step: what is compiled.
        name: a key of `PLACEMENTS`.
    """
    placement = PLACEMENTS[name](machine, step)
    shapes = jax.eval_shape(step.new)
    state = jax.tree.map(_at, shapes, placement.shardings(shapes))
    rows = jax.NamedSharding(placement.mesh, jax.P(placement.data))
    batch = jax.tree.map(lambda leaf: _at(leaf, rows), step.batch(step.rows * len(machine.devices)))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(shapes.params))
    about = machine.name, machine.memory, step.name, name, parameters
    held = sum(_bytes_on_a_device(leaf) for leaf in jax.tree.leaves((state, batch)))
    train_step = make_train_step(step.loss_fn, accumulate=step.accumulate, placement=placement)
    lowered = jax.jit(train_step, donate_argnums=0).lower(state, batch)
    try:
        compiled = machine.compile(lowered)
    except jax.errors.JaxRuntimeError as error:
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
