"""States of optimizers, carried over in the middle of a run, both ways."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from jaxtrain import interop, losses, nn, optim
from jaxtrain.train import TrainState, make_train_step

pytestmark = pytest.mark.usefixtures("float64")

STEPS, HANDOVER = 8, 4
MATRICES = ("muon",)
"""Optimizers that take no biases."""

OPTIMIZERS = {
    "adadelta": ("Adadelta", {"lr": 0.5, "weight_decay": 0.1}),
    "adafactor": ("Adafactor", {"lr": 0.1, "weight_decay": 0.1}),
    "adagrad": ("Adagrad", {"lr": 0.1, "lr_decay": 0.1}),
    "adam": ("Adam", {"lr": 0.1}),
    "adam amsgrad": ("Adam", {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1}),
    "adamax": ("Adamax", {"lr": 0.1}),
    "adamw": ("AdamW", {"lr": 0.1, "weight_decay": 0.1}),
    "asgd": ("ASGD", {"lr": 0.1, "lambd": 0.01, "t0": 2.0}),
    "muon": ("Muon", {"lr": 0.1}),
    "nadam": ("NAdam", {"lr": 0.1, "momentum_decay": 0.1}),
    "radam": ("RAdam", {"lr": 0.1}),
    "rmsprop": ("RMSprop", {"lr": 0.1}),
    "rmsprop centered": ("RMSprop", {"lr": 0.1, "centered": True, "momentum": 0.9}),
    "rprop": ("Rprop", {"lr": 0.1}),
    "sgd momentum": ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    "sgd": ("SGD", {"lr": 0.1}),
}
BATCHES = [
    (generator.normal(size=(5, 3)), generator.normal(size=(5, 4))) for generator in [np.random.default_rng(0)] * STEPS
]


def torch_side(name: str) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """A network of one or two matrices, and the optimizer."""
    torch.manual_seed(0)
    kind, options = OPTIMIZERS[name]
    bias = name not in MATRICES
    model = torch.nn.Sequential(torch.nn.Linear(3, 6, bias=bias), torch.nn.Tanh(), torch.nn.Linear(6, 4, bias=bias))
    return model, getattr(torch.optim, kind)(model.parameters(), **options)


def our_side(name: str) -> TrainState:
    kind, options = OPTIMIZERS[name]
    bias, rngs = name not in MATRICES, nnx.Rngs(0)
    linear = partial(nn.Linear, bias=bias, param_dtype=jnp.float64, rngs=rngs)
    optimizer = getattr(optim, kind.lower())(**options)
    return TrainState.create(nnx.Sequential(linear(3, 6), jnp.tanh, linear(6, 4)), optax.chain(optimizer))


def train_torch(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        x, y = map(torch.from_numpy, BATCHES[step])
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x), y).backward()
        optimizer.step()


STEP = make_train_step(lambda model, batch: losses.mse_loss(model(batch[0]), batch[1]))


def train_ours(state: TrainState, steps: range) -> TrainState:
    for step in steps:
        state, _ = STEP(state, BATCHES[step])
    return state


def names(model: torch.nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters()]


def weights(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.state_dict().items()}


def assert_same_run(found: dict[str, np.ndarray], truth: dict[str, np.ndarray], start: dict[str, np.ndarray]) -> None:
    for name, expected in truth.items():
        travelled = np.abs(expected - start[name]).max()
        assert np.abs(found[name] - expected).max() <= 1e-12 * travelled, name


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_of_pytorch_is_finished_here(name: str) -> None:
    model, optimizer = torch_side(name)
    start = {key: value.copy() for key, value in weights(model).items()}
    train_torch(model, optimizer, range(HANDOVER))
    state = interop.load_state_dict(our_side(name), model.state_dict())
    state = interop.load_optimizer(state, optimizer.state_dict(), names(model), count=HANDOVER)
    assert int(state.step) == HANDOVER
    train_torch(model, optimizer, range(HANDOVER, STEPS))
    assert_same_run(interop.state_dict(train_ours(state, range(HANDOVER, STEPS))), weights(model), start)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_begun_here_is_finished_in_pytorch(name: str) -> None:
    model, optimizer = torch_side(name)
    start = {key: value.copy() for key, value in weights(model).items()}
    state = train_ours(interop.load_state_dict(our_side(name), model.state_dict()), range(HANDOVER))
    train_torch(model, optimizer, range(STEPS))

    other, fresh = torch_side(name)
    other.load_state_dict({key: torch.from_numpy(value) for key, value in interop.state_dict(state).items()})
    saved = interop.optimizer_state_dict(state, fresh.state_dict(), names(other))
    fresh.load_state_dict(saved | {"state": jax.tree.map(torch.as_tensor, saved["state"])})
    train_torch(other, fresh, range(HANDOVER, STEPS))
    assert_same_run(weights(other), weights(model), start)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_built_from_pytorchs(name: str) -> None:
    """Its hyper-parameters, none of them written twice, give the same run."""
    model, optimizer = torch_side(name)
    start = {key: value.copy() for key, value in weights(model).items()}
    state = TrainState.create(our_side(name).model(), interop.optimizer_from_torch(optimizer))
    state = train_ours(interop.load_state_dict(state, model.state_dict()), range(HANDOVER))
    train_torch(model, optimizer, range(HANDOVER))
    assert_same_run(interop.state_dict(state), weights(model), start)


def test_groups_and_a_schedule_built_from_pytorchs() -> None:
    model, _ = torch_side("adam")
    groups = [{"params": model[2].parameters(), "momentum": 0.5}, {"params": model[0].parameters()}]
    optimizer = torch.optim.SGD(groups, lr=torch.tensor(0.1), momentum=0.9, nesterov=True)
    ours = interop.optimizer_from_torch(optimizer, groups=["^layers/2", None])
    state = TrainState.create(our_side("adam").model(), ours)
    start = {key: value.copy() for key, value in weights(model).items()}
    state = train_ours(interop.load_state_dict(state, model.state_dict()), range(HANDOVER))
    train_torch(model, optimizer, range(HANDOVER))
    assert_same_run(interop.state_dict(state), weights(model), start)


def test_hyperparameters_that_cannot_be_carried_over() -> None:
    def refused(optimizer: Any, **options: Any) -> str:
        with pytest.raises((TypeError, ValueError)) as error:
            interop.optimizer_from_torch(optimizer, **options)
        return str(error.value)

    model, adam = torch_side("adam")
    groups = torch.optim.SGD([{"params": model[0].parameters()}, {"params": model[2].parameters()}], lr=0.1)
    assert "SGD has 2 groups; pass `groups`, a pattern for each, got none" in refused(groups)
    assert "expected different patterns in `groups`, got [None, None]" in refused(groups, groups=[None, None])
    assert "expected an optimizer of torch.optim or its state_dict, got Sequential" in refused(model)
    assert "adam does not have the arguments ['rho']" in refused(adam, rho=1.0)
    torch.optim.lr_scheduler.OneCycleLR(adam, 1.0, total_steps=10)
    assert "pass it as lr=interop.schedule_from_torch(scheduler)" in refused(adam)
    assert "a scheduler cycles the momentum of this Adam; pass betas" in refused(adam, lr=0.1)


def test_groups_with_different_step_numbers() -> None:
    """A parameter whose gradient was None lags behind, in one of two groups."""
    model, _ = torch_side("adam")
    groups = [{"params": model[0].parameters(), "lr": 0.05}, {"params": model[2].parameters(), "weight_decay": 0.1}]
    optimizer = torch.optim.AdamW(groups, lr=0.1)
    train_torch(model, optimizer, range(2))
    model[0].bias.requires_grad_(False)
    model[0].bias.grad = None
    train_torch(model, optimizer, range(2, HANDOVER))

    options = {"^layers/0": {"lr": 0.05, "weight_decay": 0.01}, "^layers/2": {"weight_decay": 0.1}}
    state = TrainState.create(our_side("adam").model(), optim.param_groups(optim.adamw, options, lr=0.1))
    state = interop.load_state_dict(state, model.state_dict())
    state = interop.load_optimizer(state, optimizer.state_dict(), names(model))
    inner = {group: masked.inner_state for group, masked in state.opt_state.inner_states.items()}
    assert inner["^layers/0"].step.tolist() == [2, 4]
    assert inner["^layers/2"].step.tolist() == 4
    assert [float(own.lr) for own in inner.values()] == [0.05, 0.1]

    start = {key: value.copy() for key, value in weights(model).items()}
    model[0].bias.requires_grad_(True)
    train_torch(model, optimizer, range(HANDOVER, STEPS))
    assert_same_run(interop.state_dict(train_ours(state, range(HANDOVER, STEPS))), weights(model), start)


def test_names_that_pytorch_saved() -> None:
    model, _ = torch_side("adam")
    optimizer = torch.optim.Adam(list(model.named_parameters())[::-1], lr=0.1)
    train_torch(model, optimizer, range(1))
    state = interop.load_optimizer(our_side("adam"), optimizer.state_dict())
    moment = np.asarray(state.opt_state[0].exp_avg["layers"][0]["kernel"])
    assert np.array_equal(moment, optimizer.state[model[0].weight]["exp_avg"].numpy().T)


def test_transposed_factors() -> None:
    """The factors of Adafactor change places with the axes of their matrix."""
    model, optimizer = torch_side("adafactor")
    train_torch(model, optimizer, range(1))
    state = interop.load_optimizer(our_side("adafactor"), optimizer.state_dict(), names(model))
    rows = np.asarray(state.opt_state[0].row_var["layers"][0]["kernel"])
    assert np.array_equal(rows, optimizer.state[model[0].weight]["col_var"].numpy().T)


def test_the_models_state_dict_names_the_parameters() -> None:
    """Running statistics are not among them; with several groups it does not tell the order."""
    model, optimizer = torch_side("adam")
    train_torch(model, optimizer, range(1))
    listed = model.state_dict() | {"1.running_mean": torch.ones(6)}
    state = interop.load_optimizer(our_side("adam"), optimizer.state_dict(), listed)
    assert int(state.opt_state[0].step) == 1
    groups = [{"params": model[2].parameters()}, {"params": model[0].parameters()}]
    message = refusal("adam", torch.optim.Adam(groups).state_dict(), listed)
    assert "has 2 groups, so a model's state_dict does not tell the order" in message


def test_factors_of_a_convolution_are_refused() -> None:
    """Adafactor takes its means along the last two axes, which are others in PyTorch's layout."""
    conv = torch.nn.Conv1d(2, 3, 5)
    optimizer = torch.optim.Adafactor(conv.parameters())
    conv(torch.ones(1, 2, 5)).sum().backward()
    optimizer.step()
    layer = nn.Conv(2, 3, 5, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
    state = TrainState.create(layer, optim.adafactor())
    with pytest.raises(ValueError, match="weight: row_var cannot be carried over: its axes are others in our layout"):
        interop.load_optimizer(state, optimizer.state_dict(), names(conv))


def refusal(name: str, saved: dict, *arguments: object, **options: object) -> str:
    with pytest.raises((TypeError, ValueError)) as error:
        interop.load_optimizer(our_side(name), saved, *arguments, **options)
    return str(error.value)


def test_refusals() -> None:
    model, optimizer = torch_side("adam")
    train_torch(model, optimizer, range(1))
    saved = optimizer.state_dict()
    assert "give `parameters`, the names of PyTorch's parameters" in refusal("adam", saved)
    assert "expected 4 different names of parameters, got 1: ['0.weight']" in refusal("adam", saved, ["0.weight"])
    assert "0.bias: expected the buffers ['exp_avg', 'exp_avg_sq', 'max_exp_avg_sq']" in refusal(
        "adam amsgrad", saved, names(model)
    )
    assert "0.bias: expected exp_avg of shape (6,), got (4, 6)" in refusal("adam", saved, names(model)[::-1])
    model, momentum = torch_side("sgd momentum")
    train_torch(model, momentum, range(1))
    assert "the optimizer has no buffers here, PyTorch's has ['momentum_buffer']" in refusal(
        "sgd", momentum.state_dict(), names(model), count=1
    )
    assert "got a dict of ['model', 'optimizer']" in refusal("adam", {"model": {}, "optimizer": saved}, names(model))
    assert "0.weight: is not among the optimizer's parameters" in refusal(
        "adam", saved, ["a", "b", "2.weight", "2.bias"]
    )
    _, sgd = torch_side("sgd momentum")
    assert "give `count`, the number of updates so far" in refusal("sgd momentum", sgd.state_dict(), names(model))


def test_an_optimizer_of_optax_is_refused() -> None:
    state = TrainState.create(our_side("adam").model(), optax.adam(1e-3))
    _, optimizer = torch_side("adam")
    with pytest.raises(TypeError, match=r"expected an optimizer of jaxtrain.optim, got a state of"):
        interop.load_optimizer(state, optimizer.state_dict(), names(torch_side("adam")[0]), count=0)
