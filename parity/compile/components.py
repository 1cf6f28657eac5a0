"""Compile every component for a machine: the programs with which `parity run` compares it with PyTorch."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import PyTree

from parity.compile.machine import Machine
from parity.speed.compiling import kernels, temporaries

if TYPE_CHECKING:
    from parity.case import Case  # imports PyTorch


@dataclass(frozen=True)
class Component:
    """What the programs of a component need on one device.

    Attributes:
        machine: the name of the machine where they would run.
        name: of the component.
        programs: how many there are, of forward and backward passes or of steps.
        kernels: kernels that they launch, each loop counted once.
        temporaries: bytes besides arguments and results, at the peak of the largest program.
        refused: why the compiler does not take a program; otherwise empty.
    """

    machine: str
    name: str
    programs: int
    kernels: int
    temporaries: int
    refused: str = ""

    @property
    def room(self) -> str:
        return self.name.partition(".")[0]


_ON_THE_HOST = "interop.scheduler_state_dict"  # It hands over a few numbers, and compiles nothing.


def cases() -> list["Case"]:
    """The first case of every component that has a program.

    Raises:
        RuntimeError: if PyTorch is not installed, from which the cases take their parameters.
    """
    if find_spec("torch") is None:
        raise RuntimeError(
            "components: expected PyTorch, from which the cases take their parameters, got a Python without it; "
            "install it there: pip install '.[parity]'"
        )
    from parity.cases import all_cases

    first: dict[str, "Case"] = {}
    for case in all_cases():
        if case.component != _ON_THE_HOST:
            first.setdefault(case.component, case)
    return list(first.values())


def compile_component(machine: Machine, case: "Case") -> Component:
    """Compile what a case of a component runs; nothing is executed."""
    with _ahead_of_time(machine) as programs:
        try:
            case.run_ours(case.ours, case.precision)
        except jax.errors.JaxRuntimeError as error:
            return Component(machine.name, case.component, len(programs), 0, 0, str(error).splitlines()[0])
    if not programs:
        raise RuntimeError(f"compile: expected {case.name} to run a compiled program, got none")
    total = sum(kernels(program.as_text()) for program in programs)
    return Component(machine.name, case.component, len(programs), total, max(map(temporaries, programs)))


@contextmanager
def _ahead_of_time(machine: Machine) -> Iterator[list[jax.stages.Compiled]]:
    """Here `jax.jit` compiles for a machine, and what it returns gives zeros: every subject calls it by this name."""
    programs: list[jax.stages.Compiled] = []
    real = jax.jit
    jax.jit = partial(_jit, real, machine, programs)
    _forget_programs()
    try:
        yield programs
    finally:
        jax.jit = real
        _forget_programs()


def _jit(
    real: Callable[..., Any], machine: Machine, programs: list[jax.stages.Compiled], function: Any, **options: Any
) -> Callable[..., Any]:
    jitted = real(function, **{name: option for name, option in options.items() if name != "compiler_options"})
    static = options.get("static_argnums", ())
    device = jax.sharding.SingleDeviceSharding(machine.devices[0])
    known: dict[Any, PyTree] = {}

    def there(leaf: Any) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf), sharding=device)

    def call(*args: Any) -> Any:
        arrays = [None if number in static else arg for number, arg in enumerate(args)]
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(arrays)):
            return jitted(*args)
        shapes = [arg if number in static else jax.tree.map(there, arg) for number, arg in enumerate(args)]
        key = str(shapes)
        if key not in known:
            lowered = jitted.lower(*shapes)
            programs.append(machine.compile(lowered))
            known[key] = lowered.out_info
        return jax.tree.map(_zeros, known[key])

    return call


def _zeros(leaf: Any) -> jax.Array:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(jax.random.key(0), leaf.shape)
    return jnp.zeros(leaf.shape, leaf.dtype)


def _forget_programs() -> None:
    """The subjects keep what `jax.jit` gave them."""
    for name, module in sys.modules.items():
        if name.startswith("parity.subjects."):
            for value in vars(module).values():
                getattr(value, "cache_clear", lambda: None)()
