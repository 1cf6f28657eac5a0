"""The same port in Linen, in Equinox and as a function: lined up without rules, and its mistakes named."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx

from jaxtrain import losses, nn, optim
from parity import diff
from parity.diff.ports import port_of

# Linen promotes dtypes by itself.
pytestmark = pytest.mark.usefixtures("promotion")

RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.normal(size=(5, 3, 4, 4)), np.array([0, 1, 2, 0, 1])
BATCH = IMAGES, LABELS


class Theirs(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.body = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Linear(64, 6)
        self.norm, self.act, self.head = torch.nn.LayerNorm(6), torch.nn.GELU(), torch.nn.Linear(6, 3)

    def forward(self, x):
        x = torch.relu(self.conv(x)).flatten(1)
        return self.head(self.act(self.norm(self.body(x))))


torch.manual_seed(0)
THEIRS = Theirs()
STATE = {name: jnp.asarray(value.numpy()) for name, value in THEIRS.state_dict().items()}


def torch_loss(model, x, labels):
    return torch.nn.functional.cross_entropy(model(x), labels)


def loss(model, x, labels):
    return losses.cross_entropy(model(x), labels)


def optimizers():
    return lambda module: torch.optim.Adam(module.parameters(), 1e-3), optim.adam(1e-3)


class Linen(linen.Module):
    epsilon: float
    approximate: bool

    @linen.compact
    def __call__(self, x):
        x = linen.relu(linen.Conv(4, (3, 3), padding=1)(x)).transpose(0, 3, 1, 2).reshape(len(x), -1)
        x = linen.LayerNorm(epsilon=self.epsilon)(linen.Dense(6)(x))
        return linen.Dense(3)(diff.mark("act", linen.gelu(x, approximate=self.approximate)))


def in_linen(epsilon, approximate):
    def part(name, weight, order):
        return {weight: STATE[f"{name}.weight"].transpose(order), "bias": STATE[f"{name}.bias"]}

    params = {
        "Conv_0": part("conv", "kernel", (2, 3, 1, 0)),
        "Dense_0": part("body", "kernel", (1, 0)),
        "LayerNorm_0": part("norm", "scale", (0,)),
        "Dense_1": part("head", "kernel", (1, 0)),
    }
    jax_batch = IMAGES.transpose(0, 2, 3, 1), LABELS
    return (Linen(epsilon, approximate), {"params": params}), {"jax_batch": jax_batch, "loss": (torch_loss, loss)}


class Equinox(eqx.Module):
    conv: eqx.nn.Conv2d
    layers: list
    approximate: bool

    def __init__(self, epsilon, approximate):
        keys = jax.random.split(jax.random.key(0), 3)
        self.conv = eqx.nn.Conv2d(3, 4, 3, padding=1, key=keys[0])
        self.layers = [
            eqx.nn.Linear(64, 6, key=keys[1]),
            eqx.nn.LayerNorm(6, eps=epsilon),
            eqx.nn.Linear(6, 3, key=keys[2]),
        ]
        self.approximate = approximate

    def __call__(self, x):
        x = self.layers[1](self.layers[0](jax.nn.relu(self.conv(x)).reshape(-1)))
        return self.layers[2](diff.mark("act", jax.nn.gelu(x, approximate=self.approximate)))


def in_equinox(epsilon, approximate):
    model = Equinox(epsilon, approximate)
    model = eqx.tree_at(
        lambda m: [each for layer in (m.conv, m.layers[0], m.layers[2]) for each in (layer.weight, layer.bias)],
        model,
        [
            *(STATE["conv.weight"], STATE["conv.bias"].reshape(4, 1, 1)),
            *(STATE[f"{name}.{end}"] for name in ("body", "head") for end in ("weight", "bias")),
        ],
    )

    def mapped(model, x, labels):
        return losses.cross_entropy(jax.vmap(model)(x), labels)

    return model, {"loss": (torch_loss, mapped)}


def in_a_function(epsilon, approximate):
    names = ("conv", "body", "norm", "head")
    params = {name: {"w": STATE[f"{name}.weight"], "b": STATE[f"{name}.bias"]} for name in names}

    def port(p, x):
        x = jax.lax.conv_general_dilated(x, p["conv"]["w"], (1, 1), ((1, 1), (1, 1))) + p["conv"]["b"][:, None, None]
        x = diff.mark("body", jax.nn.relu(x).reshape(len(x), -1) @ p["body"]["w"].T + p["body"]["b"])
        x = diff.mark("norm", nn.layer_norm(x, (6,), weight=p["norm"]["w"], bias=p["norm"]["b"], eps=epsilon))
        x = diff.mark("act", jax.nn.gelu(x, approximate=approximate))
        return x @ p["head"]["w"].T + p["head"]["b"]

    return (port, params), {"loss": (torch_loss, loss)}


@pytest.mark.parametrize(
    "make",
    [pytest.param(make, marks=pytest.mark.long) for make in (in_linen, in_equinox, in_a_function)],
)
def test_the_port_is_right_or_its_mistakes_are_named(make):
    model, options = make(1e-5, False)
    right = diff.compare(THEIRS, model, BATCH, optimizer=optimizers(), steps=2, **options)
    assert right.same, str(right)
    assert {"act", "norm"} <= {each.path for each in right.running if each.kind == "output"}
    assert "conv.weight" in {each.path for each in right.running if each.kind == "parameter after the step"}
    assert not [line for line in right.unmatched if "variable" in line]
    model, options = make(1e-6, True)
    wrong = diff.compare(THEIRS, model, BATCH, **options)
    assert [found.name for found in wrong.findings] == ["norm", "act"]
    says = [found.cause.says for found in wrong.findings]
    assert says[0] == "ε of the norm is 1e-06, PyTorch's is 1e-05"
    assert "tanh approximation" in says[1]


@pytest.mark.long
def test_statistics_of_linen_and_of_equinox_are_compared():
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    state = {name: jnp.asarray(value.numpy()) for name, value in theirs.state_dict().items()}

    class Net(linen.Module):
        @linen.compact
        def __call__(self, x, train):
            x = linen.Dense(4)(x)
            return linen.BatchNorm(use_running_average=not train, momentum=0.99, epsilon=1e-5)(x)

    variables = {
        "params": {
            "Dense_0": {"kernel": state["0.weight"].T, "bias": state["0.bias"]},
            "BatchNorm_0": {"scale": state["1.weight"], "bias": state["1.bias"]},
        },
        "batch_stats": {"BatchNorm_0": {"mean": state["1.running_mean"], "var": state["1.running_var"]}},
    }
    found = diff.compare(theirs, (Net(), variables, {"train": True}), (RNG.normal(size=(6, 3)),)).findings
    assert [each.name for each in found] == ["1"]
    assert "a new batch weighs 0.01" in found[0].cause.says

    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4))
    model, running = eqx.nn.make_with_state(eqx.nn.Linear)(3, 4, key=jax.random.key(0))
    model = eqx.tree_at(lambda m: [m.weight, m.bias], model, [state["0.weight"], state["0.bias"]])
    theirs.load_state_dict({name: torch.tensor(np.asarray(state[name])) for name in ("0.weight", "0.bias")})

    def stateful(both, x):
        model, running = both
        return jnp.sin(jax.vmap(model)(x)).mean(), running

    report = diff.compare(
        theirs,
        (model, running),
        (RNG.normal(size=(6, 3)),),
        loss=(lambda model, x: torch.sin(model(x)).mean(), stateful),
    )
    assert report.same, str(report)
    assert "parameter gradient" in {each.kind for each in report.running}


def test_the_kernel_of_equinoxs_transposed_convolution_is_turned():
    theirs = torch.nn.ConvTranspose2d(3, 2, (2, 3))
    model = eqx.nn.ConvTranspose2d(3, 2, (2, 3), key=jax.random.key(0))
    (slot,) = port_of(model, "float32").slots["weight"]
    kernel = slot.from_torch(theirs.weight.detach().numpy())
    assert kernel.shape == model.weight.shape
    np.testing.assert_array_equal(slot.to_torch(kernel), theirs.weight.detach().numpy())
    x = RNG.normal(size=(3, 4, 4)).astype(np.float32)
    model = eqx.tree_at(lambda m: [m.weight, m.bias], model, [jnp.asarray(kernel), jnp.zeros((2, 1, 1))])
    wanted = torch.nn.functional.conv_transpose2d(torch.tensor(x)[None], theirs.weight)[0]
    np.testing.assert_allclose(model(jnp.asarray(x)), wanted.detach().numpy(), rtol=1e-4, atol=1e-5)


class Jitted(nnx.Module):
    """Layers inside of `nnx.jit`, one of them twice."""

    def __init__(self, epsilon):
        self.body = nn.Linear(4, 4, rngs=nnx.Rngs(0))
        self.norm = nn.LayerNorm(4, epsilon)

    def __call__(self, x):
        return nnx.jit(lambda model, x: model.norm(model.body(jnp.tanh(model.body(x)))))(self, x)


class Twice(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.norm = torch.nn.Linear(4, 4), torch.nn.LayerNorm(4)

    def forward(self, x):
        return self.norm(self.body(torch.tanh(self.body(x))))


@pytest.mark.long
def test_layers_inside_of_jit_are_seen():
    theirs = Twice()
    for epsilon, names in ((1e-5, []), (1e-3, ["norm"])):
        model = Jitted(epsilon)
        values = {name: value.numpy() for name, value in theirs.body.state_dict().items()}
        model.body.kernel.set_value(jnp.asarray(values["weight"].T))
        model.body.bias.set_value(jnp.asarray(values["bias"]))
        report = diff.compare(theirs, model, (RNG.normal(size=(3, 4)),))
        assert [found.name for found in report.findings] == names
        assert [each.path for each in report.running if each.kind == "output"] == ["body", "body", "norm", ""]


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (Linen(1e-5, False), TypeError, "got the Linen module Linen alone; pass \\(Linen\\(...\\), variables\\)"),
        ((Linen(1e-5, False), {"batch_stats": {}}), ValueError, "variables to hold 'params', got \\['batch_stats'\\]"),
        ((3, {}), TypeError, r"got \(int, dict\)"),
    ],
)
def test_what_is_not_a_port_is_refused(model, error, message):
    with pytest.raises(error, match=message):
        diff.compare(THEIRS, model, BATCH)
