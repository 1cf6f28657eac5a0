"""`python -m parity accuracy`: errors by quantity, and their tables."""

import json
from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
import torch.nn.functional as F

from jaxtrain import losses
from parity.__main__ import main
from parity.accuracy import command, report
from parity.accuracy.measuring import Accuracy, measure, title
from parity.subjects.loss import LossCase
from parity.trace import Quantity

VALUES = np.random.default_rng(0).normal(size=(2, 50, 20)).astype(np.float32)
CASE = partial(
    LossCase, component="losses.mse_loss", reference=F.mse_loss, inputs=[tuple(VALUES)], reductions=("none",)
)


def worse(input, target, reduction):
    """The loss with an error of 2⁻²⁰ in each element, up or down."""
    return losses.mse_loss(input, target, reduction=reduction) * (1 + jnp.where(input > 0, 1, -1) * 2.0**-20)


def test_errors_are_in_units_of_rounding():
    right, wrong = ({one.quantity: one for one in measure(CASE(ours=ours))} for ours in (losses.mse_loss, worse))
    assert right.keys() == {"value", "gradient by input 0"}
    assert 0.5 < right["value"].ratio < 1.5
    truth = np.square(VALUES[0].astype(np.float64) - VALUES[1])
    # 2⁻²⁰ are sixteen roundings of float32, relative to each element.
    expected = 16 * np.sqrt(np.mean(np.square(truth))) / truth.max()
    assert wrong["value"].ours == pytest.approx(expected, rel=0.2)
    assert wrong["value"].torch == right["value"].torch
    assert wrong["value"].ratio > 10


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        (Quantity("value of shape (3, 4)", "mean"), "value"),
        (Quantity("gradient by input 1 of shape (3, 4)", "mean"), "gradient by input 1"),
        (Quantity("gradient 0", "kernel"), "gradient kernel"),
        (Quantity("output 2"), "output"),
        (Quantity("state exp_avg", "rows"), "state exp_avg"),
    ],
)
def test_a_quantity_has_one_name_at_every_step(quantity, expected):
    assert title(quantity) == expected


def accuracy(ours, torch=1.0, **others):
    named = {"component": "nn.Conv", "configuration": "a", "quantity": "output", "precision": "float32"} | others
    return Accuracy(**named, ours=ours, torch=torch, least=max(torch, 0.5))


def test_tables_have_the_largest_ratio_of_each_quantity():
    found = [
        accuracy(0.9),
        accuracy(1.6, configuration="b"),
        accuracy(0.1, 0.2, precision="float16"),
        accuracy(250.0, 250.0, quantity="gradient kernel"),
    ]
    text = report.markdown(found, "(here)")
    assert text.startswith("4 quantities of 1 components: 1 over 1.5 times PyTorch's error; the largest ratio is 1.60")
    assert "| float32 | 3 | 0 | 2 | 0 | 1 | 1.00 | 1.60 |" in text
    assert "| bfloat16 | 0 | - | - | - | - | - | - |" in text
    assert text.index("| `nn.Conv[b]` | output | float32 | 1.60 | 1.00 | 1.60 |") < text.index("`nn.Conv[a]`")
    assert "| `nn.Conv` | output | 1.60, 1.00, **1.60** | - | 0.10, 0.20, **0.20** |" in text
    assert "| `nn.Conv` | gradient kernel | 250, 250, **1.00** | - | - |" in text


def test_command_writes_what_it_measured(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command, "all_cases", lambda: [CASE(ours=losses.mse_loss)])
    assert main(["accuracy", "mse", "--json", str(tmp_path / "a.json"), "--markdown", str(tmp_path / "a.md")]) == 0
    entries = json.loads((tmp_path / "a.json").read_text())
    assert [entry["quantity"] for entry in entries] == ["value", "gradient by input 0"]
    assert entries[0]["ratio"] == pytest.approx(entries[0]["ours"] / entries[0]["least"])
    assert "| `losses.mse_loss` | value |" in (tmp_path / "a.md").read_text()
    printed = capsys.readouterr().out
    assert "losses.mse_loss[defaults]" in printed
    assert "2 quantities of 1 components: 0 over 1.5 times" in printed
