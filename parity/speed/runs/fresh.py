"""`python -m parity.speed.runs.fresh TASK CONTESTANT BEGIN`: the first step of a contestant in a process of its own.

Prints the seconds from BEGIN, in the system's clock, to the end of the first step, and the peak of memory in bytes.
"""

import dataclasses
import json
import resource
import sys
import time

from parity.speed.runs.contestants import CONTESTANTS
from parity.speed.runs.task import TASKS


def main(task_name: str, contestant_key: str, begin: float) -> None:
    task = next(task for task in TASKS if task.name == task_name)
    contestant = next(contestant for contestant in CONTESTANTS if contestant.key == contestant_key)
    contestant.make(dataclasses.replace(task, steps=1))(1)
    print(json.dumps({"start_up": time.time() - begin, "peak": _peak()}))


def _peak() -> int:
    """Bytes of the GPU if there is one, otherwise of this process."""
    if "jax" in sys.modules:
        import jax

        if statistics := jax.devices()[0].memory_stats():
            return statistics["peak_bytes_in_use"]
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]))
