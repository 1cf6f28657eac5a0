"""What PyTorch lacks in half precision is computed in float32 and rounded; what it has is not."""

import pytest
import torch
import torch.nn.functional as F

from parity.references.missing_kernels import Float32WhereMissing

LABELS = torch.tensor([1, 0])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_missing_kernel_computes_in_float32_between_two_roundings(precision):
    logits = torch.randn(2, 3, generator=torch.Generator().manual_seed(0))
    half, single = (logits.to(getattr(torch, precision)).requires_grad_(wide) for wide in (True, False))
    single = single.float().requires_grad_()
    with pytest.raises(NotImplementedError):
        F.multi_margin_loss(half, LABELS)
    with Float32WhereMissing(precision):
        value = F.multi_margin_loss(half, LABELS)
        value.backward()
    expected = F.multi_margin_loss(single, LABELS)
    expected.backward()
    assert (value.dtype, half.grad.dtype) == (half.dtype, half.dtype)
    assert value == expected.to(half.dtype)
    assert (half.grad == single.grad.to(half.dtype)).all()


def test_a_kernel_that_exists_is_used(monkeypatch):
    monkeypatch.setattr(Float32WhereMissing, "_widened", lambda *_: pytest.fail("expected the kernel for float16"))
    with Float32WhereMissing("float16"):
        assert torch.ones(3, dtype=torch.float16).cumsum(0).tolist() == [1, 2, 3]


def test_float32_and_float64_are_left_alone():
    x = torch.tensor([0.1], dtype=torch.float64)
    with Float32WhereMissing("float32"):
        assert (x / 3).dtype == torch.float64
