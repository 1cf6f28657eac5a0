"""`update_bn`: what it resets, sees, restores and refuses."""

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch.optim import swa_utils

from jaxtrain import nn
from jaxtrain.train import update_bn

RNG = np.random.default_rng(0)
BATCHES = [RNG.normal(level, 1 + level, size=(6, 3)).astype(np.float32) for level in range(3)]
MEAN = np.mean([batch.mean(0) for batch in BATCHES], axis=0)
VARIANCE = np.mean([batch.var(0, ddof=1) for batch in BATCHES], axis=0)


class Net(nnx.Module):
    """A batch norm, an instance norm that keeps statistics, and dropout, all of which training mode changes."""

    def __init__(self, momentum=0.3):
        self.norm = nn.BatchNorm(3, momentum=momentum)
        self.instance = nn.InstanceNorm(3, momentum=0.5, track_running_stats=True)
        self.drop = nn.Dropout(0.5, rngs=nnx.Rngs(0))

    def __call__(self, x):
        return self.drop(self.instance(self.norm(x)[None]))


def statistics(norm):
    return [np.asarray(v[...]) for v in (norm.running_mean, norm.running_var, norm.num_batches_tracked)]


@pytest.mark.parametrize("momentum", [0.3, None])
@pytest.mark.parametrize("evaluation", [False, True])
def test_statistics_become_the_mean_over_the_batches_and_the_rest_is_restored(momentum, evaluation):
    model = Net(momentum)
    model(100 + 10 * BATCHES[0])
    if evaluation:
        model.eval()
    update_bn(BATCHES, model)
    mean, variance, seen = statistics(model.norm)
    np.testing.assert_allclose(mean, MEAN, rtol=1e-5)
    np.testing.assert_allclose(variance, VARIANCE, rtol=1e-5)
    assert seen == 3
    assert model.norm.momentum == momentum
    assert model.norm.use_running_average is model.drop.deterministic is evaluation
    np.testing.assert_array_equal(model.norm.weight[...], np.ones(3))


def test_statistics_that_are_not_numbers_any_more_are_forgotten():
    model = nn.BatchNorm(3)
    model(np.inf * BATCHES[0])
    assert np.isnan(model.running_mean[...]).all()
    assert np.isnan(model.running_var[...]).all()
    update_bn(BATCHES, model)
    np.testing.assert_allclose(model.running_mean[...], MEAN, rtol=1e-5)
    np.testing.assert_allclose(model.running_var[...], VARIANCE, rtol=1e-5)


@pytest.mark.parametrize("kind", [tuple, list])
def test_inputs_come_first_in_a_batch_with_targets(kind):
    with_targets, plain = nn.BatchNorm(3), nn.BatchNorm(3)
    update_bn([kind([batch, np.zeros(6)]) for batch in BATCHES], with_targets)
    update_bn(BATCHES, plain)
    for one, other in zip(statistics(with_targets), statistics(plain), strict=True):
        np.testing.assert_array_equal(one, other)


def test_instance_norms_are_not_reset_as_in_torch():
    """They move by their momentum, as in every other batch of training."""
    ours = nnx.Sequential(nn.BatchNorm(3, axis=1), nn.InstanceNorm(3, track_running_stats=True, axis=1))
    theirs = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.InstanceNorm1d(3, track_running_stats=True))
    batches = RNG.normal(2.0, 3.0, size=(4, 5, 3, 7)).astype(np.float32)
    ours(batches[0]), theirs(torch.tensor(batches[0]))
    update_bn(batches[1:], ours)
    swa_utils.update_bn(torch.tensor(batches[1:]), theirs)
    for layer, torch_layer in zip(ours.layers, theirs, strict=True):
        for one, other in zip(statistics(layer), torch_layer.buffers(), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", [nn.Linear(3, 2, rngs=nnx.Rngs(0)), nn.BatchNorm(3, track_running_stats=False)])
def test_nothing_is_read_where_nothing_is_tracked(model):
    loader = iter(BATCHES)
    update_bn(loader, model)
    assert len(list(loader)) == 3


def test_an_empty_loader_is_refused_and_changes_nothing():
    model = nn.BatchNorm(3)
    model(jnp.asarray(BATCHES[1]))
    before = statistics(model)
    with pytest.raises(ValueError, match="update_bn: expected at least one batch, got an empty loader"):
        update_bn(iter([]), model)
    for one, other in zip(statistics(model), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_batch_norm_of_flax_is_refused_by_name():
    model = nnx.Sequential(nn.BatchNorm(3), nnx.Sequential(nnx.BatchNorm(3, rngs=nnx.Rngs(0))))
    with pytest.raises(TypeError, match=r"got BatchNorm of Flax at layers/1/layers/0; use jaxtrain.nn.BatchNorm"):
        update_bn(BATCHES, model)


def test_what_is_not_a_module_is_refused():
    with pytest.raises(TypeError, match=r"update_bn: model must be an nnx.Module, got list; call update_bn\("):
        update_bn(nn.BatchNorm(3), BATCHES)
