"""Labels and decay masks: what matches, what is refused, which trees."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxtrain import nn, optim, regularization

PARAMS = {
    "body": [{"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, {"weight": jnp.ones(2), "bias": jnp.ones(2)}],
    "head": {"kernel": jnp.ones((2, 1)), "bias": jnp.ones(1)},
}


def test_labels_follow_the_one_matching_rule():
    labels = regularization.label_parameters(
        PARAMS, {"bias$": "b", r"^body/\d/kernel": "k", "weight": "n", "^head/k": "h"}
    )
    assert labels == {
        "body": [{"kernel": "k", "bias": "b"}, {"weight": "n", "bias": "b"}],
        "head": {"kernel": "h", "bias": "b"},
    }


def test_exact_paths_are_patterns_too():
    labels = regularization.label_parameters(PARAMS, {"^head/kernel$": 1, None: 0})
    assert sum(jax.tree.leaves(labels)) == labels["head"]["kernel"] == 1


def test_unmatched_parameters_are_named_with_the_patterns():
    with pytest.raises(ValueError, match=r"body/1/weight: by none of 'kernel\$', 'bias\$'; add a rule"):
        regularization.label_parameters(PARAMS, {"kernel$": 0, "bias$": 1})


def test_parameters_matched_twice_are_named_with_the_patterns():
    with pytest.raises(ValueError, match=r"head/bias: by '\^head', 'bias\$'; make the patterns narrower"):
        regularization.label_parameters(PARAMS, {"^head": 0, "bias$": 1, None: 2})


def test_rule_without_a_parameter_is_named():
    with pytest.raises(ValueError, match="no parameter is matched by 'bais'"):
        regularization.label_parameters(PARAMS, {"bais": 0, None: 1})


def test_malformed_pattern_is_named():
    with pytest.raises(ValueError, match=r"expected regular expressions, got '\(head': missing \)"):
        regularization.label_parameters(PARAMS, {"(head": 0, None: 1})


def test_default_decay_leaves_out_biases_and_norms():
    assert regularization.decay_mask(PARAMS) == {
        "body": [{"kernel": True, "bias": False}, {"weight": False, "bias": False}],
        "head": {"kernel": True, "bias": False},
    }
    assert regularization.decay_mask({"norm": {"scale": jnp.ones((2, 2))}, "w": 1.0}) == {
        "norm": {"scale": False},
        "w": False,
    }


@pytest.mark.parametrize(
    "norm",
    [nn.LayerNorm((16, 4, 4)), nn.LayerNorm((4, 4), bias=False), nn.RMSNorm((4, 4)), nn.BatchNorm(4)],
    ids=lambda norm: type(norm).__name__,
)
def test_no_norm_decays(norm):
    for params in (nnx.state(norm, nnx.Param), {"norm": nnx.to_pure_dict(nnx.state(norm, nnx.Param))}):
        assert not any(jax.tree.leaves(regularization.decay_mask(params)))


def test_stacked_layers_decay_as_single_ones_do():
    @nnx.split_rngs(splits=3)
    @nnx.vmap
    def stacked(rngs):
        return nnx.Sequential(nn.Linear(2, 4, rngs=rngs), nn.LayerNorm(4), nn.BatchNorm(4))

    params = nnx.to_pure_dict(nnx.state(stacked(nnx.Rngs(0)), nnx.Param))["layers"]
    assert params[1]["weight"].shape == (3, 4)
    norm = {"weight": False, "bias": False}
    assert regularization.decay_mask(params) == {0: {"kernel": True, "bias": False}, 1: norm, 2: norm}


def test_weights_of_another_shape_than_their_bias_are_matrices():
    linear, norm = {"weight": jnp.ones((3, 2)), "bias": jnp.ones(3)}, {"weight": jnp.ones(3), "bias": jnp.ones(3)}
    assert regularization.decay_mask({"linear": linear, "norm": norm}) == {
        "linear": {"weight": True, "bias": False},
        "norm": {"weight": False, "bias": False},
    }
    assert regularization.decay_mask(linear) == {"weight": True, "bias": False}


def test_decay_by_rules():
    mask = regularization.decay_mask(PARAMS, {"^head/": False, None: True})
    assert mask["head"] == {"kernel": False, "bias": False}
    assert mask["body"][1] == {"weight": True, "bias": True}
    with pytest.raises(ValueError, match="body/0/bias: by none of"):
        regularization.decay_mask(PARAMS, {"kernel$": True, "^head/bias": False})


def test_nnx_states_are_named_by_variable():
    model = nnx.Sequential(nn.Linear(2, 3, rngs=nnx.Rngs(0)), nn.BatchNorm(3))
    state = nnx.state(model, nnx.Param)
    labels = regularization.label_parameters(state, {"^layers/0/kernel$": "slow", None: "fast"})
    assert nnx.to_pure_dict(labels) == {
        "layers": {0: {"kernel": "slow", "bias": "fast"}, 1: {"weight": "fast", "bias": "fast"}}
    }
    assert jax.tree.structure(labels) == jax.tree.structure(state)


def test_mask_in_optax_decays_kernels_only():
    decay = optax.add_decayed_weights(0.1, mask=regularization.decay_mask)
    updates: Any = decay.update(jax.tree.map(jnp.zeros_like, PARAMS), decay.init(PARAMS), PARAMS)[0]
    np.testing.assert_allclose(updates["head"]["kernel"], np.full((2, 1), 0.1), rtol=1e-6)
    assert not any(np.any(updates["body"][1][name]) for name in ("weight", "bias"))


def test_labels_in_optax_partition():
    labels = regularization.label_parameters(PARAMS, {"^head/": "head", None: "body"})
    optimizer = optax.partition({"head": optim.sgd(1.0), "body": optim.sgd(0.1)}, labels)
    gradients = jax.tree.map(jnp.ones_like, PARAMS)
    updates: Any = optimizer.update(gradients, optimizer.init(PARAMS), PARAMS)[0]
    assert updates["head"]["bias"][0] == -1.0
    assert updates["body"][0]["bias"][0] == np.float32(-0.1)
