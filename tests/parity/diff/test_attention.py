"""Attention as Flax writes it: masks of another convention, and a product that runs in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jaxtrain import interop
from parity import diff
from parity.diff.judge import fed
from parity.diff.records import Call

pytestmark = pytest.mark.usefixtures("promotion")

X = np.random.default_rng(0).normal(size=(2, 5, 6))
LATER = np.triu(np.ones((5, 5), bool), 1)


@pytest.mark.parametrize("mask", [~LATER, (~LATER).astype(np.float32), np.where(LATER, -1e9, 0.0)])
def test_a_mask_of_another_convention_stays_ours(mask):
    theirs = Call("a", 0, "A", None, [X, np.where(LATER, -np.inf, 0.0)], [])
    given = fed(Call("a", 0, "A", None, [X, mask[None, None]], []), theirs)
    np.testing.assert_array_equal(given.inputs[1], mask[None, None])
    assert given.sources[1] is None
    same = fed(Call("a", 0, "A", None, [X, theirs.inputs[1]], []), theirs)
    assert same.sources[1] is not None


class Theirs(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, attn_mask=torch.tensor(LATER), need_weights=False)[0]


class Ours(nnx.Module):
    def __init__(self, causal: bool):
        self.attention, self.causal = nnx.MultiHeadAttention(2, 6, decode=False, rngs=nnx.Rngs(0)), causal

    def __call__(self, x: jax.Array) -> jax.Array:
        # Flax makes masks of floats.
        return self.attention(x, mask=nnx.make_causal_mask(x[..., 0]) if self.causal else None)


@pytest.mark.long
def test_attention_that_runs_in_float32_raises_no_alarm_and_hides_no_mask():
    torch.manual_seed(0)
    theirs = Theirs()
    right, wrong = (interop.load_state_dict(Ours(causal), theirs.state_dict()) for causal in (True, False))
    report = diff.compare(theirs, right, (X,))
    assert report.same
    assert max(each.error for each in report.running) > 1e-9
    assert "computes in float32" in report.notes[0]
    assert jnp.float32 == right.attention.query.kernel[...].dtype
    report = diff.compare(theirs, wrong, (X,))
    assert [found.name for found in report.findings] == ["attention"]
    assert report.findings[0].cause.says == "the mask is not applied"
