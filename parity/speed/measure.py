"""Measure scenarios: time and memory where they run, kernels and memory where they are only compiled."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import jax

from parity.speed.compiling import Compilation, compile_for_h100, compile_timed, kernels, temporaries
from parity.speed.scenario import Program, Scenario
from parity.speed.timing import Clock, Patience, Samples, interleaved


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        run: how long both programs run.
        compilations: how often both are compiled, at most.
        compile_seconds: after how many seconds of compiling it is enough.
    """

    run: Patience = field(default_factory=Patience)
    compilations: int = 5
    compile_seconds: float = 5.0


QUICK = Effort(Patience(half=0.001, rounds=3, seconds=0.0), compilations=1)


@dataclass(frozen=True)
class Measurement:
    """What a scenario costs where it runs.

    Attributes:
        scenario: the scenario.
        run: seconds of a call.
        trace: seconds to trace and lower.
        compile: seconds to compile what was lowered.
        temporaries: bytes besides arguments and results, ours and the counterpart's.
    """

    scenario: Scenario
    run: Samples
    trace: Samples
    compile: Samples
    temporaries: tuple[int, int]

    @property
    def build(self) -> Samples:
        """Seconds from a Python function to an executable: tracing, lowering and compiling."""
        return Samples(
            tuple(map(sum, zip(self.trace.ours, self.compile.ours, strict=True))),
            tuple(map(sum, zip(self.trace.theirs, self.compile.theirs, strict=True))),
        )


@dataclass(frozen=True)
class AheadOfTime:
    """What a scenario needs on an H100, as its compiler says.

    Attributes:
        scenario: the scenario.
        kernels: kernels launched, ours and the counterpart's.
        temporaries: bytes besides arguments and results, ours and the counterpart's.
        arguments: bytes of our arguments.
    """

    scenario: Scenario
    kernels: tuple[int, int]
    temporaries: tuple[int, int]
    arguments: int


def measure(scenario: Scenario, effort: Effort, clock: Clock) -> Measurement:
    """Compile and run both programs in turns."""
    ours, theirs = scenario.ours(), scenario.theirs()
    compiled: list[tuple[Compilation, Compilation]] = []
    start = clock()
    while len(compiled) < effort.compilations and (not compiled or clock() - start < effort.compile_seconds):
        if len(compiled) % 2 == 0:
            first = compile_timed(ours, clock)
            compiled.append((first, compile_timed(theirs, clock)))
        else:
            second = compile_timed(theirs, clock)
            compiled.append((compile_timed(ours, clock), second))
    our_last, their_last = compiled[-1]
    return Measurement(
        scenario,
        interleaved(
            partial(_call, our_last.executable, ours),
            partial(_call, their_last.executable, theirs),
            effort.run,
            clock,
        ),
        Samples(tuple(one.trace for one, _ in compiled), tuple(other.trace for _, other in compiled)),
        Samples(tuple(one.compile for one, _ in compiled), tuple(other.compile for _, other in compiled)),
        (our_last.temporaries, their_last.temporaries),
    )


def measure_ahead_of_time(scenario: Scenario) -> AheadOfTime:
    """Compile both programs for an H100."""
    program = scenario.ours()
    ours, theirs = compile_for_h100(program), compile_for_h100(scenario.theirs())
    return AheadOfTime(
        scenario,
        (kernels(ours.as_text()), kernels(theirs.as_text())),
        (temporaries(ours), temporaries(theirs)),
        sum(array.size * array.dtype.itemsize for array in jax.tree.leaves(program.arguments)),
    )


@contextmanager
def one_core() -> Iterator[tuple[Clock, str]]:
    """Keep this process to one core where the platform can, and give the clock that fits.

    Threads inherit it, those of XLA too if JAX has not computed anything yet. On one core the processor's time is the
    wall clock minus the time that other processes took.
    """
    if not hasattr(os, "sched_setaffinity"):
        yield time.perf_counter, f"wall clock, {os.cpu_count()} cores"
        return
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed)})
    try:
        yield time.process_time, f"processor time on 1 of {len(allowed)} cores"
    finally:
        os.sched_setaffinity(0, allowed)


def warm_up() -> None:
    """Compile something, so that the first scenario does not pay for starting XLA."""
    compile_timed(Program(lambda x: x + 1, (jax.numpy.zeros(8),)), time.perf_counter)


def _call(executable: jax.stages.Compiled, program: Program) -> None:
    jax.block_until_ready(executable(*program.arguments))
