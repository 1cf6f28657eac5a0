"""Weights and statistics, from and to PyTorch."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from jaxtrain import interop, nn
from jaxtrain.train import TrainState

RNGS = nnx.Rngs(0)
IMAGES = (2, 7, 7, 4)

LAYERS: dict[str, tuple[Callable[[], torch.nn.Module], Callable[[], nnx.Module], tuple[int, ...]]] = {
    "Linear": (lambda: torch.nn.Linear(4, 3), lambda: nn.Linear(4, 3, rngs=RNGS), (5, 4)),
    "flax Linear": (lambda: torch.nn.Linear(4, 3), lambda: nnx.Linear(4, 3, rngs=RNGS), (5, 4)),
    "Conv": (
        lambda: torch.nn.Conv2d(4, 6, (3, 2), groups=2),
        lambda: nn.Conv(4, 6, (3, 2), groups=2, rngs=RNGS),
        IMAGES,
    ),
    "flax Conv": (
        lambda: torch.nn.Conv2d(4, 6, (3, 2), groups=2),
        lambda: nnx.Conv(4, 6, (3, 2), feature_group_count=2, padding="VALID", rngs=RNGS),
        IMAGES,
    ),
    "ConvTranspose": (
        lambda: torch.nn.ConvTranspose2d(4, 6, (3, 2), stride=2, groups=2),
        lambda: nn.ConvTranspose(4, 6, (3, 2), stride=2, groups=2, rngs=RNGS),
        IMAGES,
    ),
    "flax ConvTranspose": (
        lambda: torch.nn.ConvTranspose2d(4, 6, (3, 2)),
        lambda: nnx.ConvTranspose(4, 6, (3, 2), padding="VALID", rngs=RNGS),
        IMAGES,
    ),
    "flax ConvTranspose, transposed kernel": (
        lambda: torch.nn.ConvTranspose2d(4, 6, (3, 2)),
        lambda: nnx.ConvTranspose(4, 6, (3, 2), padding="VALID", transpose_kernel=True, rngs=RNGS),
        IMAGES,
    ),
    "BatchNorm": (lambda: torch.nn.BatchNorm2d(4), lambda: nn.BatchNorm(4), IMAGES),
    "flax BatchNorm": (
        lambda: torch.nn.BatchNorm2d(4),
        lambda: nnx.BatchNorm(4, epsilon=1e-5, rngs=RNGS),
        IMAGES,
    ),
    "GroupNorm": (lambda: torch.nn.GroupNorm(2, 4), lambda: nn.GroupNorm(2, 4), IMAGES),
    "LayerNorm": (lambda: torch.nn.LayerNorm((7, 4)), lambda: nn.LayerNorm((7, 4)), (2, 7, 4)),
    "flax LayerNorm": (lambda: torch.nn.LayerNorm(4), lambda: nnx.LayerNorm(4, epsilon=1e-5, rngs=RNGS), (2, 4)),
    "RNNCell": (lambda: torch.nn.RNNCell(4, 3), lambda: nn.RNNCell(4, 3, rngs=RNGS), (2, 4)),
    "GRUCell": (lambda: torch.nn.GRUCell(4, 3, bias=False), lambda: nn.GRUCell(4, 3, bias=False, rngs=RNGS), (2, 4)),
    "RMSNorm": (lambda: torch.nn.RMSNorm(4, eps=1e-6), lambda: nn.RMSNorm(4, eps=1e-6), (2, 4)),
}


def drawn(module: torch.nn.Module) -> torch.nn.Module:
    """The module with random weights and statistics, all positive, so that ones and zeros hide nothing."""
    generator = torch.Generator().manual_seed(0)
    for value in module.state_dict().values():
        if value.is_floating_point():
            value.copy_(0.5 + torch.rand(value.shape, generator=generator))
    return module.eval()


def channels(array: np.ndarray, source: int, destination: int) -> np.ndarray:
    return np.moveaxis(array, source, destination) if array.ndim == 4 else array


@pytest.mark.parametrize("name", LAYERS)
def test_layers_compute_what_pytorch_computes(name: str) -> None:
    reference, make, shape = LAYERS[name]
    theirs = drawn(reference())
    ours = interop.load_state_dict(make(), theirs.state_dict())
    ours.eval()
    input = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = theirs(torch.from_numpy(channels(input, -1, 1).copy())).detach().numpy()
    np.testing.assert_allclose(channels(np.asarray(ours(jnp.asarray(input))), -1, 1), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", LAYERS)
def test_every_bit_comes_back(name: str) -> None:
    reference, make, _ = LAYERS[name]
    theirs = drawn(reference()).state_dict()
    back = interop.state_dict(interop.load_state_dict(make(), theirs))
    assert theirs.keys() - back.keys() <= {"num_batches_tracked"}  # Flax has no counter.
    for key, array in back.items():
        assert np.array_equal(array, theirs[key].numpy()), key
        assert array.dtype == theirs[key].numpy().dtype, key
    reference().load_state_dict({key: torch.from_numpy(array) for key, array in back.items()})


def test_attention() -> None:
    """The packed projections of PyTorch, one array for query, key and value."""
    theirs = drawn(torch.nn.MultiheadAttention(6, 2, batch_first=True))
    ours = interop.load_state_dict(nnx.MultiHeadAttention(2, 6, decode=False, rngs=RNGS), theirs.state_dict())
    query, key, value = np.random.default_rng(0).normal(size=(3, 2, 5, 6)).astype(np.float32)
    expected = theirs(*map(torch.from_numpy, (query, key, value)))[0].detach().numpy()
    np.testing.assert_allclose(np.asarray(ours(query, key, value)), expected, rtol=1e-4, atol=1e-4)
    back = interop.state_dict(ours)
    assert back.keys() == theirs.state_dict().keys()
    assert all(np.array_equal(array, theirs.state_dict()[name].numpy()) for name, array in back.items())


class Net(nnx.Module):
    """A tied table, a list of layers, and dropout, whose random streams are not weights."""

    def __init__(self, rngs: nnx.Rngs):
        self.wte = nn.Embedding(7, 4, rngs=rngs)
        self.blocks = nnx.List([nn.Linear(4, 4, rngs=rngs) for _ in range(2)])
        self.dropout = nn.Dropout(0.5, rngs=rngs)
        self.head = nnx.Linear(4, 7, use_bias=False, rngs=rngs)


def net_state_dict(dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    shapes = {"wte.weight": (7, 4), "head.weight": (7, 4)}
    for number in range(2):
        shapes |= {f"blocks.{number}.weight": (4, 4), f"blocks.{number}.bias": (4,)}
    return {name: torch.randn(shape).to(dtype) for name, shape in shapes.items()}


def test_a_train_state() -> None:
    state = TrainState.create(Net(nnx.Rngs(0)), optax.sgd(0.1))
    before = jax.tree.map(np.asarray, state.params)
    given = net_state_dict()
    loaded = interop.load_state_dict(state, given)
    assert np.array_equal(loaded.params["blocks"][1]["kernel"], given["blocks.1.weight"].numpy().T)
    assert jax.tree.structure(loaded) == jax.tree.structure(state)
    assert all(jax.tree.leaves(jax.tree.map(np.array_equal, state.params, before)))


def test_frozen_parameters_are_loaded_where_they_live() -> None:
    state = TrainState.create(Net(nnx.Rngs(0)), optax.adam(0.1), trainable="^head/")
    given = net_state_dict()
    loaded = interop.load_state_dict(state, given)
    assert jax.tree.structure(loaded) == jax.tree.structure(state)
    assert loaded.params.keys() == {"head"}
    assert np.array_equal(loaded.model_state["wte"]["embedding"], given["wte.weight"].numpy())
    assert all(np.array_equal(array, given[name].numpy()) for name, array in interop.state_dict(loaded).items())


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_variables_keep_their_dtype(dtype: str) -> None:
    given = net_state_dict(getattr(torch, dtype))
    model = interop.load_state_dict(Net(nnx.Rngs(0)), given)
    kernel = model.head.kernel[...]
    assert kernel.dtype == jnp.float32
    assert np.array_equal(kernel, given["head.weight"].float().numpy().T)


def test_bfloat16_there_and_back() -> None:
    layer = nn.Linear(3, 2, param_dtype=jnp.bfloat16, rngs=RNGS)
    given = torch.nn.Linear(3, 2).bfloat16().state_dict()
    back = interop.state_dict(interop.load_state_dict(layer, given))
    assert all(
        torch.equal(torch.tensor(array.astype(np.float32)).bfloat16(), given[key]) for key, array in back.items()
    )


def test_rules_of_names_and_arrays_as_they_are() -> None:
    given = {name.replace("blocks.", "transformer.h."): value for name, value in net_state_dict().items()}
    given["transformer.mask"] = torch.ones(3)
    options = {"names": {r"^blocks\.": "transformer.h."}, "as_is": [r"^head\."]}
    given["head.weight"] = given["head.weight"].T
    model = interop.load_state_dict(Net(nnx.Rngs(0)), given, ignore=["mask$"], **options)
    assert np.array_equal(model.head.kernel[...], given["head.weight"].numpy())
    assert np.array_equal(model.blocks[0].kernel[...], given["transformer.h.0.weight"].numpy().T)
    back = interop.state_dict(model, **options)
    assert all(np.array_equal(array, given[name].numpy()) for name, array in back.items())
    assert back.keys() == given.keys() - {"transformer.mask"}


def test_tied_weights() -> None:
    model = nnx.List([nn.Linear(2, 2, rngs=RNGS), nn.Linear(2, 2, rngs=RNGS)])
    model[1].kernel = model[0].kernel
    given = {name: np.ones(array.shape) for name, array in interop.state_dict(model).items()}
    assert given.keys() == {"0.weight", "0.bias", "1.weight", "1.bias"}
    interop.load_state_dict(model, given)
    with pytest.raises(ValueError, match=r"1.weight: expected the values of '0.weight', as the module shares"):
        interop.load_state_dict(model, given | {"1.weight": np.zeros((2, 2))})


def refusal(given: object, target: object = None, **options: object) -> str:
    with pytest.raises((TypeError, ValueError)) as error:
        interop.load_state_dict(target or Net(nnx.Rngs(0)), given, **options)
    return str(error.value)


def test_everything_wrong_is_listed_and_nothing_is_loaded() -> None:
    model = Net(nnx.Rngs(0))
    before = interop.state_dict(model)
    given = net_state_dict()
    given["lm_head.weight"] = given.pop("head.weight")
    given["blocks.0.bias"] = torch.ones(5)
    given["blocks.1.bias"] = torch.ones(4, dtype=torch.int32)
    message = refusal(given, model)
    assert "head.weight: expected an array of shape (7, 4), got none; perhaps it is 'lm_head.weight'" in message
    assert "lm_head.weight: of shape (7, 4), has no place in the module" in message
    assert "blocks.0.bias: expected the shape (4,), got (5,)" in message
    assert "blocks.1.bias: expected the dtype float32, got int32" in message
    assert all(np.array_equal(array, before[name]) for name, array in interop.state_dict(model).items())


def test_a_common_prefix_is_named_once() -> None:
    message = refusal({f"module.{name}": value for name, value in net_state_dict().items()})
    assert message.splitlines()[1:] == ["  the names begin with 'module.': pass names={'^': 'module.'}"]


def test_what_is_not_a_state_dict() -> None:
    assert "got a Linear; pass its .state_dict()" in refusal(torch.nn.Linear(2, 2))
    assert "got dicts at ['model']; pass one of them" in refusal({"model": net_state_dict()})
    assert "expected an array or a tensor at 'wte.weight', got list" in refusal({"wte.weight": [1.0]})
    assert "expected an nnx.Module or a TrainState, got dict" in refusal(net_state_dict(), {"kernel": 1})
    assert "load_state_dict: names: expected regular expressions, got '('" in refusal(net_state_dict(), names={"(": ""})


def test_not_strict() -> None:
    given = net_state_dict()
    weight = given.pop("wte.weight")
    model = Net(nnx.Rngs(0))
    with pytest.warns(UserWarning, match=r"wte.weight: expected an array of shape \(7, 4\), got none"):
        interop.load_state_dict(model, given, strict=False)
    assert np.array_equal(model.head.kernel[...], given["head.weight"].numpy().T)
    assert not np.array_equal(model.wte.embedding[...], weight.numpy())


def test_two_variables_of_one_name() -> None:
    with pytest.raises(ValueError, match=r"have the same name 'blocks.weight'; correct `names`"):
        interop.state_dict(Net(nnx.Rngs(0)), names={r"blocks\.\d": "blocks"})
