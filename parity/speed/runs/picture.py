"""The races as a picture; needs matplotlib."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parity.speed.runs.measure import Race, Result

_COLORS = {"by_us": "#17365c", "by_hand": "#8fa3bf", "by_flax": "#8fa3bf", "by_torch": "#e4572e", "products": "#c8c8c8"}
_COLUMNS = 3


def draw(races: Sequence[Race], note: str, path: Path) -> None:
    """Draw the steps a second of each contestant, a panel for each race; the file's ending decides the format."""
    from matplotlib.figure import Figure

    rows = math.ceil(len(races) / _COLUMNS)
    height = 0.7 + rows * (0.7 + 0.27 * max(len(race.results) for race in races))
    figure = Figure((11, height), layout="constrained")
    panels = list(figure.subplots(rows, min(len(races), _COLUMNS), squeeze=False, sharey=True).flat)
    for race, axes in zip(races, panels, strict=False):
        _panel(axes, race)
    for axes in panels[len(races) :]:
        axes.set_visible(False)
    figure.supxlabel(f"steps a second\n{note}", fontsize="small")
    figure.savefig(path, dpi=150)


def _panel(axes: Any, race: Race) -> None:
    """Horizontal bars, the first contestant at the top; one without figures has no bar, and its row says so."""
    names = [result.contestant.title.replace("`", "") for result in race.results]
    speeds = [_steps(race, result) for result in race.results]
    bars = axes.barh(names, speeds, color=[_COLORS[result.contestant.module] for result in race.results])
    labels = [f"{speed:,.0f}" if speed >= 100 else f"{speed:.3g}" if speed else "none" for speed in speeds]
    axes.bar_label(bars, labels, padding=3, fontsize="small")
    axes.set(title=race.task.name, xlim=(0, 1.25 * max(speeds) or 1))
    axes.title.set_fontsize("medium")
    axes.tick_params(labelsize="small")
    axes.spines[["top", "right"]].set_visible(False)
    if not axes.yaxis_inverted():
        axes.invert_yaxis()


def _steps(race: Race, result: Result) -> float:
    """Steps a second; 0 for none."""
    return race.task.steps / result.epoch if result.seconds else 0.0
