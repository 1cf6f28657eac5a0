"""`python -m parity run --seeds N`: every case with other inputs, numbers of threads and instruction sets.

A verdict that depends on any of these is chance. Each combination is a process of its own: threads and instructions are
settled when a process starts.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentError, Namespace
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

INSTRUCTIONS: dict[str, dict[str, str]] = {
    "all instructions": {},
    "AVX2": {
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "DNNL_MAX_CPU_ISA": "AVX2",
    },
}
"""Environments by the instructions to which they limit XLA and PyTorch."""


@dataclass(frozen=True)
class Setting:
    """One run of all cases.

    Attributes:
        seed: a number added to every seed.
        cores: to how many cores the process is limited, and so its threads.
        instructions: a key of `INSTRUCTIONS`.
    """

    seed: int
    cores: int
    instructions: str

    @property
    def limits(self) -> str:
        """All but the seed."""
        return f"{self.cores} {'core' if self.cores == 1 else 'cores'}, {self.instructions}"

    def __str__(self) -> str:
        return f"seed {self.seed}, {self.limits}"


Found = Mapping[Setting, list[dict[str, Any]]]
"""An entry for each case, as `report.as_json` writes them, by the setting."""


def settings(number: int) -> list[Setting]:
    """Those of some seeds, seed by seed, so that a run that ends early has been through all limits."""
    cores = sorted({1, len(os.sched_getaffinity(0))})
    return [Setting(*chosen) for chosen in product(range(number), cores, INSTRUCTIONS)]


def main(options: Namespace) -> int:
    """Print what fails in each setting, and how often each case failed; 1 if any did."""
    if not hasattr(os, "sched_getaffinity"):
        raise ArgumentError(None, "--seeds: expected a system that can limit a process to some cores, such as Linux")
    if options.seed or options.markdown:
        raise ArgumentError(None, "--seeds: expected neither --seed nor --markdown with it; leave them out")
    chosen, started = settings(options.seeds), time.monotonic()
    failures, found = Counter[str](), dict[Setting, list[dict[str, Any]]]()
    for setting, entries in _runs(chosen, options):
        found[setting] = entries
        print(f"{setting}: {figures(entries)}", flush=True)
        for entry in entries:
            if not entry["passed"]:
                name = f"{entry['component']}[{entry['configuration']}]"
                failures[name] += 1
                print(f"  {name}: {entry['failure']}", flush=True)
        if options.minutes and time.monotonic() - started > 60 * options.minutes:
            break
    print(table(found), summary(failures, found), sep="\n")
    minutes = (time.monotonic() - started) / 60
    print(f"{len(found)} of {len(chosen)} settings in {minutes:.1f} minutes; all take {_all(minutes, found, chosen)}.")
    if options.json:
        options.json.write_text(json.dumps({str(setting): each for setting, each in found.items()}, indent=2) + "\n")
    return 1 if failures else 0


def figures(entries: list[dict[str, Any]]) -> str:
    """One run in one line."""
    failed, missed = sum(not entry["passed"] for entry in entries), sum(len(entry["missed"]) for entry in entries)
    defects = sum(len(entry["defects"]) for entry in entries)
    return f"{failed} of {len(entries)} cases failed, {missed} of {defects} planted defects missed"


def table(found: Found) -> str:
    """The runs by their limits, in Markdown."""
    lines = ["| limits | seeds | cases failed | planted defects missed |", "|---|---|---|---|"]
    for limits in dict.fromkeys(setting.limits for setting in found):
        runs = [entries for setting, entries in found.items() if setting.limits == limits]
        entries = [entry for run in runs for entry in run]
        failed, missed = sum(not entry["passed"] for entry in entries), sum(len(entry["missed"]) for entry in entries)
        defects = sum(len(entry["defects"]) for entry in entries)
        lines.append(f"| {limits} | {len(runs)} | {failed} of {len(entries)} | {missed} of {defects} |")
    return "\n".join(lines)


def summary(failures: Counter[str], found: Found) -> str:
    """All runs together."""
    everything = [entry for entries in found.values() for entry in entries]
    lines = [f"{len(found)} settings: {figures(everything)}"]
    return "\n".join(lines + [f"  {name}: failed in {number}" for name, number in failures.most_common()])


def _all(minutes: float, found: Found, chosen: list[Setting]) -> str:
    """How long all settings take, from those that were run."""
    return f"about {minutes * len(chosen) / len(found):.0f}" if len(found) < len(chosen) else "as long"


def _runs(chosen: list[Setting], options: Namespace) -> Iterator[tuple[Setting, list[dict[str, Any]]]]:
    """Each setting with an entry for each case, as `report.as_json` writes them."""
    with tempfile.TemporaryDirectory() as folder:
        for setting in chosen:
            file = Path(folder) / "found.json"
            file.unlink(missing_ok=True)
            done = subprocess.run(
                _command(setting, options, file),
                env=_environment(setting, Path(folder)),
                preexec_fn=lambda cores=setting.cores: os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores]),
                capture_output=True,
                text=True,
                check=False,
            )
            if not file.exists():
                raise RuntimeError(f"{setting}: expected a run of the cases, got\n{done.stderr}")
            yield setting, json.loads(file.read_text())


def _command(setting: Setting, options: Namespace, file: Path) -> list[str]:
    draws = ["--draws", str(options.draws)] if options.draws else []
    command = [sys.executable, "-m", "parity", "run", *options.names, "--seed", str(setting.seed), *draws]
    return [*command, "--processes", str(options.processes), "--json", str(file)]


def _environment(setting: Setting, folder: Path) -> dict[str, str]:
    """This process's environment with the setting, and programs that are compiled once for all seeds."""
    limits = INSTRUCTIONS[setting.instructions]
    flags = " ".join(filter(None, [os.environ.get("XLA_FLAGS"), limits.get("XLA_FLAGS")]))
    return {
        **os.environ,
        **limits,
        "XLA_FLAGS": flags,
        "OMP_NUM_THREADS": str(setting.cores),
        "JAX_COMPILATION_CACHE_DIR": str(folder / f"{setting.cores}, {setting.instructions}"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
