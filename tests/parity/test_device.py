"""On a GPU or TPU: verdicts with full products, and what the default products change as a row of its own."""

import json

import jax
import numpy as np
import pytest
import torch

from parity import device, report
from parity.runner import run
from parity.subjects.loss import LossCase

VALUES = np.random.default_rng(0).normal(size=(2, 30, 20)).astype(np.float32)


def like_a_device(input, target):
    """A product that is rounded where no precision is asked for, as on a device."""
    product = input * target
    return product if jax.config.jax_default_matmul_precision == "highest" else jax.lax.reduce_precision(product, 8, 10)


def on_device(monkeypatch, ours, wrong=lambda input, target: input * target + 1):
    monkeypatch.setattr(device, "is_cpu", lambda: False)
    case = LossCase(
        component="nn.linear", ours=ours, reference=torch.mul, inputs=[tuple(VALUES)], defects={"one more": wrong}
    )
    return run(case)


def test_default_products_are_shown_and_not_judged(monkeypatch):
    result = on_device(monkeypatch, like_a_device)
    assert result.passed
    assert result.measurement.ours == pytest.approx(result.measurement.torch)
    assert result.default is not None
    assert 1e-5 < result.default.ours < 1e-3
    row = report.default_row(result)
    assert row[:4] == ("nn.linear", "defaults", "", "default products")
    assert report.table([result]).row_count == 2
    [entry] = json.loads(report.as_json([result]))
    assert entry["default_error"] == result.default.ours


def test_a_case_without_products_has_one_row(monkeypatch):
    result = on_device(monkeypatch, lambda input, target: input * target)
    assert result.default is not None
    assert result.default.ours == result.measurement.ours
    assert report.table([result]).row_count == 1


def test_on_a_cpu_there_is_nothing_to_compare(monkeypatch):
    monkeypatch.setattr(device, "is_cpu", lambda: True)
    case = LossCase(component="nn.linear", ours=like_a_device, reference=torch.mul, inputs=[tuple(VALUES)])
    assert run(case).default is None
    with device.full_products():
        assert jax.config.jax_default_matmul_precision is None
