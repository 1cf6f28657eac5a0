"""`python -m parity run --seeds N`: every case with other inputs, numbers of threads and instruction sets.

A verdict that depends on any of these is chance. Threads and instructions are settled when a process starts, so each
combination is a process of its own. It runs a case with all seeds before the next one: a case is compiled once.
"""

import json
import os
import subprocess
import sys
import tempfile
from argparse import ArgumentError, Namespace
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from parity import draws, report
from parity.case import Case
from parity.cases import cases_named, cases_of_seed
from parity.runner import attempt

AVX2 = {"XLA_FLAGS": "--xla_cpu_max_isa=AVX2", "ATEN_CPU_CAPABILITY": "avx2", "DNNL_MAX_CPU_ISA": "AVX2"}
"""An environment in which XLA and PyTorch use no newer instructions."""

Entries = Sequence[Mapping[str, Any]]
"""One for each case and seed: what `report.entry` writes, and the seed."""


@dataclass(frozen=True)
class Counts:
    """How many cases ran and failed, and how many planted defects there were and passed unnoticed."""

    cases: int
    failed: int
    defects: int
    missed: int

    @classmethod
    def of(cls, entries: Entries) -> Self:
        """Those of all runs."""
        return cls(
            cases=len(entries),
            failed=sum(not entry["passed"] for entry in entries),
            defects=sum(len(entry["defects"]) for entry in entries),
            missed=sum(len(entry["missed"]) for entry in entries),
        )

    def __str__(self) -> str:
        return f"{self.failed} of {self.cases} cases failed, {self.missed} of {self.defects} planted defects missed"


@dataclass(frozen=True)
class Limits:
    """What a process may use.

    Attributes:
        threads: of XLA and of PyTorch, on as many cores or on all if there are fewer.
        avx2: whether it uses AVX2 and no newer instructions.
    """

    threads: int
    avx2: bool = False

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{threads}, {'AVX2' if self.avx2 else 'all instructions'}"

    def environment(self) -> dict[str, str]:
        """This process's environment with the limits."""
        limits = AVX2 if self.avx2 else {}
        flags = " ".join(filter(None, [os.environ.get("XLA_FLAGS"), limits.get("XLA_FLAGS")]))
        threads = str(self.threads)
        return {**os.environ, **limits, "XLA_FLAGS": flags, "OMP_NUM_THREADS": threads, "NPROC": threads}


LIMITS = (Limits(1), Limits(2), Limits(8), Limits(2, avx2=True))


def here(options: Namespace) -> int:
    """Run every case with each seed in this process; 1 if any failed."""
    draws.use(draws.Drawing(number=options.draws))
    by_seed = [{case.name: case for case in cases_of_seed(seed)} for seed in range(options.seeds)]
    cases = cases_named(by_seed[0].values(), options.names)
    entries = [
        entry for case in cases if case.is_here for entry in _with_seeds(case, [drawn[case.name] for drawn in by_seed])
    ]
    if options.json:
        options.json.write_text(json.dumps(entries, indent=2) + "\n")
    counts = Counts.of(entries)
    print(*failures(entries), counts, sep="\n")
    return 1 if counts.failed else 0


def main(options: Namespace) -> int:
    """Do this in a process for each of `LIMITS`, and print what failed in which; 1 if any did."""
    if not hasattr(os, "sched_setaffinity"):
        raise ArgumentError(None, "--seeds: expected a system that can limit a process to some cores, such as Linux")
    found, counts = dict[str, Entries](), dict[Limits, Counts]()
    for limits, entries in _runs(options):
        found[str(limits)], counts[limits] = entries, Counts.of(entries)
        print(f"{limits}: {counts[limits]}", *failures(entries), sep="\n", flush=True)
    print(table(counts, options.seeds))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 1 if any(each.failed for each in counts.values()) else 0


def failures(entries: Entries) -> list[str]:
    """What failed, a line for each case, with the seeds and what the first of them found."""
    failed: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        if not entry["passed"]:
            failed.setdefault(f"{entry['component']}[{entry['configuration']}]", []).append(entry)
    return [
        f"  {name}, seeds {', '.join(str(entry['seed']) for entry in each)}: {each[0]['failure']}"
        for name, each in failed.items()
    ]


def table(counts: Mapping[Limits, Counts], seeds: int) -> str:
    """The runs by their limits, in Markdown."""
    lines = ["| limits | seeds | cases failed | planted defects missed |", "|---|---|---|---|"]
    for limits, each in counts.items():
        lines.append(f"| {limits} | {seeds} | {each.failed} of {each.cases} | {each.missed} of {each.defects} |")
    return "\n".join(lines)


def _with_seeds(case: Case, drawn: Sequence[Case]) -> Iterator[dict[str, Any]]:
    """An entry for each seed, given what each drew for the case."""
    for seed, other in enumerate(drawn):
        with draws.seed(seed):
            yield {"seed": seed} | report.entry(attempt(case.with_inputs_of(other)))


def _runs(options: Namespace) -> Iterator[tuple[Limits, Entries]]:
    """Each of `LIMITS` with its entries."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.processes) as pool:
        files = [Path(folder) / f"{number}.json" for number, _ in enumerate(LIMITS)]
        yield from zip(LIMITS, pool.map(partial(_run, options), LIMITS, files), strict=True)


def _run(options: Namespace, limits: Limits, file: Path) -> Entries:
    """What a process with these limits finds."""
    number = ["--draws", str(options.draws)] if options.draws else []
    command = [sys.executable, "-m", "parity", "run", *options.names, *number]
    done = subprocess.run(
        [*command, "--seeds", str(options.seeds), "--here", "--json", str(file)],
        env=limits.environment(),
        preexec_fn=lambda: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: limits.threads]),
        capture_output=True,
        text=True,
        check=False,
    )
    if not file.exists():
        raise RuntimeError(f"{limits}: expected a run of the cases, got\n{done.stderr}")
    return json.loads(file.read_text())
