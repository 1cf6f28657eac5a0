"""L-BFGS, whose state is one vector after another, carried over in the middle of a run, both ways."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jaxtrain import interop, nn, optim
from jaxtrain.train import TrainState

pytestmark = pytest.mark.usefixtures("float64")

STEPS, HANDOVER = 6, 3
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {"lr": 0.3, "max_iter": 3},
    "full ring": {"lr": 0.3, "max_iter": 3, "history_size": 4},
    "line search": {"lr": 1.0, "max_iter": 2, "line_search_fn": "strong_wolfe"},
}
GENERATOR = np.random.default_rng(0)
X, Y = GENERATOR.normal(size=(12, 3)), GENERATOR.normal(size=(12, 2))
LAYERS = ["2", "0"]
"""PyTorch's optimizer receives the second layer first."""
NUMBERS = ("func_evals", "n_iter", "t", "H_diag", "prev_loss")
NAMES = [f"{layer}.{name}" for layer in LAYERS for name in ("weight", "bias")]


def torch_side(name: str) -> tuple[torch.nn.Module, torch.optim.LBFGS]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    return model, torch.optim.LBFGS([*model[2].parameters(), *model[0].parameters()], **OPTIONS[name])


def our_side(name: str) -> TrainState:
    rngs = nnx.Rngs(0)
    layers = [
        nn.Linear(3, 4, param_dtype=jnp.float64, rngs=rngs),
        jnp.tanh,
        nn.Linear(4, 2, param_dtype=jnp.float64, rngs=rngs),
    ]
    return TrainState.create(nnx.Sequential(*layers), optim.lbfgs(**OPTIONS[name]))


def train_torch(model: torch.nn.Module, optimizer: torch.optim.LBFGS, steps: int) -> None:
    def closure() -> Any:
        optimizer.zero_grad()
        loss = (model(torch.from_numpy(X)) - torch.from_numpy(Y)).square().mean()
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)


def train_ours(state: TrainState, steps: int) -> TrainState:
    def loss(params: Any) -> jax.Array:
        first, second = params["layers"][0], params["layers"][2]
        hidden = jnp.tanh(X @ first["kernel"] + first["bias"][None])
        return jnp.square(hidden @ second["kernel"] + second["bias"][None] - Y).mean()

    @jax.jit
    def step(params: Any, opt_state: Any) -> Any:
        updates, opt_state = state.blueprint.optimizer.update(
            jax.grad(loss)(params), opt_state, params, value_fn=loss, value=loss(params)
        )
        return jax.tree.map(jnp.add, params, updates), opt_state

    params, opt_state = state.params, state.opt_state
    for _ in range(steps):
        params, opt_state = step(params, opt_state)
    return TrainState(**vars(state) | {"params": params, "opt_state": opt_state})


def weights(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def assert_same_run(found: dict[str, np.ndarray], truth: dict[str, np.ndarray], start: dict[str, np.ndarray]) -> None:
    travelled = max(np.abs(truth[name] - start[name]).max() for name in truth)
    for name, expected in truth.items():
        assert np.abs(found[name] - expected).max() <= 1e-12 * travelled, name


def numbers(saved: dict[str, Any]) -> list[float]:
    return [float(saved["state"][0][field]) for field in NUMBERS]


@pytest.mark.parametrize("name", OPTIONS)
def test_there_and_back(name: str) -> None:
    model, optimizer = torch_side(name)
    start = weights(model)
    train_torch(model, optimizer, HANDOVER)
    state = interop.load_state_dict(our_side(name), model.state_dict())
    state = interop.load_optimizer(state, optimizer.state_dict(), NAMES, count=HANDOVER)
    assert (int(state.step), int(state.opt_state.count)) == (HANDOVER, HANDOVER)
    assert [float(getattr(state.opt_state, field)) for field in NUMBERS] == numbers(optimizer.state_dict())
    train_torch(model, optimizer, STEPS - HANDOVER)
    state = train_ours(state, STEPS - HANDOVER)
    assert_same_run(interop.state_dict(state), weights(model), start)

    other, fresh = torch_side(name)
    other.load_state_dict({key: torch.from_numpy(value) for key, value in interop.state_dict(state).items()})
    saved = interop.optimizer_state_dict(state, fresh.state_dict(), NAMES)
    assert numbers(saved) == pytest.approx(numbers(optimizer.state_dict()), rel=1e-6)
    fresh.load_state_dict(saved | {"state": jax.tree.map(torch.as_tensor, saved["state"])})
    train_torch(other, fresh, 2)
    train_torch(model, optimizer, 2)
    assert_same_run(weights(other), weights(model), start)


def test_an_optimizer_that_has_not_begun_brings_its_rate_only() -> None:
    _, optimizer = torch_side("plain")
    optimizer.param_groups[0]["lr"] = 0.125
    fresh = our_side("plain")
    state = interop.load_optimizer(fresh, optimizer.state_dict(), NAMES, count=2)
    assert float(state.opt_state.lr) == 0.125
    expected = fresh.opt_state._replace(count=jnp.int32(2), lr=state.opt_state.lr)
    assert jax.tree.all(jax.tree.map(np.array_equal, state.opt_state, expected))


def test_refusals() -> None:
    model, optimizer = torch_side("full ring")
    train_torch(model, optimizer, HANDOVER)
    saved, state = optimizer.state_dict(), our_side("full ring")
    with pytest.raises(ValueError, match="L-BFGS does not save the number of updates; give `count`"):
        interop.load_optimizer(state, saved, NAMES)
    small = TrainState.create(state.model(), optim.lbfgs(history_size=2))
    with pytest.raises(ValueError, match="expected at most history_size = 2 pairs, got 4; give the same options"):
        interop.load_optimizer(small, saved, NAMES, count=1)
    adam = torch.optim.Adam(model.parameters())
    adam.step()
    assert interop.optimizer_state_dict(state, saved, NAMES)["state"] == {}
    for call in (partial(interop.load_optimizer, count=1), interop.optimizer_state_dict):
        with pytest.raises(ValueError, match=r"expected the groups of torch.optim.LBFGS, got those of Adam: build"):
            call(state, adam.state_dict(), model.state_dict())
    groups = [{"lr": 0.1, "params": [0, 1, 2, 3]}]
    with pytest.raises(ValueError, match="expected the state of LBFGS, got"):
        interop.load_optimizer(state, adam.state_dict() | {"param_groups": groups}, model.state_dict(), count=1)
    with pytest.raises(ValueError, match=r"load_optimizer: expected the parameters \['0.bias'"):
        interop.load_optimizer(state, saved, [*NAMES[:3], "x"], count=1)
