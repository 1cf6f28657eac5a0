"""The part of `python -m parity speed` that times whole runs."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import jax

from parity.options import new_file
from parity.speed.place import note_on, processor
from parity.speed.report import Section
from parity.speed.runs import picture, report
from parity.speed.runs.contestants import CONTESTANTS, HAND
from parity.speed.runs.measure import race
from parity.speed.runs.task import TASKS, Task


def add_arguments(parser: ArgumentParser) -> None:
    """The options of whole runs."""
    group = parser.add_argument_group("whole runs, whose names begin with train.")
    group.add_argument("--who", nargs="+", metavar="KEY", help="only these contestants, and hand-written steps")
    group.add_argument("--rounds", type=int, default=7, help="rounds in which all run in turns (default: %(default)s)")
    group.add_argument(
        "--seconds",
        type=float,
        default=0.5,
        help="how long each runs in a round, at least (default: %(default)s)",
    )
    group.add_argument(
        "--fresh",
        nargs="*",
        metavar="NAME",
        help="start each contestant of these runs in a process of its own too, for start-up and memory; none: of all",
    )
    group.add_argument(
        "--picture", type=new_file, metavar="FILE", help="draw the steps a second to FILE; needs matplotlib"
    )


def selected(names: list[str]) -> list[Task]:
    """The runs whose names contain one of these; all without names."""
    return [task for task in TASKS if not names or any(name in task.name for name in names)]


def run(tasks: list[Task], options: Namespace, tell: Callable[[str], None]) -> tuple[Section, dict[str, Any]]:
    """Time the runs.

    Returns:
        The table, and every figure.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # PyTorch needs memory too.
    jax.config.update("jax_enable_compilation_cache", False)
    contestants = [one for one in CONTESTANTS if not options.who or one.key in (HAND, *options.who)]
    if find_spec("torch") is None:
        contestants = [one for one in contestants if one.module != "by_torch"]
    gpu = jax.default_backend() != "cpu"
    races = []
    for task in tasks:
        if task.only_gpu and not gpu:
            continue
        fresh = options.fresh is not None and (not options.fresh or any(name in task.name for name in options.fresh))
        rounds, seconds = (1, 0.0) if options.quick else (options.rounds, options.seconds)
        races.append(
            race(
                task,
                [one for one in contestants if one.trains(task)],
                rounds=rounds,
                seconds=seconds,
                fresh=fresh,
                tell=tell,
            )
        )
        jax.clear_caches()
    device = jax.devices()[0]
    where = device.device_kind if gpu else f"{processor()}, {os.cpu_count()} cores"
    note = note_on(where, "torch")
    table = report.section(races, "speed-runs-gpu" if gpu else "speed-runs", note)
    if options.picture and races:
        picture.draw(races, note, options.picture)
    return table, {"measured": note, "runs": report.entries(races)}
