"""Find the cause of a difference by experiment: the known mistakes, tried one by one on PyTorch's layer."""

from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np

from parity.diff.findings import Cause
from parity.diff.intercept import Change, FunctionCall
from parity.diff.mistakes import Mistake, mistakes_of
from parity.diff.records import Replayed


class Layer(Protocol):
    """A layer of PyTorch that can be run again."""

    def calls(self) -> list[FunctionCall]: ...

    def replay(
        self, dtype: str = ..., changes: Mapping[int, Change] | None = ..., gradients: bool = ...
    ) -> Replayed: ...


Same = Callable[[Replayed, bool], bool]
"""Whether what a changed layer computes is what JAX computed: outputs and buffers, or (True) gradients as well."""


def cause_of(layer: Layer, same: Same) -> Cause | None:
    """The known mistake with which PyTorch's layer computes what the port does; None if there is none."""
    half: Cause | None = None
    experiments = list(_experiments(layer.calls()))
    # Where the outputs are right, a change that leaves them alone explains nothing.
    backward_alone = same(layer.replay(gradients=False), False)
    for mistake, changes in experiments:
        if (found := _tried(layer, changes, gradients=False)) and same(found, False):
            full = _tried(layer, changes, gradients=True)
            if full and same(full, True):
                return Cause(mistake.says, mistake.fix)
            if not backward_alone:
                half = half or Cause(mistake.says, mistake.fix, complete=False)
    return half


def _tried(layer: Layer, changes: Mapping[int, Change], *, gradients: bool) -> Replayed | None:
    try:
        found = layer.replay(changes=changes, gradients=gradients)
        # NaN equals NaN, and explains nothing.
        return found if all(np.isfinite(output).all() for output in found.outputs) else None
    except Exception:
        return None  # The layer, which is the user's code, does not run with this mistake, so the port has another one.


def _experiments(calls: list[FunctionCall]) -> Iterator[tuple[Mistake, dict[int, Change]]]:
    """Each mistake at all calls that can have it, then at each of them."""
    sites: dict[tuple[str, str], list[tuple[int, Mistake, tuple[int, ...]]]] = {}
    for number, call in enumerate(calls):
        for mistake in mistakes_of(call):
            sites.setdefault((call.name, mistake.says), []).append((number, mistake, _shape(call)))
    for found in sites.values():
        yield found[0][1], {number: mistake.change for number, mistake, _ in found}
    for found in sites.values():
        # Query, key and value, say, are treated alike, and have one shape.
        shapes = {shape for _, _, shape in found}
        for shape in shapes if len(shapes) > 1 else ():
            yield found[0][1], {number: mistake.change for number, mistake, other in found if other == shape}
    for found in sites.values():
        for number, mistake, _ in found if len(found) > 1 else ():
            yield mistake, {number: mistake.change}


def _shape(call: FunctionCall) -> tuple[int, ...]:
    return tuple(getattr(call.first, "shape", ())) if call.args or call.kwargs else ()
