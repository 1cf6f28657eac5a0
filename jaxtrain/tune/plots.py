"""The pictures of a sweep and of a range test; needs matplotlib."""

from pathlib import Path
from typing import Any

import numpy as np

BLUE, ORANGE, GREEN = "#17365c", "#e4572e", "#3a9d5d"


def plot_outcome(values: dict[str, np.ndarray], results: np.ndarray, best: int, label: str, path: Path) -> None:
    """Draw the result of each run against each of its hyper-parameters."""
    figure, panels = _panels(len(values))
    for axes, (name, numbers) in zip(panels, values.items(), strict=True):
        axes.plot(numbers, results, "o", color=BLUE, markersize=4, alpha=0.7)
        axes.plot(numbers[best], results[best], "o", color=ORANGE, label=f"best: {numbers[best]:.3g}")
        axes.set(xlabel=name, xscale="log" if _spans_decades(numbers) else "linear")
        axes.legend(frameon=False)
    finite = results[np.isfinite(results)]
    if _spans_decades(finite):
        panels[0].set_yscale("log")
    panels[0].set_ylabel(label)
    _save(figure, path)


def plot_range_test(rates: np.ndarray, losses: np.ndarray, smooth: np.ndarray, suggestion: float, path: Path) -> None:
    """Draw the loss of a range test against the learning rate."""
    figure, (axes,) = _panels(1)
    axes.plot(rates, losses, color=BLUE, alpha=0.3, label="loss of each batch")
    axes.plot(rates, smooth, color=BLUE, label="smoothed")
    axes.axvline(suggestion, color=GREEN, linestyle="--", linewidth=1, label=f"suggestion: {suggestion:.2g}")
    shown = smooth[np.isfinite(smooth)]
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(0.9 * shown.min(), 1.5 * shown[0]))
    axes.legend(frameon=False)
    _save(figure, path)


def _spans_decades(numbers: np.ndarray) -> bool:
    return bool(len(numbers) and numbers.min() > 0 and numbers.max() > 50 * numbers.min())


def _panels(count: int) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plot: expected matplotlib, which is not installed; pip install jaxtrain[tune]") from error
    # A figure of its own, without pyplot, leaves the user's backend and open figures alone.
    figure = Figure(figsize=(max(8, 4.5 * count), 4.5), layout="constrained")
    panels = figure.subplots(1, count, sharey=True, squeeze=False)[0]
    for axes in panels:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
