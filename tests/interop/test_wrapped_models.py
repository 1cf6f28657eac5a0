"""A checkpoint of a model under DataParallel, torch.compile or AveragedModel, with a parametrization."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from jaxtrain import interop, losses, nn, optim
from jaxtrain.train import TrainState

GENERATOR = np.random.default_rng(0)
X, Y = GENERATOR.normal(size=(6, 4)).astype(np.float32), GENERATOR.integers(0, 3, 6)


class Theirs(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Linear(4, 5)
        self.shift = torch.nn.Parameter(torch.randn(5))
        self.register_buffer("scale", torch.tensor(2.0))
        self.head = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(5, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x) * self.scale + self.shift)


class WeightNormed(nnx.Module):
    """PyTorch's parametrization: a length `original0` and a direction `original1` for each row of the weight."""

    def __init__(self, in_features: int, out_features: int) -> None:
        self.original0 = nnx.Param(jnp.ones((out_features, 1)))
        self.original1 = nnx.Param(jnp.ones((out_features, in_features)))
        self.bias = nnx.Param(jnp.zeros(out_features))

    def __call__(self, x: jax.Array) -> jax.Array:
        weight = self.original0 * nn.normalize(self.original1[...])
        return x @ weight.T + self.bias[...][None]


class Ours(nnx.Module):
    def __init__(self) -> None:
        self.body = nn.Linear(4, 5, rngs=nnx.Rngs(0))
        self.shift = nnx.Param(jnp.zeros(5))
        self.scale = nnx.Variable(jnp.zeros(()))
        self.head = WeightNormed(5, 3)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.head(self.body(x) * self.scale[...] + self.shift[...][None])


PARAMETRIZED = {r"^head\.original": "head.parametrizations.weight.original"}


def train(model: torch.nn.Module, optimizer: Any, averaged: Any) -> float:
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(X)), torch.from_numpy(Y))
    loss.backward()
    optimizer.step()
    averaged.update_parameters(model)
    return loss.item()


def test_wrapped_models_there_and_back() -> None:
    torch.manual_seed(0)
    base = Theirs()
    model = torch.nn.DataParallel(base)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    decay = torch.optim.swa_utils.get_ema_multi_avg_fn(0.9)
    averaged = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=decay)
    for _ in range(5):
        train(model, optimizer, averaged)

    fresh = TrainState.create(Ours(), optim.adamw(0.02))
    files = {
        "module.": (model.state_dict(), []),
        # As torch.compile names them, whose import takes seconds.
        "_orig_mod.": ({f"_orig_mod.{name}": value for name, value in base.state_dict().items()}, []),
        "module.module.": (averaged.state_dict(), ["^n_averaged$"]),
    }
    loaded = {}
    for prefix, (saved, ignore) in files.items():
        names = PARAMETRIZED | {"^": prefix}
        loaded[prefix] = interop.load_state_dict(fresh, saved, names=names, ignore=ignore)
        back = interop.state_dict(loaded[prefix], names=names)
        assert back.keys() == saved.keys() - {"n_averaged"}
        for name, array in back.items():
            np.testing.assert_array_equal(array, saved[name].numpy(), strict=True)

    state = interop.load_optimizer(
        loaded["module."],
        optimizer.state_dict(),
        [name for name, _ in model.named_parameters()],
        names=PARAMETRIZED | {"^": "module."},
    )
    average = optim.averaged_model(optim.get_ema_avg_fn(0.9))
    own = average.init(loaded["module.module."].params)._replace(n_averaged=jnp.asarray(5, jnp.int32))

    @jax.jit
    def step(state: TrainState, own: Any) -> Any:
        gradients, loss, _, state = state.gradients(lambda model, x, y: losses.cross_entropy(model(x), y), X, Y)
        state = state.apply_gradients(gradients)
        return state, average.update_parameters(own, state.params), loss

    for _ in range(10):
        state, own, loss = step(state, own)
        assert abs(float(loss) - train(model, optimizer, averaged)) < 2e-6
    found = interop.state_dict(state, names=PARAMETRIZED | {"^": "module."})
    for name, array in model.state_dict().items():
        np.testing.assert_allclose(found[name], array.numpy(), atol=5e-6)
    shift = averaged.state_dict()["module.module.shift"].numpy()
    np.testing.assert_allclose(own.module["shift"], shift, atol=5e-6)
    assert np.abs(shift - model.state_dict()["module.shift"].numpy()).max() > 1e-3
