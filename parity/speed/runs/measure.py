"""Time the contestants of a task in turns, and each once in a process of its own."""

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from parity.speed.runs.contestants import HAND, PRODUCTS, Contestant, Trainer
from parity.speed.runs.task import Task


@dataclass(frozen=True)
class Fresh:
    """A contestant in a process of its own.

    Attributes:
        start_up: seconds from the start of Python to the end of the first step.
        peak: bytes at most, of the device on a GPU, otherwise of the process.
    """

    start_up: float
    peak: int


@dataclass
class Result:
    """What a contestant needs for a task.

    Attributes:
        contestant: who.
        first: seconds that the first epoch took, with everything that is compiled.
        epochs: how many epochs a round has.
        seconds: seconds of an epoch, in each round.
        fresh: start-up and memory, None if they were not measured.
        failure: why there are no figures.
    """

    contestant: Contestant
    first: float = math.nan
    epochs: int = 1
    seconds: list[float] = field(default_factory=list)
    fresh: Fresh | None = None
    failure: str = ""

    @property
    def epoch(self) -> float:
        """Seconds of an epoch, the median of the rounds."""
        return statistics.median(self.seconds)

    @property
    def compile(self) -> float:
        """Seconds by which the first epoch was longer than a later one."""
        return max(0.0, self.first - self.epoch)


@dataclass(frozen=True)
class Race:
    """A task and the results of all contestants."""

    task: Task
    results: tuple[Result, ...]

    def ratio(self, result: Result) -> float:
        """Speed relative to hand-written steps: the median of the rounds' ratios."""
        return self._relative(HAND, result)

    def share(self, result: Result) -> float:
        """How much of a step the step's matrix products alone would take."""
        return self._relative(PRODUCTS, result)

    def _relative(self, key: str, result: Result) -> float:
        others = [other for other in self.results if other.contestant.key == key and other.seconds]
        if not others or not result.seconds:
            return math.nan
        return statistics.median(a / b for a, b in zip(others[0].seconds, result.seconds, strict=True))


def race(
    task: Task,
    contestants: Sequence[Contestant],
    *,
    rounds: int,
    seconds: float,
    fresh: bool,
    tell: Callable[[str], None] = lambda what: None,
) -> Race:
    """Run every contestant in every round, from first to last and from last to first in turns.

    Args:
        task: what to train.
        contestants: who takes part.
        rounds: number of rounds.
        seconds: how long each contestant runs in a round, at least.
        fresh: whether to measure start-up and memory, each in a process of its own.
        tell: gets what is being done.
    """
    results, trainers = [], []
    for contestant in contestants:
        tell(f"{task.name}: {contestant.key} compiles")
        result, trainer = _prepare(task, contestant, seconds)
        results.append(result)
        trainers.append(trainer)
    running = [(result, trainer) for result, trainer in zip(results, trainers, strict=True) if trainer is not None]
    for number in range(rounds):
        tell(f"{task.name}: round {number + 1} of {rounds}")
        for result, trainer in running if number % 2 == 0 else reversed(running):
            result.seconds.append(_time(trainer, result.epochs) / result.epochs)
    if fresh:
        for result, _ in running:
            if result.contestant.key != PRODUCTS:
                tell(f"{task.name}: {result.contestant.key} starts")
                result.fresh = _start_fresh(task, result.contestant)
    return Race(task, tuple(results))


def _prepare(task: Task, contestant: Contestant, seconds: float) -> tuple[Result, Trainer | None]:
    """Compile, and find how many epochs take so many seconds."""
    result = Result(contestant)
    begin = time.perf_counter()
    try:
        trainer = contestant.make(task)
        trainer(1)
    except Exception as error:  # A contestant that cannot run here is a row that says so.
        result.failure = f"{type(error).__name__}: {error}".partition("\n")[0][:200]
        return result, None
    result.first = time.perf_counter() - begin
    _time(trainer, 1)
    while (spent := _time(trainer, result.epochs)) < seconds:
        result.epochs = max(result.epochs + 1, math.ceil(result.epochs * min(8.0, 1.1 * seconds / spent)))
    return result, trainer


def _time(trainer: Trainer, epochs: int) -> float:
    begin = time.perf_counter()
    trainer(epochs)
    return time.perf_counter() - begin


def _start_fresh(task: Task, contestant: Contestant) -> Fresh | None:
    command = [sys.executable, "-m", "parity.speed.runs.fresh", task.name, contestant.key, str(time.time())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return None
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return Fresh(figures["start_up"], figures["peak"])
