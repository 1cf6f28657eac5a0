"""The registry, the public names and PyTorch's signatures tell the same story."""

import inspect
import re

import pytest
import torch
from torch.optim import lr_scheduler

from parity import counterparts
from parity.cases import all_cases
from parity.torch_inputs.registry import component_of

PUBLIC = dict(counterparts.public_names())
COMPARED = [name for name in PUBLIC if counterparts.counterpart(name) is not None]
SYNONYMS = {"SyncBatchNorm": "nn.BatchNorm", "AdaptiveLogSoftmaxWithLoss": "nn.AdaptiveLogSoftmaxWithLoss"} | {
    f"Dropout{axes}d": "nn.FeatureDropout" for axes in (1, 2, 3)
}


def test_everything_public_has_a_case_or_a_reason():
    covered = {case.component for case in all_cases()} | counterparts.WITHOUT_CASE.keys()
    assert sorted(PUBLIC.keys() - covered) == []


def test_every_case_is_about_something_public():
    assert sorted({case.component for case in all_cases()} - PUBLIC.keys()) == []


def test_everything_public_has_a_counterpart_or_a_reason():
    assert sorted(PUBLIC.keys() - set(COMPARED) - counterparts.WITHOUT_COUNTERPART.keys()) == []


def classes(module, ending, base):
    """The names of a module's public classes that end so, without the lazy ones, which find out their sizes."""
    found = [name for name, value in vars(module).items() if inspect.isclass(value) and issubclass(value, base)]
    return [
        name
        for name in found
        if re.search(ending, name) and not name.startswith(("_", "Lazy")) and name != base.__name__
    ]


def test_nothing_of_torch_is_missing():
    optimizers = classes(torch.optim, "", torch.optim.Optimizer)
    schedulers = [*classes(lr_scheduler, "", lr_scheduler.LRScheduler), "SWALR"]
    losses = classes(torch.nn, "Loss$", torch.nn.Module)
    layers = classes(torch.nn, r"(Norm|Dropout)(\dd)?$", torch.nn.Module)
    assert [len(optimizers), len(schedulers), len(losses), len(layers)] == [15, 16, 23, 17]
    stood_for = {getattr(counterparts.counterpart(name), "__name__", "") for name in PUBLIC}
    assert set(optimizers + schedulers) <= stood_for
    assert {SYNONYMS.get(name) or component_of(f"nn.{name}") for name in losses + layers} <= PUBLIC.keys()


def test_no_reason_outlives_its_name():
    reasons = (
        counterparts.WITHOUT_CASE.keys()
        | counterparts.WITHOUT_COUNTERPART.keys()
        | {name for name, _ in counterparts.OTHER_ARGUMENTS}
    )
    assert sorted(reasons - PUBLIC.keys()) == []
    assert sorted(counterparts.WITHOUT_COUNTERPART.keys() & set(COMPARED)) == []


@pytest.mark.parametrize("name", COMPARED)
def test_arguments_are_those_of_torch(name):
    ours, theirs = counterparts.arguments(PUBLIC[name]), counterparts.arguments(counterparts.counterpart(name))
    excused = {argument for component, argument in counterparts.OTHER_ARGUMENTS if component == name}
    assert sorted(ours.keys() - theirs.keys() - counterparts.JAX_ONLY.keys() - excused) == [], "ours alone"
    assert sorted(theirs.keys() - ours.keys() - counterparts.NOT_OURS.keys() - excused) == [], "torch's alone"

    def positional(parameters):
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return [key for key in ours if key in theirs and parameters[key].kind in kinds]

    order = [key for key in theirs if key in ours]
    assert positional(ours) == [key for key in order if key in positional(ours)], "order"
    different = {
        key: (ours[key].default, theirs[key].default) for key in order if ours[key].default != theirs[key].default
    }
    assert different == {}, "defaults"
