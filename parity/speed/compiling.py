"""Compile a program: how long it takes, and what it needs; for the devices here, or for an H100 that is not."""

import gc
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec

import jax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from parity.speed.scenario import Program
from parity.speed.timing import Clock


@dataclass(frozen=True)
class Compilation:
    """A compiled program and what it cost.

    Attributes:
        executable: takes the program's arguments.
        trace: seconds to trace and lower it.
        compile: seconds to compile what was lowered.
    """

    executable: jax.stages.Compiled
    trace: float
    compile: float

    @property
    def temporaries(self) -> int:
        """Bytes that it needs besides arguments and results, at its peak."""
        return temporaries(self.executable)


def compile_timed(program: Program, clock: Clock) -> Compilation:
    """Compile without any help from earlier compilations."""
    jax.clear_caches()
    gc.collect()
    start = clock()
    lowered = jax.jit(program.function).lower(*program.arguments)
    traced = clock()
    executable = lowered.compile()
    return Compilation(executable, traced - start, clock() - traced)


def compile_for_h100(program: Program) -> jax.stages.Compiled:
    """Compile for an H100 by XLA's real compiler, without the device."""
    arguments = jax.tree.map(
        lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=_h100()), program.arguments
    )
    return jax.jit(program.function).lower(*arguments).compile(compiler_options={"xla_gpu_autotune_level": "0"})


def check_h100_compiler() -> None:
    """Raise `RuntimeError` where JAX's CUDA plugin is missing."""
    if find_spec("jax_plugins") is None or find_spec("jax_plugins.xla_cuda12") is None:
        raise RuntimeError(
            "--for h100: expected JAX's compiler for CUDA, got a Python without it; make an environment of its own and "
            'install it there: python3 -m venv .venv-aot && .venv-aot/bin/pip install ".[aot]"'
        )


def temporaries(executable: jax.stages.Compiled) -> int:
    """Bytes that a program needs besides its arguments and results, at its peak."""
    analysis = executable.memory_analysis()
    if analysis is None:
        raise RuntimeError("speed: expected a compiler that tells a program's memory, got None; use JAX's for the CPU")
    return analysis.temp_size_in_bytes


@cache
def _h100() -> SingleDeviceSharding:
    topology = topologies.get_topology_desc(
        platform="cuda",
        topology_name="h100",
        topology="1x1x1",
        target_config=files("parity.speed").joinpath("h100.txtpb").read_text(),
    )
    return SingleDeviceSharding(topology.devices[0])


# Instructions that launch nothing: they name, regroup or reinterpret arrays, or only wait.
_FREE = {
    "after-all",
    "add-dependency",
    "bitcast",
    "constant",
    "get-tuple-element",
    "opt-barrier",
    "parameter",
    "partition-id",
    "replica-id",
    "tuple",
}
# Instructions whose computations launch kernels in their place.
_CONTROL = {"call", "conditional", "while"}
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%\S+ = .*? ([a-z][a-z0-9-]*)\(")
_COMPUTATION = re.compile(r"^(ENTRY )?%(\S+) .*\{$")
_CALLED = re.compile(r"(?:to_apply|body|condition|true_computation|false_computation)=%([^\s,}]+)")
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")


def kernels(text: str | None) -> int:
    """How many kernels an optimized program launches: fusions, library calls, copies and what else takes time.

    Args:
        text: the program as `Compiled.as_text()` gives it. The body and the condition of a loop count once.
    """
    if text is None:
        raise RuntimeError("speed: expected a compiler that shows its program, got None")
    bodies: dict[str, list[str]] = {}
    entry, lines = "", []
    for line in text.splitlines():
        if found := _COMPUTATION.match(line):
            lines = bodies[found[2]] = []
            entry = found[2] if found[1] else entry
        else:
            lines.append(line)

    def launched(computation: str) -> int:
        total = 0
        for line in bodies[computation]:
            found = _INSTRUCTION.match(line)
            if found is None or found[1] in _FREE or found[1].endswith(("-done", "-update")):
                continue
            if found[1] in _CONTROL:
                branches = [name.strip().lstrip("%") for group in _BRANCHES.findall(line) for name in group.split(",")]
                total += sum(map(launched, _CALLED.findall(line) + branches))
            else:
                total += 1
        return total

    return launched(entry)
