"""Weights that cannot be loaded, and patterns that would load others: refused in words, or loaded as they are."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from jaxtrain import interop, losses, nn, optim
from jaxtrain.train import TrainState, make_train_step

WEIGHTS = {"weight": torch.arange(4.0).reshape(2, 2), "bias": torch.ones(2)}


def linear() -> nn.Linear:
    return nn.Linear(2, 2, rngs=nnx.Rngs(0))


def refusal(given: Any, target: Any = None, **options: Any) -> str:
    with pytest.raises((TypeError, ValueError)) as error:
        interop.load_state_dict(target or linear(), given, **options)
    return str(error.value)


@pytest.mark.parametrize(
    "convert", [torch.Tensor.to_sparse, lambda x: x.to("meta"), lambda x: x.to(torch.float8_e4m3fn)]
)
def test_tensors_that_numpy_cannot_read(convert: Any) -> None:
    message = refusal(WEIGHTS | {"weight": convert(WEIGHTS["weight"])})
    assert "load_state_dict: expected a dense tensor with values at 'weight', got one that NumPy cannot" in message
    assert "convert it first" in message


def test_no_other_kind_of_number_is_taken() -> None:
    assert "weight: expected the dtype float32, got complex64" in refusal(
        WEIGHTS | {"weight": WEIGHTS["weight"].to(torch.complex64)}
    )
    counter = nnx.Variable(jnp.zeros((), jnp.int32))
    module = nnx.Dict(counter=counter)
    assert "counter: expected integers in the range of int32, got int64 from 8589934592 to" in refusal(
        {"counter": torch.tensor(2**33)}, module
    )
    assert int(interop.load_state_dict(module, {"counter": torch.tensor(7)})["counter"][...]) == 7


def test_numbers_that_would_become_infinite() -> None:
    """Rounding is PyTorch's way, too; infinity is none of the given numbers."""
    large = {"weight": torch.full((2, 2), -1e300, dtype=torch.float64), "bias": torch.tensor([float("inf"), 1.0])}
    assert "weight: expected numbers in the range of float32, got float64 up to 1e+300" in refusal(large)
    half = nn.Linear(2, 2, param_dtype=jnp.float16, rngs=nnx.Rngs(0))
    assert "weight: expected numbers in the range of float16, got bfloat16 up to 99840" in refusal(
        {"weight": torch.full((2, 2), 1e5).bfloat16(), "bias": torch.ones(2)}, half
    )
    fits = {"weight": torch.full((2, 2), 1e38, dtype=torch.float64), "bias": large["bias"].double()}
    assert np.isinf(interop.load_state_dict(linear(), fits).bias[...]).tolist() == [True, False]


def test_every_likely_match_is_named_once() -> None:
    given = {"body.gamma": torch.ones(3), "body.beta": torch.zeros(3)}
    message = refusal(given, nnx.Dict(body=nn.LayerNorm(3)))
    assert "body.weight: expected an array of shape (3,), got none; perhaps it is 'body.gamma': pass" in message
    assert "body.bias: expected an array of shape (3,), got none; perhaps it is 'body.beta': pass" in message


@pytest.mark.parametrize(
    "parts",
    [
        ("weight_v", "weight_g"),
        ("weight_orig", "weight_mask"),
        ("parametrizations.weight.original1", "parametrizations.weight.original0"),
        ("parametrizations.weight.original", "parametrizations.weight.0._u"),
    ],
)
def test_a_weight_that_is_computed_from_others(parts: tuple[str, str]) -> None:
    given = {f"a.{parts[0]}": torch.ones(2, 2), f"a.{parts[1]}": torch.ones(2, 1), "a.bias": torch.ones(2)}
    message = refusal(given, nnx.Dict(a=linear()))
    assert "a.weight: expected an array of shape (2, 2), got none; it is computed from 'a." in message
    assert " and others: fold it before saving, or give the module the same parts" in message


def test_shapes_that_tell_a_usual_mistake() -> None:
    weights = torch.nn.Conv2d(3, 8, 5).state_dict()
    message = refusal(weights, nn.Conv(3, 8, 5, rngs=nnx.Rngs(0)))
    assert "weight: expected the shape (8, 3, 5), got (8, 3, 5, 5); give the layer kernel_size=(5, 5)" in message
    rows = nn.Linear(3, 2, rngs=nnx.Rngs(0))
    assert "got (3, 2); if its axes are in our order, pass `as_is`" in refusal({"weight": torch.ones(3, 2)}, rows)
    assert refusal({"weight": torch.ones(3, 3)}, rows).splitlines()[1] == (
        "  weight: expected the shape (2, 3), got (3, 3)"
    )


def test_tensors_of_a_graph_and_nan() -> None:
    given = {"weight": WEIGHTS["weight"].T.clone().requires_grad_(), "bias": torch.tensor([float("nan"), 1])}
    layer = interop.load_state_dict(linear(), given)
    assert layer.kernel[...].tolist() == [[0, 1], [2, 3]]
    assert np.isnan(layer.bias[...]).tolist() == [True, False]


def test_nan_in_tied_weights() -> None:
    """Equal values, in a dtype of which NumPy knows little."""
    model = nnx.List([nn.Linear(2, 2, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0)) for _ in range(2)])
    model[1].kernel = model[0].kernel
    weight = torch.full((2, 2), float("nan")).bfloat16()
    given = {"0.weight": weight, "1.weight": weight, "0.bias": torch.ones(2), "1.bias": torch.ones(2)}
    assert np.isnan(interop.load_state_dict(model, given)[0].kernel[...].astype(np.float32)).all()


def test_tied_weights_of_which_the_file_has_one() -> None:
    model = nnx.List([linear(), linear()])
    model[1].kernel = model[0].kernel
    given = {f"{number}.bias": WEIGHTS["bias"] for number in (0, 1)} | {"1.weight": WEIGHTS["weight"]}
    assert interop.load_state_dict(model, given)[0].kernel[...].tolist() == [[0, 2], [1, 3]]
    rules = {r"^0\.weight": "1.weight"}
    assert interop.state_dict(interop.load_state_dict(model, given, names=rules), names=rules).keys() == given.keys()


def test_two_variables_of_one_name_are_not_loaded() -> None:
    message = refusal(
        {f"0.{name}": value for name, value in WEIGHTS.items()}, nnx.List([linear(), linear()]), names={r"^\d": "0"}
    )
    assert "the variables ['0/kernel', '1/kernel'] have the same name '0.weight'; correct `names`" in message


@pytest.mark.parametrize("argument", ["names", "as_is", "ignore"])
def test_patterns_that_match_nothing(argument: str) -> None:
    message = refusal(WEIGHTS, **{argument: {"wieght": ""} if argument == "names" else ["wieght"]})
    assert f"load_state_dict: {argument} has ['wieght'], which match none of ['" in message
    assert "'weight'" in message
    assert message.endswith("; correct or remove them")


def test_arguments_that_are_not_patterns() -> None:
    for argument in ("as_is", "ignore"):
        message = refusal(WEIGHTS, **{argument: "weight"})
        assert f"{argument} must be a list of regular expressions, got 'weight'; pass ['weight']" in message
    assert "load_state_dict: ignore: expected regular expressions, got '('" in refusal(WEIGHTS, ignore=["("])
    assert "names must be a dict from regular expressions to text, got ['a']" in refusal(WEIGHTS, names=["a"])
    assert "names must be a dict from regular expressions to text" in refusal(WEIGHTS, names={"weight": 3})
    assert r"names cannot put '\\1' in place of 'weight': invalid group reference" in refusal(
        WEIGHTS, names={"weight": r"\1"}
    )


def test_ignore_keeps_the_values_of_a_new_head() -> None:
    model = nnx.Dict(body=linear(), head=nn.Linear(2, 5, rngs=nnx.Rngs(0)))
    before = np.asarray(model["head"].kernel[...])
    given = {f"{layer}.{name}": value for layer in ("body", "head") for name, value in WEIGHTS.items()}
    given["head.scale"] = WEIGHTS["weight"].to_sparse()
    interop.load_state_dict(model, given, ignore=["^head"])
    assert np.array_equal(model["head"].kernel[...], before)
    assert np.array_equal(model["body"].kernel[...], WEIGHTS["weight"].T)


def test_rules_follow_each_other_and_as_is_sees_their_result() -> None:
    model = nnx.Dict(a=linear())
    given = {"model.b.weight": WEIGHTS["weight"], "model.b.bias": WEIGHTS["bias"]}
    interop.load_state_dict(model, given, names={"^a": "b", "^b": "model.b"}, as_is=["^model.b.weight$"])
    assert np.array_equal(model["a"].kernel[...], WEIGHTS["weight"])


def test_what_is_not_a_state_dict() -> None:
    adam = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
    assert "got the state_dict of an optimizer; use load_optimizer" in refusal(adam.state_dict())
    assert "expected arrays by name, got the keys [0]; use PyTorch's names" in refusal({0: torch.ones(2)})


def test_a_prefix_of_which_the_first_candidate_is_another() -> None:
    given = {f"module.{name}": value for name, value in WEIGHTS.items()}
    message = refusal({"a.weight": torch.ones(2), "b.bias": torch.ones(2)} | given)
    assert message.splitlines()[1:] == ["  the names begin with 'module.': pass names={'^': 'module.'}"]


def test_a_state_that_a_step_consumed() -> None:
    state = TrainState.create(linear(), optim.adam())
    make_train_step(lambda model, x: losses.mse_loss(model(x), x))(state, np.ones((1, 2), np.float32))
    like = {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}
    for call in (
        lambda: interop.state_dict(state),
        lambda: interop.load_state_dict(state, WEIGHTS),
        lambda: interop.load_optimizer(state, like, list(WEIGHTS), count=0),
        lambda: interop.optimizer_state_dict(state, like, list(WEIGHTS)),
    ):
        with pytest.raises(ValueError, match="the train state was consumed by a step; pass the state that the step"):
            call()


def test_values_stay_on_the_device_to_which_they_were_committed() -> None:
    device = jax.devices()[-1]
    state = jax.device_put(TrainState.create(linear(), optim.adam()), device)
    loaded = interop.load_state_dict(state, WEIGHTS)
    assert loaded.params["kernel"].committed
    assert loaded.params["kernel"].devices() == {device}
    assert not interop.load_state_dict(TrainState.create(linear(), optim.adam()), WEIGHTS).params["kernel"].committed


def test_layers_are_a_name_outside_of_sequential() -> None:
    class Net(nnx.Module):
        def __init__(self) -> None:
            self.layers = nnx.List([linear()])

    assert interop.state_dict(Net()).keys() == {"layers.0.weight", "layers.0.bias"}


def test_intermediates_are_not_weights() -> None:
    layer = linear()
    layer.sown = nnx.Intermediate(jnp.ones(2))
    assert interop.state_dict(layer).keys() == WEIGHTS.keys()


def test_counters_are_int64_as_in_pytorch() -> None:
    given = torch.nn.BatchNorm1d(2).state_dict()
    back = interop.state_dict(interop.load_state_dict(nn.BatchNorm(2), given))
    assert {name: array.dtype for name, array in back.items()} == {
        name: value.numpy().dtype for name, value in given.items()
    }


@pytest.mark.parametrize(
    "make",
    [
        lambda rngs: nnx.RMSNorm(4, rngs=rngs),
        lambda rngs: nnx.GroupNorm(4, 2, rngs=rngs),
        lambda rngs: nnx.InstanceNorm(4, rngs=rngs),
    ],
)
def test_norms_of_flax_call_their_weight_scale(make: Any) -> None:
    assert "weight" in interop.state_dict(make(nnx.Rngs(0)))


def test_train_states_take_statistics() -> None:
    given = torch.nn.BatchNorm1d(2).state_dict() | {"running_mean": torch.tensor([3.0, 4.0])}
    state = interop.load_state_dict(TrainState.create(nn.BatchNorm(2), optim.sgd()), given)
    assert jax.tree.leaves(state.model_state)
    assert interop.state_dict(state)["running_mean"].tolist() == [3, 4]


def test_shapes_are_errors_even_if_not_strict() -> None:
    assert re.search(
        r"bias: expected the shape \(2,\), got \(3,\)", refusal(WEIGHTS | {"bias": torch.ones(3)}, strict=False)
    )


def test_two_attentions_of_one_name_are_not_loaded() -> None:
    """Their parts come twice."""
    layer = [nnx.MultiHeadAttention(2, 4, decode=False, rngs=nnx.Rngs(seed)) for seed in (0, 1)]
    given = torch.nn.MultiheadAttention(4, 2).state_dict()
    message = refusal({f"0.{name}": value for name, value in given.items()}, nnx.List(layer), names={r"^\d": "0"})
    assert "have the same name '0.in_proj_" in message
