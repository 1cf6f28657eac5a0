"""The states of optimizers as files, versions and wrappers give them, and what is refused."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from jaxtrain import interop, nn, optim
from jaxtrain.train import TrainState, learning_rates

NAMES = ["0.weight", "0.bias", "1.weight", "1.bias"]


def net() -> nnx.Module:
    return nnx.List([nn.Linear(2, 3, rngs=nnx.Rngs(0)), nn.Linear(3, 2, rngs=nnx.Rngs(1))])


def state_of(optimizer: optax.GradientTransformation, module: nnx.Module | None = None) -> TrainState:
    return TrainState.create(module or net(), optimizer)


def trained(make: Callable[..., torch.optim.Optimizer], steps: int = 2, used: Iterable[int] = range(4)) -> Any:
    """An optimizer after some steps in which some of the parameters had gradients."""
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in ((3, 2), (3,), (2, 3), (2,))]
    optimizer = make(parameters)
    for _ in range(steps):
        for index in used:
            parameters[index].grad = torch.randn(parameters[index].shape)
        optimizer.step()
    return optimizer


def with_all(saved: dict, **fields: Any) -> dict:
    """The state_dict with fields of every parameter changed."""
    return saved | {"state": {number: own | fields for number, own in saved["state"].items()}}


def refusal(optimizer: optax.GradientTransformation, saved: Any, parameters: Any = NAMES, **options: Any) -> str:
    with pytest.raises((TypeError, ValueError)) as error:
        interop.load_optimizer(state_of(optimizer), saved, parameters, **options)
    return str(error.value)


ADAM = trained(torch.optim.Adam).state_dict()


@pytest.mark.parametrize("step", [5, 5.0, torch.tensor(5.0), torch.tensor([5.0]), torch.tensor(5), np.float32(5)])
def test_step_numbers_of_all_versions(step: Any) -> None:
    state = interop.load_optimizer(state_of(optim.adam()), with_all(ADAM, step=step), NAMES)
    assert (int(state.step), int(state.opt_state.step), int(state.opt_state.count)) == (5, 5, 5)


def test_the_count_is_the_largest_step_number() -> None:
    lagging = {number: own | {"step": torch.tensor(float(9 - number))} for number, own in ADAM["state"].items()}
    state = interop.load_optimizer(state_of(optim.adam()), ADAM | {"state": lagging}, NAMES)
    assert (int(state.step), int(state.opt_state.count), state.opt_state.step.tolist()) == (9, 9, [8, 9, 6, 7])


def test_flags_of_kernels_and_a_bfloat16_state() -> None:
    for flags in ({"foreach": True}, {"fused": True}, {"capturable": False, "differentiable": False}):
        optimizer = trained(lambda own, flags=flags: torch.optim.AdamW(own, lr=0.1, amsgrad=True, **flags))
        saved = jax.tree.map(lambda x: x.bfloat16() if isinstance(x, torch.Tensor) else x, optimizer.state_dict())
        state = interop.load_optimizer(state_of(interop.optimizer_from_torch(optimizer)), saved, NAMES)
        truth = saved["state"][0]["max_exp_avg_sq"].float().numpy().T
        assert np.array_equal(state.opt_state.max_exp_avg_sq[0]["kernel"], truth)


def test_a_parameter_that_never_had_a_gradient() -> None:
    saved = trained(torch.optim.Adam, used=[0, 2, 3]).state_dict()
    state = interop.load_optimizer(state_of(optim.adam()), saved, NAMES)
    assert state.opt_state.step.tolist() == [0, 2, 2, 2]  # The leaves: 0/bias, 0/kernel, 1/bias, 1/kernel.
    back = interop.optimizer_state_dict(state, saved, NAMES)
    assert back["state"].keys() == {0, 2, 3}


def test_the_rate_of_the_last_update_and_the_dtype_of_steps() -> None:
    """Listeners show the rate before the next update; PyTorch's fused kernels want floats as steps."""
    saved = trained(partial(torch.optim.Adam, lr=0.125)).state_dict()
    state = interop.load_optimizer(state_of(optim.adam(0.5)), saved, NAMES)
    assert learning_rates(state) == {"lr": 0.125}
    assert interop.optimizer_state_dict(state, saved, NAMES)["state"][0]["step"].dtype == np.float32


def test_adagrad_goes_on_from_no_steps() -> None:
    """PyTorch's has a state before the first step, and makes it again where it finds none."""
    optimizer = trained(lambda own: torch.optim.Adagrad(own, initial_accumulator_value=0.5), used=[])
    like = optimizer.state_dict()
    state = state_of(optim.adagrad(initial_accumulator_value=0.5))
    back = interop.optimizer_state_dict(state, like, NAMES)
    optimizer.load_state_dict(back | {"state": jax.tree.map(torch.as_tensor, back["state"])})
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    assert optimizer.state_dict()["state"][1]["sum"].tolist() == [1.5] * 3


def test_frozen_parameters_that_pytorchs_optimizer_has() -> None:
    saved = trained(torch.optim.Adam, used=[2, 3]).state_dict()
    only = optax.masked(optim.adam(), {0: False, 1: True})
    state = interop.load_optimizer(state_of(only), saved, NAMES)
    assert int(state.opt_state.inner_state.step) == 2
    message = refusal(only, ADAM)
    assert "0.weight: has no place in the optimizer's state" in message


def test_frozen_parameters_that_pytorchs_optimizer_does_not_have() -> None:
    saved = trained(torch.optim.Adam).state_dict()
    saved = {"state": {0: saved["state"][0], 1: saved["state"][1]}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}
    message = refusal(optim.adam(), saved, NAMES[:2])
    assert "1.weight: is not among the optimizer's parameters; freeze it here, too" in message
    only = optax.masked(optim.adam(), {0: True, 1: False})
    assert int(interop.load_optimizer(state_of(only), saved, NAMES[:2]).step) == 2


def test_a_state_that_counts_separately_keeps_its_shape() -> None:
    state = state_of(optim.adam())
    state = interop.load_optimizer(
        TrainState(**vars(state) | {"opt_state": optim.separate_steps(state.opt_state)}), ADAM, NAMES
    )
    assert state.opt_state.step.tolist() == [2, 2, 2, 2]


def test_wrappers_of_optax() -> None:
    """Moments and counts, those of schedules among them, wherever they lie."""
    schedule = optax.linear_schedule(1.0, 0.0, 10)
    wrapped = {
        "clipped": optax.chain(optim.clip_grad_norm(1.0), optim.adam()),
        "scheduled": optax.chain(optim.adam(), optax.scale_by_schedule(schedule)),
        "injected": optax.inject_hyperparams(optim.adam)(lr=schedule),
        "gathered": optax.MultiSteps(optim.adam(), 3).gradient_transformation(),
        "partitioned": optax.partition({"all": optim.adam()}, lambda params: jax.tree.map(lambda _: "all", params)),
        "nested": optax.MultiSteps(optax.inject_hyperparams(optim.adam)(lr=schedule), 2).gradient_transformation(),
    }
    for name, optimizer in wrapped.items():
        fresh = state_of(optimizer)
        state = interop.load_optimizer(fresh, ADAM, NAMES, count=4)
        assert jax.tree.structure(state) == jax.tree.structure(fresh), name
        counts = {
            jax.tree_util.keystr(path): int(leaf)
            for path, leaf in jax.tree.leaves_with_path(state.opt_state)
            if jax.tree_util.keystr(path).endswith(("count", "gradient_step"))
        }
        assert counts, name
        assert set(counts.values()) == {4}, counts
        moment = next(
            leaf
            for path, leaf in jax.tree.leaves_with_path(state.opt_state)
            if jax.tree_util.keystr(path).endswith(".exp_avg[0]['bias']")
        )
        assert np.array_equal(moment, ADAM["state"][1]["exp_avg"]), name


def test_a_schedule_goes_on_behind_inject_hyperparams() -> None:
    optimizer = optax.inject_hyperparams(optim.adam)(lr=optax.linear_schedule(1.0, 0.0, 10))
    state = interop.load_optimizer(state_of(optimizer), ADAM, NAMES, count=4)
    gradients = jax.tree.map(jnp.ones_like, state.params)
    _, after = optimizer.update(gradients, state.opt_state, state.params)
    assert float(after.hyperparams["lr"]) == pytest.approx(0.6)


def test_moments_without_the_scalars_of_the_optimizer() -> None:
    unknown = {"state": ADAM["state"], "param_groups": [{"lr": 0.1, "params": [0, 1, 2, 3]}]}
    message = refusal(optim.nadam(), unknown)
    assert (
        "0.bias: expected the buffers ['exp_avg', 'exp_avg_sq', 'mu_product'], got ['exp_avg', 'exp_avg_sq']" in message
    )
    without = {
        number: {"exp_avg": own["exp_avg"], "exp_avg_sq": own["exp_avg_sq"]} for number, own in ADAM["state"].items()
    }
    message = refusal(optim.adam(), ADAM | {"state": without}, count=3)
    assert "0.bias: expected the number of its steps under 'step', got none" in message
    assert "0.bias: expected one number at step, got an array of shape (2,)" in refusal(
        optim.adam(), with_all(ADAM, step=torch.ones(2)), count=3
    )


def test_momentum_and_count() -> None:
    saved = trained(lambda own: torch.optim.SGD(own, momentum=0.9)).state_dict()
    ours = optim.sgd(momentum=0.9)
    assert "0.bias: has made steps, so `count` must be at least 1, got 0" in refusal(ours, saved, count=0)
    plain = with_all(saved, momentum_buffer=None)
    assert int(interop.load_optimizer(state_of(optim.sgd()), plain, NAMES, count=2).step) == 2
    assert "the optimizer has buffers here, PyTorch's has none: give it the same options" in refusal(
        ours, plain, count=2
    )
    assert int(interop.load_optimizer(state_of(ours), plain, NAMES, count=0).step) == 0


def test_the_kind_and_the_shape_of_buffers() -> None:
    assert "0.bias: exp_avg: expected the dtype float32, got complex64" in refusal(
        optim.adam(), with_all(ADAM, exp_avg=torch.ones(3, dtype=torch.complex64))
    )
    message = refusal(optim.adam(), ADAM, ["1.weight", "1.bias", "0.weight", "0.bias"])
    assert "0.weight: expected exp_avg of shape (3, 2), got (2, 3)" in message


def test_factors_of_an_attentions_biases_are_refused() -> None:
    module = nnx.MultiHeadAttention(2, 4, decode=False, rngs=nnx.Rngs(0))
    state = TrainState.create(module, optim.adafactor())
    gradients = jax.tree.map(jnp.ones_like, state.params)
    _, opt_state = state.blueprint.optimizer.update(gradients, state.opt_state, state.params)
    names = ["in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias"]
    like = {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1, 2, 3]}]}
    with pytest.raises(ValueError, match=r"_var of in_proj_bias cannot be carried over"):
        interop.optimizer_state_dict(TrainState(**vars(state) | {"opt_state": opt_state}), like, names)


def test_names_of_the_parameters() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 2))
    adam = optim.adam()
    for wrong, got in (
        ("0.weight", "'0.weight'"),
        (model.named_parameters(), "tuple"),
        (model.parameters(), "Parameter"),
    ):
        assert f"parameters must be a list of names, got {got}; pass [name for name" in refusal(adam, ADAM, wrong)
    assert "parameters must be a list of names, got int" in refusal(adam, ADAM, 3)
    assert "expected 4 different names of parameters, got 4" in refusal(adam, ADAM, [*NAMES[:3], NAMES[0]])
    swapped = dict.fromkeys(sorted(NAMES))
    assert "the names are sorted, as by safetensors or jax.tree.map" in refusal(adam, ADAM, swapped)


def test_a_list_of_the_names_in_the_models_state_dict() -> None:
    listed = [*NAMES[:2], "1.running_mean", "1.running_var", "1.num_batches_tracked", *NAMES[2:]]
    assert int(interop.load_optimizer(state_of(optim.adam()), ADAM, listed).step) == 2


def test_a_model_that_has_one_bias_before_its_weight() -> None:
    """Sorted names have all biases first."""
    first, second, *others = (ADAM["state"][number] for number in range(4))
    saved = ADAM | {"state": dict(enumerate([second, first, *others]))}
    state = interop.load_optimizer(state_of(optim.adam()), saved, dict.fromkeys(["0.bias", "0.weight", *NAMES[2:]]))
    assert np.array_equal(state.opt_state.exp_avg[0]["bias"], second["exp_avg"])


def test_names_that_pytorch_saved_and_others() -> None:
    saved = ADAM | {"param_groups": [ADAM["param_groups"][0] | {"param_names": NAMES}]}
    for given in (None, NAMES, dict.fromkeys(NAMES[::-1])):
        assert int(interop.load_optimizer(state_of(optim.adam()), saved, given).step) == 2
    assert "PyTorch saved another order of the parameters" in refusal(optim.adam(), saved, NAMES[::-1])
    renamed = saved | {"param_groups": [saved["param_groups"][0] | {"param_names": [f"module.{n}" for n in NAMES]}]}
    assert int(interop.load_optimizer(state_of(optim.adam()), renamed, NAMES).step) == 2


def test_names_as_numbers() -> None:
    """As `get_optimizer_state_dict` of torch.distributed returns them, and as JSON spoils them."""
    named = {
        "state": {NAMES[number]: own for number, own in ADAM["state"].items()},
        "param_groups": [{"lr": 0.1, "params": NAMES}],
    }
    assert int(interop.load_optimizer(state_of(optim.adam()), named).step) == 2
    message = refusal(
        optim.adam(), ADAM | {"state": {str(number): own for number, own in ADAM["state"].items()}}, count=2
    )
    assert "expected the keys of 'state' among the parameters [0, 1, 2, 3] of the groups, got ['0', '1'" in message


def test_tied_weights_and_buffers_in_the_models_state_dict() -> None:
    """Each parameter once, under the name by which PyTorch's optimizer knows it."""
    module = nnx.Dict(z=nn.Linear(2, 2, rngs=nnx.Rngs(0)), a=nn.Linear(2, 2, rngs=nnx.Rngs(0)))
    module["a"].kernel = module["z"].kernel
    tied = {name: np.ones(1) for name in ("mask", "z.weight", "z.bias", "a.weight", "a.bias")}
    moments = {
        number: {"step": 3, "exp_avg": np.full(shape, number), "exp_avg_sq": np.ones(shape)}
        for number, shape in enumerate([(2, 2), 2, 2])
    }
    moments = jax.tree.map(lambda x: np.asarray(x, np.float32), moments)
    saved = {"state": moments, "param_groups": [{"lr": 0.1, "params": [0, 1, 2]}]}
    state = interop.load_optimizer(state_of(optim.adam(), module), saved, tied)
    assert [float(leaf.max()) for leaf in jax.tree.leaves(state.opt_state.exp_avg)] == [2.0, 0.0, 1.0]
    back = interop.optimizer_state_dict(state, saved, tied)["state"]
    assert all(np.array_equal(back[number]["exp_avg"], moments[number]["exp_avg"]) for number in range(3))


def test_what_is_not_an_optimizers_state_dict() -> None:
    expected = "expected an optimizer's state_dict with 'state' and 'param_groups', got"
    adam = optim.adam()
    assert f"{expected} Adam; pass its .state_dict()" in refusal(adam, trained(torch.optim.Adam))
    assert f"{expected} a dict of ['0.weight'" in refusal(adam, dict.fromkeys(NAMES))
    assert f"{expected} str" in refusal(adam, "run.pt")
    assert f"{expected} list" in refusal(adam, [[]])
    assert "expected a list of names for each of the 2 optimizers, got ['0.weight'" in refusal(adam, [ADAM, ADAM])
    assert "expected groups with parameters, got []" in refusal(adam, {"state": {}, "param_groups": []}, [], count=0)
    with pytest.raises(TypeError, match="state must be a TrainState, got dict"):
        interop.load_optimizer(ADAM, state_of(adam), NAMES)


def test_groups_with_different_rates_need_a_schedule_each() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.ones(2))], "lr": lr} for lr in (0.1, 0.01)]
    theirs = torch.optim.SGD(groups)
    scheduler = torch.optim.lr_scheduler.StepLR(theirs, 5)
    with pytest.raises(ValueError, match=r"start with the learning rates \[0.1, 0.01\]; pass a list with an lr for"):
        interop.optimizer_from_torch(theirs, groups=["^a", None], lr=interop.schedule_from_torch(scheduler))
    with pytest.raises(ValueError, match=r"SGD has 2 groups; expected as many elements in \['lr'\]"):
        interop.optimizer_from_torch(theirs, groups=["^a", None], lr=[0.1])
    schedules = [interop.schedule_from_torch(scheduler, number) for number in (0, 1)]
    ours = interop.optimizer_from_torch(theirs, groups=["^a", None], lr=schedules)
    params = {"a": jnp.ones(()), "b": jnp.ones(())}
    updates, _ = ours.update(params, ours.init(params), params)
    assert [float(updates[name]) for name in "ab"] == pytest.approx([-0.1, -0.01])


def test_cycles_of_momentum_and_groups_of_older_versions() -> None:
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1, momentum=0.9)
    torch.optim.lr_scheduler.CyclicLR(theirs, 0.1, 1.0)
    with pytest.raises(ValueError, match="a scheduler cycles the momentum of this SGD; pass momentum"):
        interop.optimizer_from_torch(theirs, lr=0.1)
    adamw = torch.optim.AdamW([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    del adamw.param_groups[0]["decoupled_weight_decay"]
    torch.optim.swa_utils.SWALR(adamw, swa_lr=0.05)
    ours = interop.optimizer_from_torch(adamw, lr=0.2)
    assert float(ours.init(jnp.ones(2)).lr) == pytest.approx(0.2)


def test_two_optimizers_that_share_the_parameters() -> None:
    """Muon for the matrices, AdamW for the rest, there and back."""
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(shape)) for shape in ((3, 2), (3,), (2, 3), (2,))]
    theirs = [torch.optim.Muon(parameters[::2], lr=0.1), torch.optim.AdamW(parameters[1::2], lr=0.01)]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape)
    for optimizer in theirs:
        optimizer.step()
    saved, names = [optimizer.state_dict() for optimizer in theirs], [NAMES[::2], NAMES[1::2]]

    def labels(params: Any) -> Any:
        return jax.tree.map(lambda leaf: "muon" if leaf.ndim == 2 else "adamw", params)

    ours = optax.partition({"muon": optim.muon(0.1), "adamw": optim.adamw(0.01)}, labels)
    state = interop.load_optimizer(state_of(ours), saved, names)
    inner = {name: masked.inner_state for name, masked in state.opt_state.inner_states.items()}
    assert np.array_equal(inner["muon"].momentum_buffer[1]["kernel"].T, saved[0]["state"][1]["momentum_buffer"])
    assert np.array_equal(inner["adamw"].exp_avg[1]["bias"], saved[1]["state"][1]["exp_avg"])
    assert {name: float(own.lr) for name, own in inner.items()} == pytest.approx({"muon": 0.1, "adamw": 0.01})

    back = interop.optimizer_state_dict(state, saved, names)
    assert [own["param_groups"] for own in back] == [own["param_groups"] for own in saved]
    for own, truth in zip(back, saved, strict=True):
        assert jax.tree.structure(own["state"]) == jax.tree.structure(truth["state"])
        assert all(map(np.array_equal, jax.tree.leaves(own["state"]), jax.tree.leaves(truth["state"])))


def test_a_state_of_optax_is_not_given_back_empty() -> None:
    with pytest.raises(TypeError, match=r"optimizer_state_dict: expected an optimizer of jaxtrain\.optim"):
        interop.optimizer_state_dict(state_of(optax.adam(0.1)), ADAM, NAMES)


def test_sparse_adam_counts_in_python() -> None:
    table = torch.nn.Embedding(4, 3, sparse=True)
    theirs = torch.optim.SparseAdam(table.parameters(), lr=0.1)
    for _ in range(2):
        theirs.zero_grad()
        table(torch.tensor([1, 3])).sum().backward()
        theirs.step()
    layer, saved = nn.Embedding(4, 3, rngs=nnx.Rngs(0)), theirs.state_dict()
    state = interop.load_optimizer(state_of(optim.sparse_adam(0.1), layer), saved, ["weight"])
    back = interop.optimizer_state_dict(state, saved, ["weight"])["state"][0]
    assert back["step"] == 2
    assert isinstance(back["step"], int)
    assert np.array_equal(back["exp_avg"], saved["state"][0]["exp_avg"])


def test_changes_in_the_groups() -> None:
    """A number for all groups or one for each; the given groups stay as they are."""
    [group] = ADAM["param_groups"]
    like = ADAM | {"param_groups": [group | {"params": [0, 1]}, group | {"params": [2, 3], "eps": 0.1}]}
    give = partial(interop.optimizer_state_dict, state_of(optim.adam()), like, NAMES)
    found = give(lr=[0.1, 0.2], weight_decay=0.3)["param_groups"]
    expected = [{"lr": 0.1, "weight_decay": 0.3}, {"lr": 0.2, "weight_decay": 0.3}]
    assert found == [own | changed for own, changed in zip(like["param_groups"], expected, strict=True)]
    assert give()["param_groups"] == like["param_groups"]
    with pytest.raises(ValueError, match=r"expected 2 elements in lr, one for each group, got \[0.1\]"):
        give(lr=[0.1])
    with pytest.raises(ValueError, match="expected a hyper-parameter of PyTorch's groups, got 'rate'"):
        give(rate=0.1)
    with pytest.raises(TypeError, match=r"expected one optimizer with changes, got 1; set \['lr'\] afterwards"):
        interop.optimizer_state_dict(state_of(optim.adam()), [like], [NAMES], lr=0.1)
