"""A network of many kinds of layers whose training changes the framework, as its user would do it."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from jaxtrain import interop, nn, optim
from jaxtrain.train import TrainState, make_train_step

pytestmark = pytest.mark.usefixtures("float64")

STEPS, HANDOVER = 6, 3
CUTOFFS = [4, 8]


class TorchNet(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        conv = torch.nn.Sequential(torch.nn.Conv2d(2, 8, 3, padding=1), torch.nn.BatchNorm2d(8), torch.nn.Tanh())
        self.stages = torch.nn.ModuleList([conv, torch.nn.Sequential(torch.nn.ConvTranspose2d(8, 8, 2, stride=2))])
        self.norms = torch.nn.ModuleDict({"group": torch.nn.GroupNorm(2, 8), "layer": torch.nn.LayerNorm(8)})
        self.words = torch.nn.Embedding(9, 8)
        self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)
        self.scale = torch.nn.Parameter(torch.ones(8))
        self.unused = torch.nn.Parameter(torch.ones(3))
        self.frozen = torch.nn.Linear(8, 8).requires_grad_(False)
        self.out = torch.nn.Linear(8, 9)
        self.out.weight = self.words.weight
        self.criterion = torch.nn.AdaptiveLogSoftmaxWithLoss(8, 12, cutoffs=CUTOFFS, div_value=2.0)
        self.register_buffer("table", torch.arange(8.0))

    def forward(self, images: torch.Tensor, words: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        pixels = self.norms["group"](self.stages[1](self.stages[0](images))).mean((2, 3))
        sentence = self.norms["layer"](self.words(words))
        sentence = self.attention(sentence, sentence, sentence, need_weights=False)[0].mean(1)
        features = self.frozen(pixels * self.scale + sentence + self.table)
        return self.criterion(features, labels).loss + self.out(features).logsumexp(1).mean()


def attended(layer: nnx.MultiHeadAttention, x: jax.Array) -> jax.Array:
    """What the layer computes, in float64: Flax rounds within it to float32."""
    query, key, value = layer.query(x), layer.key(x), layer.value(x)
    scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) / np.sqrt(query.shape[-1])
    return layer.out(jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores), value))


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        given = {"param_dtype": jnp.float64, "rngs": rngs}
        conv = nnx.Sequential(
            nn.Conv(2, 8, (3, 3), padding=1, **given), nn.BatchNorm(8, param_dtype=jnp.float64), jnp.tanh
        )
        self.stages = nnx.List([conv, nnx.Sequential(nn.ConvTranspose(8, 8, (2, 2), stride=2, **given))])
        self.norms = nnx.Dict(
            group=nn.GroupNorm(2, 8, param_dtype=jnp.float64), layer=nn.LayerNorm(8, param_dtype=jnp.float64)
        )
        self.attention = nnx.MultiHeadAttention(2, 8, decode=False, **given)
        self.words = nn.Embedding(9, 8, **given)
        self.scale = nnx.Param(jnp.ones(8))
        self.unused = nnx.Param(jnp.ones(3))
        self.frozen = nn.Linear(8, 8, **given)
        self.bias = nnx.Param(jnp.zeros(9))
        self.criterion = nn.AdaptiveLogSoftmaxWithLoss(8, 12, cutoffs=CUTOFFS, div_value=2.0, **given)
        self.table = nnx.Variable(jnp.zeros(8))

    def __call__(self, images: jax.Array, words: jax.Array, labels: jax.Array) -> jax.Array:
        pixels = self.norms["group"](self.stages[1](self.stages[0](images))).mean((1, 2))
        sentence = self.norms["layer"](self.words(words))
        sentence = attended(self.attention, sentence).mean(1)
        features = self.frozen(pixels * self.scale[...] + sentence + self.table[...])
        scores = features @ self.words.embedding[...].T + self.bias[...]
        return self.criterion(features, labels)[1] + jax.nn.logsumexp(scores, axis=1).mean()


NAMES = {"^bias$": "out.bias"}


def batch(step: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, words, and labels of every cluster: PyTorch gives a cluster without labels no gradient."""
    random = np.random.default_rng(step)
    return random.normal(size=(3, 4, 4, 2)), random.integers(9, size=(3, 5)), np.array([1, 5, 9])


def train_torch(model: torch.nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        images, *integers = map(torch.from_numpy, batch(step))
        optimizer.zero_grad()
        model(images.permute(0, 3, 1, 2), *integers).backward()
        optimizer.step()


STEP = make_train_step(lambda model, batch: model(*batch))


def train_ours(state: TrainState, steps: range) -> TrainState:
    for step in steps:
        state, _ = STEP(state, batch(step))
    return state


def still(params: dict) -> dict:
    """Which parameters PyTorch does not train: frozen, or never with a gradient."""
    return {name: jax.tree.map(lambda _, name=name: name in ("frozen", "unused"), own) for name, own in params.items()}


def moving(params: dict) -> dict:
    return jax.tree.map(lambda own: not own, still(params))


def our_side() -> TrainState:
    adamw = optim.adamw(0.01, eps=1e-3)
    optimizer = optax.chain(optax.masked(adamw, moving), optax.masked(optax.set_to_zero(), still))
    return TrainState.create(Net(nnx.Rngs(0)), optimizer)


def torch_side() -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(0)
    model = TorchNet()
    # Gradients that are zero but for rounding, the key's bias for one, stay without effect.
    return model, torch.optim.AdamW(model.parameters(), lr=0.01, eps=1e-3, foreach=True)


def weights(model: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in model.state_dict().items()}


def assert_same_run(found: dict[str, np.ndarray], truth: dict[str, np.ndarray], start: dict[str, np.ndarray]) -> None:
    travelled = max(np.abs(truth[name] - start[name]).max() for name in truth if "num" not in name)
    assert travelled > 0.01
    for name, array in found.items():
        assert np.abs(array - truth[name]).max() <= 1e-12 * travelled, name


@pytest.mark.usefixtures("promotion")
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_a_run_of_pytorch_is_finished_here(prefix: str, tmp_path: Path) -> None:
    """From a file, whose names have the prefixes of DataParallel and torch.compile."""
    model, optimizer = torch_side()
    start = weights(model)
    train_torch(model, optimizer, range(HANDOVER))
    named = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save({"model": named, "optimizer": optimizer.state_dict()}, tmp_path / "run.pt")
    saved = torch.load(tmp_path / "run.pt", weights_only=True)

    rules = NAMES | {"^": prefix} if prefix else NAMES
    state = interop.load_state_dict(our_side(), saved["model"], names=rules, ignore=[r"out\.weight$"])
    state = interop.load_optimizer(state, saved["optimizer"], saved["model"], names=rules)
    if prefix in ("", "module._orig_mod."):
        train_torch(model, optimizer, range(HANDOVER, STEPS))
        assert_same_run(
            interop.state_dict(train_ours(state, range(HANDOVER, STEPS)), names=NAMES), weights(model), start
        )
    else:
        moment = state.opt_state[0].inner_state.exp_avg["attention"]["query"]["kernel"]
        truth = optimizer.state[model.attention.in_proj_weight]["exp_avg"][:8]
        assert np.array_equal(moment.reshape(8, 8), truth.T)


@pytest.mark.usefixtures("promotion")
def test_a_run_begun_here_is_finished_in_pytorch() -> None:
    model, optimizer = torch_side()
    start = weights(model)
    state = interop.load_state_dict(our_side(), model.state_dict(), names=NAMES, ignore=[r"out\.weight$"])
    state = train_ours(state, range(HANDOVER))
    train_torch(model, optimizer, range(STEPS))

    other, fresh = torch_side()
    back = {name: torch.from_numpy(array) for name, array in interop.state_dict(state, names=NAMES).items()}
    other.load_state_dict(back | {"out.weight": back["words.weight"]})
    saved = interop.optimizer_state_dict(state, fresh.state_dict(), other.state_dict(), names=NAMES)
    fresh.load_state_dict(saved | {"state": jax.tree.map(torch.as_tensor, saved["state"])})
    train_torch(other, fresh, range(HANDOVER, STEPS))
    assert_same_run(weights(other), weights(model), start)
