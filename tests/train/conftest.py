"""One small network with everything that a step must carry, and its step, compiled once for all tests."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jaxtrain import losses, nn, optim
from jaxtrain.train import TrainState, make_eval_step, make_train_step


class Net(nnx.Module):
    """Batch norm for running statistics, and two dropout layers of one shape."""

    def __init__(self, seed: int = 0) -> None:
        rngs = nnx.Rngs(seed)
        self.hidden = nn.Linear(4, 16, rngs=rngs)
        self.norm = nn.BatchNorm(16)
        self.drops = nnx.List([nn.Dropout(0.5, rngs=rngs) for _ in range(2)])
        self.out = nn.Linear(16, 3, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = jax.nn.relu(self.norm(self.hidden(x)))
        for drop in self.drops:
            x = drop(x)
        return self.out(x)


def classify(model, batch):
    x, y = batch
    logits = model(x)
    return losses.cross_entropy(logits, y), {"accuracy": logits.argmax(-1) == y}


@pytest.fixture(scope="session")
def net():
    """The network's class, its loss, 40 rows of data, its state before training, and its compiled steps."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4)).astype(np.float32)
    return SimpleNamespace(
        Net=Net,
        loss_fn=classify,
        batch=(x, x[:, :3].argmax(1).astype(np.int32)),
        state=TrainState.create(Net(), optim.adam(lr=1e-2), key=7),
        train_step=make_train_step(classify),
        eval_step=make_eval_step(classify),
    )


@pytest.fixture
def state(net):
    """A fresh copy of the state, to be consumed."""
    return jax.tree.map(jnp.copy, net.state)


def leaves(tree):
    """The leaves by path, as NumPy arrays: what a checkpoint holds."""
    return {
        jax.tree_util.keystr(path): np.asarray(
            jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        )
        for path, leaf in jax.tree.leaves_with_path(tree)
    }


@pytest.fixture(scope="session")
def assert_same():
    """Asserts that two pytrees are the same bit for bit."""

    def check(one, other):
        one, other = leaves(one), leaves(other)
        assert list(one) == list(other)
        for path, left in one.items():
            np.testing.assert_array_equal(left, other[path], err_msg=path)

    return check


@pytest.fixture
def float64():
    """Both sides in float64."""
    torch.set_default_dtype(torch.float64)
    with jax.enable_x64(True):
        yield
    torch.set_default_dtype(torch.float32)
