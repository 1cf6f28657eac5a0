"""Two programs timed in turns, so that what disturbs one disturbs the other."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Clock = Callable[[], float]


@dataclass(frozen=True)
class Samples:
    """Seconds of both programs, round by round.

    Attributes:
        ours: our seconds.
        theirs: the counterpart's seconds in the same rounds.
    """

    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def medians(self) -> tuple[float, float]:
        return statistics.median(self.ours), statistics.median(self.theirs)

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours over theirs, in each round."""
        return tuple(ours / theirs for ours, theirs in zip(self.ours, self.theirs, strict=True))

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def uncertainty(self) -> float:
        """Standard error of `ratio`, as far as the rounds are independent draws of one normal distribution."""
        low, high = quartiles(self.ratios)
        return 0.93 * (high - low) / math.sqrt(len(self.ratios))

    @property
    def fastest_ratio(self) -> float:
        """Our fastest round over their fastest."""
        return min(self.ours) / min(self.theirs)


def quartiles(values: tuple[float, ...]) -> tuple[float, float]:
    """The first and the third quartile; both are the value itself if there is only one."""
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, method="inclusive")
    return first, third


@dataclass(frozen=True)
class Patience:
    """How long to time two programs.

    Attributes:
        half: seconds that each program runs in a round, reached by calling a short one several times.
        rounds: number of rounds, at least.
        precision: standard error of the ratio that is small enough.
        seconds: after how many seconds to give up reaching it.
    """

    half: float = 0.005
    rounds: int = 40
    precision: float = 0.005
    seconds: float = 6.0


def interleaved(
    ours: Callable[[], object], theirs: Callable[[], object], patience: Patience, clock: Clock = time.perf_counter
) -> Samples:
    """Time both in turns: ours, theirs, theirs, ours, ours, ...

    Args:
        ours: our program; it returns when its work is done.
        theirs: the counterpart's.
        patience: when to stop.
        clock: gives the time in seconds.

    Returns:
        Seconds of a call, in every round.
    """
    our_calls, their_calls = _calls(ours, patience.half, clock), _calls(theirs, patience.half, clock)
    our_times, their_times = [], []
    end = clock() + patience.seconds
    while True:
        # Neither is always the one that runs second.
        if len(our_times) % 2 == 0:
            our_times.append(_seconds(ours, our_calls, clock))
            their_times.append(_seconds(theirs, their_calls, clock))
        else:
            their_times.append(_seconds(theirs, their_calls, clock))
            our_times.append(_seconds(ours, our_calls, clock))
        if len(our_times) >= patience.rounds:
            samples = Samples(tuple(our_times), tuple(their_times))
            if samples.uncertainty <= patience.precision or clock() >= end:
                return samples


def _calls(function: Callable[[], object], seconds: float, clock: Clock) -> int:
    """How many calls take so many seconds; the first ones, which warm caches up, are not counted."""
    function()
    one = min(_seconds(function, 1, clock) for _ in range(3))
    return max(1, math.ceil(seconds / one)) if one > 0 else 1


def _seconds(function: Callable[[], object], calls: int, clock: Clock) -> float:
    start = clock()
    for _ in range(calls):
        function()
    return (clock() - start) / calls
