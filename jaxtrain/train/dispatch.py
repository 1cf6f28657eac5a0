"""How steps go to the device: many in one program where that pays, one by one elsewhere."""

import logging
from collections.abc import Callable, Hashable, Iterator
from functools import lru_cache, partial
from itertools import chain, pairwise
from typing import Any, Protocol

import jax
import numpy as np
from jaxtyping import Array, PyTree

from jaxtrain.train.cost import cost
from jaxtrain.train.data import Batches
from jaxtrain.train.metrics import Metrics
from jaxtrain.train.placement import Placement
from jaxtrain.train.sources import Stream, steps_in_epoch
from jaxtrain.train.state import TrainState
from jaxtrain.train.step import LossFn

_log = logging.getLogger("jaxtrain")

Step = Callable[[TrainState, Any], Any]
"""A train step or an evaluation step."""
Program = Callable[..., Any]
"""A program of many steps; its arguments are the state, the data, and the rows of each step."""
Dispatch = tuple[Callable[[TrainState], Any], int | None]
"""What to call with the state, and how many steps that is; None for one step whose metrics have no leading axis."""

_STEPS = 64
"""The most steps in a program: Ctrl-C and the metrics wait for its end."""
_WORK = {"cpu": 5e10}
"""The most multiplications in a program, about a second."""
_WORK_ELSEWHERE = 2e13
_FEWEST = {"cpu": 2}
"""With fewer steps in a program, starting each by itself costs next to nothing.

On a CPU every program asks the system for the memory of its intermediate results. For parity's `train.gpt` that took 23
of 106 ms a step, and 13 of 96 ms in programs of two steps (one core of an Intel Xeon, JAX 0.10.2).
"""
_FEWEST_ELSEWHERE = 8


class Feed(Protocol):
    """Cuts an epoch into dispatches."""

    @property
    def steps(self) -> int | None:
        """Steps in an epoch, None if they are not counted yet."""
        ...

    def epoch(self, epoch: int, done: int = 0, following: int | None = None) -> Iterator[Dispatch]:
        """The dispatches of one epoch after its first `done` steps; `following` is the epoch to prepare meanwhile."""
        ...


class Single:
    """One dispatch for every batch. Data come from the host, but the only batch of every epoch is sent once.

    Args:
        step: the compiled step.
        batches: where the batches come from.
        placement: over which devices the steps are spread; None for none.
        device: an accelerator on which they run. A batch is sent before the step on the one ahead of it starts, and
            travels meanwhile. Default None: each goes with its step.
    """

    def __init__(
        self,
        step: Step,
        batches: Batches | Stream,
        placement: Placement | None = None,
        device: Any = None,
    ) -> None:
        self._step = step
        self._batches = batches
        self._put = put(batches, placement, device)
        self._is_ahead = device is not None
        self._sent: list[PyTree] | None = None
        if isinstance(batches, Batches) and len(batches) == 1 and not batches.shuffle:
            self._sent = [self._put(batch) if placement else jax.device_put(batch) for batch in batches.epoch()]

    @property
    def steps(self) -> int | None:
        return steps_in_epoch(self._batches)

    def epoch(self, epoch: int, done: int = 0, following: int | None = None) -> Iterator[Dispatch]:
        if self._sent is not None:
            yield from ((partial(_call, self._step, batch), None) for batch in self._sent[done:])
            return
        batches = map(self._put, self._batches.epoch(epoch, done))
        if self._is_ahead:
            batches = (batch for batch, _ in pairwise(chain(batches, (None,))))
        for batch in batches:
            yield partial(_call, self._step, batch), None


class Scanned:
    """Many steps in one dispatch. Data live on the device, and the program gathers the rows of each batch."""

    def __init__(self, program: Program, batches: Batches, put: Callable[[PyTree], PyTree], size: int) -> None:
        self._program = program
        self._batches = batches
        self._put = put
        self._data = put(batches.data)
        self._size = size
        self._drawn: tuple[int, list[tuple[np.ndarray, PyTree]]] | None = None

    @property
    def steps(self) -> int:
        return len(self._batches)

    def epoch(self, epoch: int, done: int = 0, following: int | None = None) -> Iterator[Dispatch]:
        for rows, there in self._chunks(epoch):
            left, done = rows[done:], max(0, done - len(rows))
            if len(left):
                order = there if len(left) == len(rows) else left
                yield partial(_call, self._program, self._data, order), len(left)
        if following is not None:  # The device is busy now: time to draw the next order.
            self._chunks(following)

    def _chunks(self, epoch: int) -> list[tuple[np.ndarray, PyTree]]:
        """The rows of each program, on the host and on the device."""
        if self._drawn is None or (self._batches.shuffle and self._drawn[0] != epoch):
            chunks = self._cut(self._batches.order(epoch).astype(np.int32))
            self._drawn = epoch, [(rows, self._put(rows)) for rows in chunks]
        return self._drawn[1]

    def _cut(self, order: np.ndarray) -> list[np.ndarray]:
        """The rows of each program, (steps, rows of a batch): nearly equal, then a smaller last batch."""
        whole = len(order) // self._batches.batch_size
        chunks = []
        if whole:
            batches = order[: whole * self._batches.batch_size].reshape(whole, -1)
            chunks = np.array_split(batches, -(-whole // self._size))
        if whole < len(self._batches):
            chunks.append(order[None, whole * self._batches.batch_size :])
        return chunks


def put(batches: Batches | Stream, placement: Placement | None, device: Any = None) -> Callable[[PyTree], PyTree]:
    """How a batch goes to the devices: of arrays in memory every process has all rows, of an iterable its part."""
    if placement is None:
        return (lambda batch: batch) if device is None else partial(jax.device_put, device=device)
    return placement.put_batch if isinstance(batches, Stream) else placement.put_whole_batch


def accelerator(state: TrainState, placement: Placement | None) -> Any:
    """A device of the state to which batches can be sent ahead; None on a CPU, and on several without a placement."""
    devices = state.step.devices()
    device = next(iter(devices))
    return None if device.platform == "cpu" or (placement is None and len(devices) > 1) else device


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """`function` with the state, which comes last, in front."""
    *others, state = arguments
    return function(state, *others)


@lru_cache(maxsize=16)
def scanned(step: Step) -> Program:
    """A program that trains on the rows that each line of `order` lists."""

    def steps(state: TrainState, data: PyTree, order: Array) -> tuple[TrainState, Metrics]:
        return jax.lax.scan(lambda state, rows: step(state, _gathered(data, rows)), state, order)

    return jax.jit(steps, donate_argnums=0)


@lru_cache(maxsize=16)
def mapped(step: Step) -> Program:
    """A program that evaluates the rows that each line of `order` lists."""

    def steps(state: TrainState, data: PyTree, order: Array) -> Metrics:
        return jax.lax.map(lambda rows: step(state, _gathered(data, rows)), order)

    return jax.jit(steps)


def _gathered(data: PyTree, rows: Array) -> PyTree:
    return jax.tree.map(lambda leaf: leaf.at[rows].get(mode="promise_in_bounds"), data)


def feed(
    where: str,
    step: Step,
    many: Callable[[Step], Program],
    batches: Batches | Stream,
    state: TrainState,
    size: int | None,
    placement: Placement | None = None,
) -> Feed:
    """Choose how the steps go out, and log why.

    Args:
        where: what the log calls these steps.
        step: the compiled step.
        many: `scanned` or `mapped`.
        batches: where the batches come from.
        state: a state, for its shapes and its device.
        size: the most steps in a program; None to choose.
        placement: over which devices the steps are spread; None for none.
    """
    if isinstance(batches, Stream):
        size, reason = 1, "the batches come from an iterable"
    elif size is None:
        size, reason = _steps_in_a_program(step, batches, state, placement)
    else:
        reason = "so the caller chose"
    if isinstance(batches, Stream) or size == 1:
        _log.info("%s: single steps: %s", where, reason)
        return Single(step, batches, placement, accelerator(state, placement))
    _log.info("%s: up to %d steps in a program: %s", where, size, reason)
    device = next(iter(state.step.devices()))
    put_data = partial(jax.device_put, device=device) if placement is None else placement.put_everywhere
    return Scanned(many(step), batches, put_data, size)


def _steps_in_a_program(step: Any, batches: Batches, state: TrainState, placement: Placement | None) -> tuple[int, str]:
    """How many steps one program should have, and why."""
    devices = {device for leaf in jax.tree.leaves(state) for device in leaf.devices()}
    if placement is None and len(devices) > 1:
        return 1, "the state is spread over several devices, without a placement"
    device = next(iter(devices & set(jax.local_devices())))
    if len(batches) == 1:
        return 1, "an epoch has no more"
    stored = sum(leaf.nbytes for leaf in jax.tree.leaves(batches.data))
    memory = (device.memory_stats() or {}).get("bytes_limit")
    if memory is not None and stored > memory / 4:
        return 1, f"the data take {stored / memory:.0%} of the device's memory"
    rows = batches.batch_size
    batch = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype), batches.data)
    work, is_slow_in_loops = cost(step.trace(state, batch).jaxpr, device.platform)
    work /= len(devices)
    if is_slow_in_loops:
        return 1, "XLA is slow at these convolutions inside a loop on a CPU"
    size = min(_STEPS, len(batches), int(_WORK.get(device.platform, _WORK_ELSEWHERE) // max(work, 1)))
    if size < min(_FEWEST.get(device.platform, _FEWEST_ELSEWHERE), len(batches)):
        return 1, f"a step of {work:.1g} multiplications is long enough by itself"
    return size, "starting a program costs time"


def kept(make: Callable[..., Any], batch_size: int | None, loss_fn: LossFn, **options: Any) -> Any:
    """The step of a function, compiled before if there is one: the second of two equal calls of `fit` compiles nothing.

    Args:
        make: `make_train_step` or `make_eval_step`.
        batch_size: each has a step, and with it a memory of the shapes that the step warns about.
        loss_fn: the function to compile. The functions of the last calls are kept alive.
        **options: further arguments of `make`.
    """
    can_be_kept = all(isinstance(value, Hashable) for value in (loss_fn, *options.values()))
    return (_kept if can_be_kept else _kept.__wrapped__)(make, batch_size, loss_fn, **options)


@lru_cache(maxsize=16)
def _kept(make: Callable[..., Any], batch_size: int | None, loss_fn: LossFn, **options: Any) -> Any:
    return make(loss_fn, **options)
