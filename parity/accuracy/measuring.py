"""The errors of a case, quantity by quantity."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import ml_dtypes

from parity.case import Case
from parity.cases import all_cases
from parity.precision import Pool, pooled
from parity.runner import workers
from parity.trace import Quantity


@dataclass(frozen=True)
class Accuracy:
    """How far both sides are from PyTorch in float64, in one quantity of one case.

    The errors are root mean squares. They are relative to the largest magnitude of the quantity, or to the distance
    that a parameter travelled, in units of half the distance between 1 and the next number of the precision.

    Attributes:
        component: public name below `jaxtrain`.
        configuration: of the case.
        quantity: what is computed, such as "output" or "gradient kernel".
        precision: the dtype of both sides.
        ours: our error.
        torch: PyTorch's error.
        least: PyTorch's error, or that of rounding the result once where it is larger.
    """

    component: str
    configuration: str
    quantity: str
    precision: str
    ours: float
    torch: float
    least: float

    @property
    def ratio(self) -> float:
        """Our error over PyTorch's, which counts as at least that of rounding; 0 where ours is."""
        return self.ours / self.least if self.ours else 0.0


def measure(case: Case) -> list[Accuracy]:
    """The errors of a case; those of the same quantity at several steps or in several sets of inputs together."""
    whole: dict[str, list[Pool]] = {}
    for (quantity, _), pool in pooled(case.in_precision(), case.precision).items():
        if pool.count:
            whole.setdefault(title(quantity), []).append(pool)
    unit = float(ml_dtypes.finfo(case.precision).eps) / 2

    def mean(pools: list[Pool], squares: str) -> float:
        return (sum(getattr(pool, squares) for pool in pools) / sum(pool.count for pool in pools)) ** 0.5 / unit

    return [
        Accuracy(
            component=case.component,
            configuration=case.configuration,
            quantity=quantity,
            precision=case.precision,
            ours=mean(pools, "ours"),
            torch=mean(pools, "theirs"),
            least=max(mean(pools, "theirs"), mean(pools, "rounding"), mean(pools, "grid") / 3**0.5),
        )
        for quantity, pools in whole.items()
    ]


def title(quantity: Quantity) -> str:
    """What a quantity is, whatever its step, shape or leaf: "gradient by input 0", "gradient kernel", "exp_avg"."""
    kind, *shape = quantity.kind.split(" of shape ")
    kind = kind if shape else re.sub(r" \d+$", "", kind)
    return f"{kind} {quantity.path}" if kind in ("gradient", "buffer") and quantity.path else kind


def measure_all(cases: Sequence[Case], processes: int = 1) -> Iterator[list[Accuracy]]:
    """The errors of each case, in order; with several processes the cases must be from the tables."""
    if processes == 1:
        yield from map(measure, cases)
        return
    with workers(processes) as pool:  # Neighbours share compiled programs, so a process takes a few at a time.
        yield from pool.map(_measure_named, [case.name for case in cases], chunksize=4)


def _measure_named(name: str) -> list[Accuracy]:
    return measure(next(case for case in all_cases() if case.name == name))
