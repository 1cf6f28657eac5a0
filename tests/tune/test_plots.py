"""What the pictures of a sweep and of a range test show."""

from pathlib import Path

import numpy as np
import pytest

from jaxtrain.tune import plots

NOWHERE = Path("never written")


@pytest.fixture
def figures(monkeypatch):
    """The figures that would be saved."""
    saved = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: saved.append(figure))
    return saved


def drawn(axes):
    """The points of each line of a panel, and how they look."""
    return [
        (*(np.asarray(values).tolist() for values in line.get_data()), line.get_label(), line.get_alpha())
        for line in axes.get_lines()
    ]


def test_a_sweep_shows_runs_that_ended_were_stopped_and_diverged(figures):
    values = {
        "lr": np.array([1e-4, 1e-2, 0.1, 1.0]),
        "width": np.array([1.0, 2.0, 3.0, 50.0]),  # On a logarithmic axis from more than 50 times on.
        "depth": np.array([1.0, 2.0, 3.0, 50.5]),
        "decay": np.array([0.0, 2.0, 3.0, 99.0]),
    }
    stopped = np.array([False, True, False, False])
    plots.plot_outcome(values, np.array([0.5, 0.1, 30.0, np.nan]), stopped, 0, "loss", NOWHERE)
    [figure] = figures
    rates, *others = figure.axes
    assert drawn(rates) == [
        ([1e-4, 0.1], [0.5, 30.0], "_child0", 0.7),
        ([1e-2], [0.1], "stopped", 0.25),
        ([1.0], [1.0], "diverged: 1", None),
        ([1e-4], [0.5], "best: 0.0001", None),
    ]
    assert rates.get_lines()[2].get_transform() == rates.get_xaxis_transform()  # At the upper edge.
    assert [panel.get_xlabel() for panel in figure.axes] == ["lr", "width", "depth", "decay"]
    assert [panel.get_ylabel() for panel in figure.axes] == ["loss", "", "", ""]
    assert [panel.get_xscale() for panel in figure.axes] == ["log", "linear", "log", "linear"]
    assert {panel.get_yscale() for panel in figure.axes} == {"log"}
    assert [len(panel.get_legend().get_texts()) for panel in others] == [3, 3, 3]
    assert figure.get_size_inches().tolist() == [16.0, 4.5]


def test_five_hyper_parameters_make_two_rows(figures):
    values = {str(number): np.array([-1.0, 0.0, 99.0]) for number in range(5)}
    plots.plot_outcome(values, np.array([1.0, 2.0, 3.0]), np.array([False] * 3), 2, "loss", NOWHERE)
    [figure] = figures
    assert [panel.get_ylabel() for panel in figure.axes] == ["loss", "", "", "", "loss"]
    assert {panel.get_xscale() for panel in figure.axes} == {panel.get_yscale() for panel in figure.axes} == {"linear"}
    assert drawn(figure.axes[4])[-1] == ([99.0], [3.0], "best: 99", None)
    assert len(drawn(figure.axes[0])) == 2  # Nothing was stopped, and nothing diverged.
    assert figure.get_size_inches().tolist() == [16.0, 7.0]


def test_a_range_test_shows_the_fall_and_leaves_out_the_rise(figures):
    rates, losses = np.array([0.1, 1.0, 10.0]), np.array([5.0, 1.0, np.inf])
    plots.plot_range_test(rates, losses, np.array([5.0, 3.0, 9.0]), 0.25, NOWHERE)
    [axes] = figures[0].axes
    assert drawn(axes) == [
        ([0.1, 1.0, 10.0], [5.0, 1.0, np.inf], "loss of each batch", 0.3),
        ([0.1, 1.0, 10.0], [5.0, 3.0, 9.0], "smoothed", None),
        ([0.25, 0.25], [0, 1], "suggestion: 0.25", None),
    ]
    assert len(axes.get_legend().get_texts()) == 3
    assert axes.get_ylim() == pytest.approx((0.6, 7.0))  # The fall is from 5 to 1.
    assert (axes.get_xscale(), axes.get_xlabel(), axes.get_ylabel()) == ("log", "learning rate", "loss")
