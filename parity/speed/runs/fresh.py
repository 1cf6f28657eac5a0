"""`python -m parity.speed.runs.fresh TASK CONTESTANT BEGIN`: the first step of a contestant in a process of its own.

Prints the seconds from BEGIN, in the system's clock, to the end of the first step, and the peak of memory in bytes.
"""

import dataclasses
import json
import resource
import sys
import time
from pathlib import Path

from parity.speed.runs.contestants import CONTESTANTS
from parity.speed.runs.task import TASKS


def main(task_name: str, contestant_key: str, begin: float) -> None:
    task = next(task for task in TASKS if task.name == task_name)
    contestant = next(contestant for contestant in CONTESTANTS if contestant.key == contestant_key)
    contestant.make(dataclasses.replace(task, steps=1))(1)
    print(json.dumps({"start_up": time.time() - begin, "peak": peak()}))


def peak() -> int:
    """The most bytes at once, of the GPU if there is one, otherwise of this process."""
    if "jax" in sys.modules:
        import jax

        if statistics := jax.devices()[0].memory_stats():
            return statistics["peak_bytes_in_use"]
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated()
    try:
        # Not from `getrusage`: on Linux a process that another one starts takes over that one's peak.
        status = Path("/proc/self/status").read_text()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
