"""A gallery of every schedule, with the values that PyTorch executes as dots on our lines.

    python examples/schedules.py

Prints the largest distance between the two for each schedule, in float32 ulp (steps of the floating point grid), writes
the picture, and exits non-zero if any distance is over 1. `python -m parity schedules` compares 100,000 steps of each.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from torch.optim import lr_scheduler as reference
from torch.optim.swa_utils import SWALR

from jaxtrain import schedules

STEPS, DOTS = 120, 30
LR = 0.1
LOSSES = (1 / (1 + np.arange(STEPS) / 6) + 0.02 * np.random.default_rng(0).normal(size=STEPS)).astype(np.float32)


class FractionalEpochs(NamedTuple):
    """Steps a torch scheduler within epochs, as its documentation shows."""

    scheduler: Any
    steps_per_epoch: int

    def step(self, step: int) -> None:
        self.scheduler.step(step // self.steps_per_epoch + step % self.steps_per_epoch / self.steps_per_epoch)


class OnLosses(NamedTuple):
    """Shows a torch scheduler the losses."""

    scheduler: Any

    def step(self, step: int) -> None:
        self.scheduler.step(LOSSES[step - 1])


class Panel(NamedTuple):
    """One picture: our values, and the torch scheduler to compare with, on a given optimizer."""

    title: str
    ours: Callable[[jax.Array], jax.Array]
    torchs: Callable[[torch.optim.Optimizer], Any]
    what: str = "lr"


def plateau(counts: jax.Array) -> jax.Array:
    """The rate of `reduce_lr_on_plateau` as the losses come in."""
    machine = schedules.reduce_lr_on_plateau(LR, factor=0.6, patience=3, threshold=0.02, cooldown=2)

    def epoch(state, loss):
        return machine.update(state, loss), state.lr

    return jax.lax.scan(epoch, machine.init(), jnp.asarray(LOSSES))[1][counts]


def halving(count):
    return 0.5 ** (count / 40)


def shrinking(count):
    return 1 - 1 / (count + 20)


def in_a_row(optimizer: torch.optim.Optimizer) -> reference.SequentialLR:
    warm_up = reference.LinearLR(optimizer, 0.05, 1.0, 20)
    return reference.SequentialLR(optimizer, [warm_up, reference.CosineAnnealingLR(optimizer, 100)], [20])


def decay_then_average(optimizer: torch.optim.Optimizer) -> reference.SequentialLR:
    decay = reference.ExponentialLR(optimizer, 0.98)
    return reference.SequentialLR(optimizer, [decay, SWALR(optimizer, 0.06, 20)], [70])


def at_once(optimizer: torch.optim.Optimizer) -> reference.ChainedScheduler:
    held = reference.ConstantLR(optimizer, 0.3, 30)
    return reference.ChainedScheduler([held, reference.CosineAnnealingLR(optimizer, 60, 0.02)])


PANELS = [
    Panel("step_lr", schedules.step_lr(LR, 30, 0.5), lambda o: reference.StepLR(o, 30, 0.5)),
    Panel(
        "multi_step_lr",
        schedules.multi_step_lr(LR, [20, 80, 80], 0.6),
        lambda o: reference.MultiStepLR(o, [20, 80, 80], 0.6),
    ),
    Panel("exponential_lr", schedules.exponential_lr(LR, 0.97), lambda o: reference.ExponentialLR(o, 0.97)),
    Panel("lambda_lr", schedules.lambda_lr(LR, halving), lambda o: reference.LambdaLR(o, halving)),
    Panel("constant_lr", schedules.constant_lr(LR, 0.4, 40), lambda o: reference.ConstantLR(o, 0.4, 40)),
    Panel("linear_lr", schedules.linear_lr(LR, 0.1, 1.0, 60), lambda o: reference.LinearLR(o, 0.1, 1.0, 60)),
    Panel("polynomial_lr", schedules.polynomial_lr(LR, 100, 2.0), lambda o: reference.PolynomialLR(o, 100, 2.0)),
    Panel(
        "multiplicative_lr",
        schedules.multiplicative_lr(LR, shrinking),
        lambda o: reference.MultiplicativeLR(o, shrinking),
    ),
    Panel(
        "cosine_annealing_lr",
        schedules.cosine_annealing_lr(LR, 50, 0.01),
        lambda o: reference.CosineAnnealingLR(o, 50, 0.01),
    ),
    Panel(
        "cosine_annealing_warm_restarts",
        schedules.cosine_annealing_warm_restarts(LR, 18, 2),
        lambda o: reference.CosineAnnealingWarmRestarts(o, 18, 2),
    ),
    Panel(
        "per_epoch, fractional",
        schedules.per_epoch(schedules.cosine_annealing_warm_restarts(LR, 1), 40, fractional=True),
        lambda o: FractionalEpochs(reference.CosineAnnealingWarmRestarts(o, 1), 40),
    ),
    Panel("swa_lr", schedules.swa_lr(LR, 0.03, 80), lambda o: SWALR(o, 0.03, 80)),
    Panel(
        "cyclic_lr, triangular",
        schedules.cyclic_lr(0.01, LR, 15, 25),
        lambda o: reference.CyclicLR(o, 0.01, LR, 15, 25),
    ),
    Panel(
        "cyclic_lr, triangular2",
        schedules.cyclic_lr(0.01, LR, 15, mode="triangular2"),
        lambda o: reference.CyclicLR(o, 0.01, LR, 15, mode="triangular2"),
    ),
    Panel(
        "cyclic_lr, exp_range",
        schedules.cyclic_lr(0.01, LR, 15, mode="exp_range", gamma=0.99),
        lambda o: reference.CyclicLR(o, 0.01, LR, 15, mode="exp_range", gamma=0.99),
    ),
    Panel(
        "cyclic_momentum",
        schedules.cyclic_momentum(0.8, 0.9, 15, 25),
        lambda o: reference.CyclicLR(o, 0.01, LR, 15, 25),
        "momentum",
    ),
    Panel("one_cycle_lr", schedules.one_cycle_lr(LR, STEPS), lambda o: reference.OneCycleLR(o, LR, STEPS)),
    Panel(
        "one_cycle_lr, linear",
        schedules.one_cycle_lr(LR, STEPS, anneal_strategy="linear"),
        lambda o: reference.OneCycleLR(o, LR, STEPS, anneal_strategy="linear"),
    ),
    Panel(
        "one_cycle_lr, three_phase",
        schedules.one_cycle_lr(LR, STEPS, three_phase=True),
        lambda o: reference.OneCycleLR(o, LR, STEPS, three_phase=True),
    ),
    Panel(
        "one_cycle_momentum",
        schedules.one_cycle_momentum(total_steps=STEPS),
        lambda o: reference.OneCycleLR(o, LR, STEPS),
        "momentum",
    ),
    Panel(
        "sequential_lr: linear, cosine",
        schedules.sequential_lr([schedules.linear_lr(LR, 0.05, 1.0, 20), schedules.cosine_annealing_lr(LR, 100)], [20]),
        in_a_row,
    ),
    Panel(
        "sequential_lr: exponential, swa",
        schedules.sequential_lr([schedules.exponential_lr(LR, 0.98), schedules.swa_lr(LR, 0.06, 20)], [70]),
        decay_then_average,
    ),
    Panel(
        "chained_scheduler: constant, cosine",
        schedules.chained_scheduler([schedules.constant_lr(LR, 0.3, 30), schedules.cosine_annealing_lr(LR, 60, 0.02)]),
        at_once,
    ),
    Panel(
        "reduce_lr_on_plateau",
        plateau,
        lambda o: OnLosses(reference.ReduceLROnPlateau(o, factor=0.6, patience=3, threshold=0.02, cooldown=2)),
    ),
]


def our_values(panel: Panel) -> np.ndarray:
    return np.asarray(jax.jit(panel.ours)(jnp.arange(STEPS)))


def torch_values(panel: Panel) -> np.ndarray:
    """What the scheduler leaves in the optimizer, step after step."""
    optimizer = torch.optim.SGD([torch.zeros((), requires_grad=True)], lr=LR, momentum=0.9)
    scheduler = panel.torchs(optimizer)
    optimizer.step()
    values = [optimizer.param_groups[0][panel.what]]
    for step in range(1, STEPS):
        scheduler.step(step) if isinstance(scheduler, FractionalEpochs | OnLosses) else scheduler.step()
        values.append(optimizer.param_groups[0][panel.what])
    return np.array(values)


def largest_ulp(ours: np.ndarray, torchs: np.ndarray) -> float:
    rounded = torchs.astype(np.float32)
    return float(np.max(np.abs(ours - rounded) / np.spacing(np.abs(rounded))))


def plot(results: list[tuple[Panel, np.ndarray, np.ndarray]], path: Path) -> None:
    mpl.use("Agg")
    columns = 4
    layout = ConstrainedLayoutEngine(w_pad=0.08, h_pad=0.06)
    figure, axes = plt.subplots(len(results) // columns, columns, figsize=(13, 13.5), sharex=True, layout=layout)
    counts, dots = np.arange(STEPS), slice(None, None, STEPS // DOTS)
    for axis, (panel, ours, torchs) in zip(axes.flat, results, strict=True):
        of_rate = panel.what == "lr"
        axis.plot(counts, ours, color="#17365c" if of_rate else "#3a9d5d", linewidth=1.6)
        axis.plot(counts[dots], torchs[dots], "o", color="#e4572e", markersize=3.2)
        axis.set_title(panel.title, fontsize=10)
        axis.set_ylim((0, 0.108) if of_rate else (0.76, 0.98))
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    handles = [
        Line2D([], [], color="#17365c", label="jaxtrain, learning rate"),
        Line2D([], [], color="#3a9d5d", label="jaxtrain, momentum"),
        Line2D([], [], color="#e4572e", marker="o", linestyle="", markersize=4, label="PyTorch, executed"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=11)
    figure.supxlabel("scheduler steps", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="A gallery of every schedule.")
    parser.add_argument(
        "--figure",
        type=Path,
        default=Path(__file__).parent / "figures" / "schedules.png",
        help="file for the picture; default: %(default)s",
    )
    options = parser.parse_args(arguments)

    results = [(panel, our_values(panel), torch_values(panel)) for panel in PANELS]
    distances = {panel.title: largest_ulp(ours, torchs) for panel, ours, torchs in results}
    width = max(map(len, distances))
    for title, distance in distances.items():
        print(f"{title:{width}}  {distance:.0f} ulp")
    plot(results, options.figure)
    print(f"picture: {options.figure}")

    over = [title for title, distance in distances.items() if not distance <= 1]
    if over:
        print(f"further than 1 float32 ulp from PyTorch: {', '.join(over)}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
