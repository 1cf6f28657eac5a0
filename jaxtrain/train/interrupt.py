"""Ctrl-C between two steps, not within one."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class InterruptBetweenSteps:
    """A context in which Ctrl-C waits for `check`, so that a step is never cut in two and its state lost.

    A step consumes its state: were it interrupted after that, there would be none to return. A second Ctrl-C interrupts
    at once. Outside the main thread, or with another handler of SIGINT in place, nothing changes.
    """

    def __init__(self) -> None:
        self._asked = False
        self._installed = False

    def __enter__(self) -> Self:
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        ):
            signal.signal(signal.SIGINT, self._ask)
            self._installed = True
        return self

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed."""
        if self._asked:
            self._asked = False
            raise KeyboardInterrupt

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
