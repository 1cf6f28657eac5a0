"""Let Ctrl-C and SIGTERM interrupt a run between two steps, not within one."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

TERMINATED = 128 + signal.SIGTERM
"""The exit code of a process that SIGTERM ended, 143, as shells report it."""


class InterruptBetweenSteps:
    """A context in which Ctrl-C and SIGTERM wait for `check`, so that a step is never cut in two and its state lost.

    A step consumes its state: were it interrupted after that, there would be none to return. A second Ctrl-C interrupts
    at once. Outside the main thread, or with another handler of a signal in place, nothing changes.
    """

    _DEFAULTS = ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL))

    def __init__(self) -> None:
        self._asked: int | None = None
        self._replaced: list[tuple[signal.Signals, object]] = []

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._replaced = [(which, old) for which, old in self._DEFAULTS if signal.getsignal(which) is old]
            for which, _ in self._replaced:
                signal.signal(which, self._ask)
        return self

    def check(self) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed, SystemExit after SIGTERM."""
        asked, self._asked = self._asked, None
        if asked == signal.SIGINT:
            raise KeyboardInterrupt
        if asked == signal.SIGTERM:
            raise SystemExit(TERMINATED)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for which, old in self._replaced:
            signal.signal(which, old)  # pyright: ignore[reportArgumentType] It was a handler before.

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked == number == signal.SIGINT:
            raise KeyboardInterrupt
        self._asked = number
