"""Bad input: the error says what was expected, what came, and the way out."""

import io
import warnings
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import optax
import pytest
import torch
from flax import nnx
from torch.optim import lr_scheduler as lrs

from jaxtrain import interop, nn, optim, schedules
from jaxtrain.train import TrainState

NAMES = ["weight", "bias"]
MOST = 2**31 - 1


def layer() -> nn.Linear:
    return nn.Linear(2, 3, rngs=nnx.Rngs(0))


def state_of(optimizer: optax.GradientTransformation) -> TrainState:
    return TrainState.create(layer(), optimizer)


def saved_by(make: Callable[..., torch.optim.Optimizer], **options: Any) -> dict[str, Any]:
    """The state_dict of an optimizer after a step."""
    parameters = [torch.nn.Parameter(torch.ones(shape)) for shape in ((3, 2), (3,))]
    optimizer = make(parameters, lr=0.1, **options)
    for parameter in parameters:
        gradient = torch.ones_like(parameter)
        parameter.grad = gradient.to_sparse(1) if make is torch.optim.SparseAdam else gradient
    optimizer.step()
    return optimizer.state_dict()


ADAM = saved_by(torch.optim.Adam)


@cache
def adam() -> TrainState:
    return state_of(optim.adam())


def error_of(call: Callable[[], Any]) -> str:
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    return str(error.value)


@pytest.mark.parametrize("file", ["run.pt", Path("run.safetensors"), b"PK", io.BytesIO(b"PK")])
def test_a_file_is_not_read(file: Any) -> None:
    message = error_of(lambda: interop.load_state_dict(layer(), file))
    assert f"got {file!r}; read the file first, with torch.load(path, weights_only=True) or safetensors" in message


def test_dicts_among_weights() -> None:
    weights = {"weight": np.ones((3, 2)), "bias": np.ones(3)}
    given = weights | {"_extra_state": {"scale": 1}}
    message = error_of(lambda: interop.load_state_dict(layer(), given))
    assert "got dicts at ['_extra_state']; pass one of them, or name them in `ignore`" in message
    loaded = interop.load_state_dict(layer(), given, ignore=["_extra_state"])
    assert np.array_equal(loaded.kernel[...], np.ones((2, 3)))
    message = error_of(lambda: interop.load_state_dict(layer(), weights, strict="no"))
    assert message == "load_state_dict: strict must be True or False, got 'no'"


@pytest.mark.parametrize("step", [5.5, -1, float("nan"), torch.tensor(float("inf")), 10**12])
def test_steps_that_are_not_counts(step: Any) -> None:
    states = {number: own | {"step": step} for number, own in ADAM["state"].items()}
    message = error_of(lambda: interop.load_optimizer(adam(), ADAM | {"state": states}, NAMES))
    assert f"load_optimizer: expected a whole number of steps from 0 to {MOST} at 'weight.step', got " in message


def test_counts_that_do_not_fit() -> None:
    lbfgs = {"state": {}, "param_groups": [{"lr": 1.0, "params": [0, 1]}]}
    for state, saved in ((adam(), ADAM), (state_of(optim.lbfgs()), lbfgs)):
        with pytest.raises(ValueError, match=f"load_optimizer: count must be from 0 to {MOST}, got {MOST + 1}$"):
            interop.load_optimizer(state, saved, NAMES, count=MOST + 1)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"state": [1]}, "expected a dict of dicts at 'state', got [1]"),
        ({"state": {0: None}}, "expected a dict of dicts at 'state', got {0: None}"),
        ({"param_groups": {"lr": 0.1}}, "expected a list of dicts with 'params' and 'lr' at 'param_groups', got {'lr'"),
        ({"param_groups": [{"params": [0, 1]}]}, "with 'params' and 'lr' at 'param_groups', got [{'params': [0, 1]}]"),
        ({"param_groups": [{"lr": 0.1}]}, "with 'params' and 'lr' at 'param_groups', got [{'lr': 0.1}]"),
        ({"state": {"0": {}}}, "got ['0']; if a file of JSON turned numbers into text, convert the keys with int"),
        (
            {"state": {}},
            "no step numbers, which nothing has before its first step, and SGD and Muon never; give",
        ),
    ],
)
def test_state_dicts_of_another_form(changed: dict[str, Any], expected: str) -> None:
    assert expected in error_of(lambda: interop.load_optimizer(adam(), ADAM | changed, NAMES))


OTHERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "RAdam": (optim.adam, saved_by(torch.optim.RAdam)),
    "Adam": (optim.radam, ADAM),
    "SGD": (lambda: optim.muon(axis=0), saved_by(torch.optim.SGD, momentum=0.9)),
    "Adadelta": (optim.rmsprop, saved_by(torch.optim.Adadelta)),
    "SparseAdam": (optim.adam, saved_by(torch.optim.SparseAdam)),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_the_state_of_another_optimizer(kind: str) -> None:
    """Also where its buffers have the same names and shapes."""
    make, saved = OTHERS[kind]
    state = TrainState.create(nn.Linear(2, 3, bias=False, rngs=nnx.Rngs(0)), make())
    if kind == "SGD":
        saved = {"state": {0: saved["state"][0]}, "param_groups": [saved["param_groups"][0] | {"params": [0]}]}
    names = NAMES[: len(saved["state"])]
    for call in (partial(interop.load_optimizer, count=1), interop.optimizer_state_dict):
        with pytest.raises(ValueError, match=f"got those of {kind}: build the same optimizer") as error:
            call(state, saved, names)
        assert len(str(error.value).splitlines()) <= 3


def test_groups_that_tell_nothing() -> None:
    """AdamW's state is Adam's; a group may lack what its version did not have, or have entries of a script."""
    for group in (saved_by(torch.optim.AdamW)["param_groups"][0], {"lr": 0.1}, ADAM["param_groups"][0] | {"name": "a"}):
        saved = ADAM | {"param_groups": [group | {"params": [0, 1]}]}
        assert int(interop.load_optimizer(adam(), saved, NAMES).step) == 1


def test_a_prefix_of_the_names() -> None:
    message = error_of(lambda: interop.load_optimizer(adam(), ADAM, [f"module.{name}" for name in NAMES]))
    assert message.splitlines()[1:] == ["  PyTorch's names begin with 'module.': pass names={'^': 'module.'}"]
    names = [f"module.{name}" for name in NAMES]
    message = error_of(lambda: interop.load_optimizer(adam(), ADAM, dict.fromkeys(names, np.ones(2))))
    assert message == "load_optimizer: PyTorch's names begin with 'module.': pass names={'^': 'module.'}"
    assert int(interop.load_optimizer(adam(), ADAM, names, names={"^": "module."}).step) == 1


def test_kinds_of_optimizers() -> None:
    class Own(torch.optim.Adam):
        pass

    own = Own([torch.nn.Parameter(torch.ones(2))], lr=0.1)
    make = interop.optimizer_from_torch
    assert "expected one of Adadelta, Adafactor, " in error_of(lambda: make(own))
    assert "got Own; name the class it is with `kind`" in error_of(lambda: make(own))
    assert float(make(own, kind="Adam").init({"a": np.ones(2, np.float32)}).lr) == pytest.approx(0.1)
    assert "sgd does not have the arguments ['betas'," in error_of(lambda: make(own, kind="SGD"))
    for kind in ("SparseRows", "param_groups", 3):
        assert f"got {kind}; name the class" in error_of(lambda kind=kind: make(ADAM, kind=kind))
    weights = {"weight": torch.ones(2)}
    assert "or its state_dict, got a dict of ['weight']" in error_of(lambda: make(weights, kind="Adam"))
    assert "groups must be a list with a regular expression for each" in error_of(lambda: make(own, "^a", kind="Adam"))
    own.param_groups[0]["name"] = "all"
    assert "['name']; if PyTorch's Adam does not use them either, take them out of its groups" in error_of(
        lambda: make(own, kind="Adam")
    )


def sgd() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.5)


def stepped(scheduler: Any, number: int = 3) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The optimizer makes no steps.
        for _ in range(number):
            scheduler.step()
    return scheduler


def changed_by_hand() -> Any:
    scheduler = stepped(lrs.StepLR(sgd(), 2, 0.5), 1)
    scheduler.optimizer.param_groups[0]["lr"] = 0.01
    return stepped(scheduler, 2)


def with_another() -> Any:
    optimizer = sgd()
    first, second = lrs.LinearLR(optimizer, 0.1, total_iters=4), lrs.ExponentialLR(optimizer, 0.5)
    for _ in range(3):
        stepped(first, 1), stepped(second, 1)
    return first


class Steeper(lrs.StepLR):
    def get_lr(self) -> list[float]:
        return [group["lr"] * 0.9 for group in self.optimizer.param_groups]


@pytest.mark.parametrize("scheduler", [changed_by_hand(), with_another(), stepped(Steeper(sgd(), 2)).state_dict()])
def test_a_rate_that_is_not_the_schedules(scheduler: Any) -> None:
    message = error_of(lambda: interop.schedule_from_torch(scheduler))
    assert "schedule_from_torch: expected the rate 0." in message
    assert " alone; the script, another scheduler or a class derived from it changed the rate: write the" in message


def test_a_rate_that_has_fallen_to_nothing() -> None:
    """What rounding leaves there is far from the schedule's zero by its own measure."""
    scheduler = stepped(lrs.LinearLR(sgd(), 0.3, 0.0, total_iters=7), 7)
    assert 0 < scheduler.get_last_lr()[0] < 1e-16
    assert float(interop.schedule_from_torch(scheduler)(7)) == 0


def test_a_rate_in_a_tensor_that_has_been_rounded_often() -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=torch.tensor(0.1))
    scheduler = stepped(lrs.ExponentialLR(optimizer, 0.999), 3000)
    rate = float(interop.schedule_from_torch(scheduler)(3000))
    assert 1e-6 < abs(rate / float(scheduler.get_last_lr()[0]) - 1) < 1e-3


STEP = stepped(lrs.StepLR(sgd(), 2, 0.5)).state_dict()
ONE_CYCLE = lrs.OneCycleLR(sgd(), 1.0, 20, cycle_momentum=False)
PLATEAU = lrs.ReduceLROnPlateau(sgd())
PLATEAU.step(1.0)


@cache
def rule() -> schedules.Plateau:
    return interop.plateau_from_torch(PLATEAU)


@cache
def scheduled() -> TrainState:
    return state_of(optim.sgd(schedules.step_lr(0.5, 2, 0.5)))


SCHEDULES: list[tuple[Callable[[], Any], str]] = [
    (lambda: interop.schedule_from_torch(STEP, "0"), "schedule_from_torch: group must be an integer, got '0'"),
    (lambda: interop.schedule_from_torch(STEP, -1), "schedule_from_torch: group must be from 0 to 0, got -1"),
    (lambda: interop.load_scheduler(rule(), PLATEAU.state_dict(), group=-1), "group must be from 0 to 0, got -1"),
    (lambda: interop.load_scheduler(rule(), PLATEAU.state_dict(), group=5), "group must be from 0 to 0, got 5"),
    (
        lambda: interop.load_scheduler(scheduled(), STEP | {"last_epoch": 2.5}),
        "StepLR must be an integer, got 2.5",
    ),
    (
        lambda: interop.load_scheduler(scheduled(), STEP | {"last_epoch": "3"}),
        "StepLR must be an integer, got '3'",
    ),
    (lambda: interop.load_scheduler(scheduled(), STEP | {"last_epoch": -1}), f"must be from 0 to {MOST}, got -1"),
    (
        lambda: interop.load_scheduler(scheduled(), STEP, steps_per_epoch=10**9),
        f"from 0 to {MOST}, got 3000000000",
    ),
    (
        lambda: interop.load_scheduler(state_of(optax.sgd(0.1)), STEP),
        "load_scheduler: expected an optimizer with a schedule, got a state that counts no updates",
    ),
    (lambda: interop.scheduler_state_dict(3, PLATEAU), "got a ReduceLROnPlateau; pass its .state_dict()"),
    (
        lambda: interop.scheduler_state_dict(adam(), STEP),
        "the number of steps of this StepLR, got a TrainState",
    ),
    (lambda: interop.scheduler_state_dict(rule().init(), STEP), "number of steps of this StepLR, got a PlateauState"),
    (
        lambda: interop.scheduler_state_dict(30, ONE_CYCLE.state_dict(), optimizer=ONE_CYCLE.optimizer),
        "scheduler_state_dict: expected finite rates after 30 steps of this OneCycleLR, got [nan]",
    ),
]


@pytest.mark.parametrize(("call", "expected"), SCHEDULES, ids=[expected for _, expected in SCHEDULES])
def test_schedulers(call: Callable[[], Any], expected: str) -> None:
    assert expected in error_of(call)
