"""Who takes part; each library is imported only by those who use it."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from parity.speed.runs.task import Cnn, Task

Trainer = Callable[[int], None]
"""Trains for so many epochs, and returns when they are done."""


@dataclass(frozen=True)
class Contestant:
    """One way to train a task.

    Attributes:
        key: what the command selects it by.
        title: for the reader.
        module: the module that has `function`.
        function: `function(task, **options)` returns a `Trainer`.
        options: its further arguments.
        network: the kind of network that it is for; None for all.
    """

    key: str
    title: str
    module: str
    function: str
    options: tuple[tuple[str, Any], ...] = ()
    network: type | None = None

    def trains(self, task: Task) -> bool:
        """Whether it is one of the ways to train this task."""
        return self.network is None or isinstance(task.network, self.network)

    def make(self, task: Task) -> Trainer:
        """Build the network and the optimizer; the first epoch compiles."""
        module = import_module(f"parity.speed.runs.{self.module}")
        return getattr(module, self.function)(task, **dict(self.options))


HAND, PRODUCTS = "jax-step", "products"
CONTESTANTS = (
    Contestant(HAND, "hand-written JAX, steps", "by_hand", "steps"),
    Contestant("jax-epoch", "hand-written JAX, scanned epoch", "by_hand", "scanned"),
    Contestant(
        "jax-epoch-canonical",
        "hand-written JAX, scanned epoch, canonical gradients",
        "by_hand",
        "scanned",
        (("canonical_gradients", True),),
        Cnn,
    ),
    Contestant("flax", "Flax, `nnx.jit`", "by_flax", "steps"),
    Contestant("step", "jaxtrain, `make_train_step`", "by_us", "steps"),
    Contestant("fit", "jaxtrain, `fit`", "by_us", "fitted"),
    Contestant("torch", "PyTorch, eager", "by_torch", "steps"),
    Contestant("torch-fused", "PyTorch, fused optimizer", "by_torch", "steps", (("fused", True),)),
    Contestant("torch-compile", "PyTorch, `torch.compile`", "by_torch", "steps", (("compiled", True),)),
    Contestant(PRODUCTS, "the step's matrix products alone", "products", "alone"),
)
