"""Memory that a stage no longer needs."""

import ctypes
import gc
import sys


def give_back() -> None:
    """Return freed memory to the system; a stage that frees gigabytes would leave them with the C library."""
    gc.collect()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)
