"""Where and when something was measured, with which versions."""

import datetime
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def note_on(device: str, *others: str) -> str:
    """Today's date, the device, and the versions of JAX, Flax, Optax and other packages that are installed."""
    known = []
    for name in ("JAX", "Flax", "Optax", *others):
        try:
            known.append(f"{name} {version(name.lower())}")
        except PackageNotFoundError:
            continue
    return f"{datetime.date.today()}: {device}; {', '.join(known)}."


def processor() -> str:
    """The processor's name as the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
