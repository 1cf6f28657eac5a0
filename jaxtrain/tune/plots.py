"""The pictures of a sweep and of a range test; needs matplotlib."""

from pathlib import Path
from typing import Any

import numpy as np

_COLUMNS = 4
BLUE, ORANGE, GREEN = "#17365c", "#e4572e", "#3a9d5d"


def plot_outcome(
    values: dict[str, np.ndarray], results: np.ndarray, stopped: np.ndarray, best: int, label: str, path: Path
) -> None:
    """Draw the result of each run against each of its hyper-parameters."""
    figure, panels = _panels(len(values))
    finite = np.isfinite(results)
    looks = [(finite & ~stopped, {"alpha": 0.7}), (finite & stopped, {"alpha": 0.25, "label": "stopped"})]
    for axes, (name, numbers) in zip(panels, values.items(), strict=True):
        for runs, look in looks:
            if runs.any():
                axes.plot(numbers[runs], results[runs], "o", color=BLUE, markersize=4, **look)
        if not finite.all():
            # At the upper edge: they have no place on the axis.
            at_the_edge = {"transform": axes.get_xaxis_transform(), "clip_on": False}
            lost = numbers[~finite]
            axes.plot(lost, np.ones(len(lost)), "x", color=ORANGE, label=f"diverged: {len(lost)}", **at_the_edge)
        axes.plot(numbers[best], results[best], "o", color=GREEN, label=f"best: {numbers[best]:.3g}")
        axes.set(xlabel=name, xscale="log" if _spans_decades(numbers) else "linear")
        # Above the panel: among the points its marks would look like some more.
        axes.legend(frameon=False, fontsize="small", loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    if _spans_decades(results[finite]):
        panels[0].set_yscale("log")
    for axes in panels[::_COLUMNS]:
        axes.set_ylabel(label)
    _save(figure, path)


def plot_range_test(rates: np.ndarray, losses: np.ndarray, smooth: np.ndarray, suggestion: float, path: Path) -> None:
    """Draw the loss of a range test against the learning rate."""
    figure, (axes,) = _panels(1)
    axes.plot(rates, losses, color=BLUE, alpha=0.3, label="loss of each batch")
    axes.plot(rates, smooth, color=BLUE, label="smoothed")
    axes.axvline(suggestion, color=GREEN, linestyle="--", linewidth=1, label=f"suggestion: {suggestion:.2g}")
    # What diverges leaves at the top.
    low = losses[np.isfinite(losses)].min()
    fall = smooth[0] - low
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(low - 0.1 * fall, smooth[0] + 0.5 * fall))
    axes.legend(frameon=False)
    _save(figure, path)


def _spans_decades(numbers: np.ndarray) -> bool:
    return bool(len(numbers) and numbers.min() > 0 and numbers.max() > 50 * numbers.min())


def _panels(count: int) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plot: expected matplotlib, which is not installed; pip install 'jaxtrain[tune]'") from error
    # A figure of its own, without pyplot, leaves the user's backend and open figures alone.
    columns, rows = min(count, _COLUMNS), -(-count // _COLUMNS)
    figure = Figure(figsize=(max(8, 4 * columns), 4.5 if rows == 1 else 3.5 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    panels = grid[:count]
    for axes in grid[count:]:
        axes.remove()
    for axes in panels:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    return figure, panels


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
