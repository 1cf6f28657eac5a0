"""The registry, the public names and PyTorch's signatures tell the same story."""

import inspect
import re

import pytest
import torch
from torch.optim import lr_scheduler

from parity import counterparts
from parity.cases import all_cases
from parity.counterparts import component_of

PUBLIC = counterparts.public()
COMPARED = [name for name in PUBLIC if counterparts.counterpart(name) is not None]


def test_everything_public_has_a_case_or_a_reason():
    covered = {case.component for case in all_cases()} | counterparts.WITHOUT_CASE.keys()
    assert sorted(PUBLIC.keys() - covered) == []


def test_every_case_is_about_something_public():
    assert sorted({case.component for case in all_cases()} - PUBLIC.keys()) == []


def test_everything_public_has_a_counterpart_or_a_reason():
    assert sorted(PUBLIC.keys() - set(COMPARED) - counterparts.WITHOUT_COUNTERPART.keys()) == []


SMALL_LAYERS = [
    getattr(torch.nn.modules, name)
    for name in ("activation", "channelshuffle", "distance", "flatten", "pixelshuffle", "pooling")
]
LEFT_OUT = {
    "MultiheadAttention": "a layer with weights, not an activation",
    **{f"MaxUnpool{axes}d": "no recipe needs it" for axes in (1, 2, 3)},
    **{f"FractionalMaxPool{axes}d": "its windows are random" for axes in (2, 3)},
}
"""Layers of these modules that are not here, and why."""


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
    layers += [name for module in SMALL_LAYERS for name in module.__all__ if name not in LEFT_OUT]
    assert [len(optimizers), len(schedulers), len(losses), len(layers)] == [15, 16, 23, 17 + 50]
    torch_names = [
        *(f"optim.{name}" for name in optimizers),
        *(f"{'optim.swa_utils' if name == 'SWALR' else 'optim.lr_scheduler'}.{name}" for name in schedulers),
        *(f"nn.{name}" for name in losses + layers),
    ]
    assert [name for name in torch_names if component_of(name) not in PUBLIC] == []


@pytest.mark.parametrize(
    ("torch_name", "name"),
    [
        ("optim.SparseAdam", "optim.sparse_adam"),
        ("optim.lr_scheduler.ReduceLROnPlateau", "schedules.reduce_lr_on_plateau"),
        ("nn.KLDivLoss", "losses.kl_div"),
        ("nn.functional.kl_div", "losses.kl_div"),
        ("nn.AdaptiveLogSoftmaxWithLoss", "nn.AdaptiveLogSoftmaxWithLoss"),
        ("nn.Conv3d", "nn.Conv"),
        ("nn.functional.conv3d", "nn.conv"),
        ("nn.functional.batch_norm", "nn.batch_norm"),
        ("nn.GELU", "nn.gelu"),
        ("nn.MaxPool2d", "nn.max_pool"),
        ("nn.PReLU", "nn.PReLU"),
        ("nn.Softmax2d", "nn.softmax"),
        ("nn.GEGLU", None),
        ("nn.functional.soft_loss", None),
    ],
)
def test_one_name_leads_to_the_other(torch_name, name):
    assert component_of(torch_name) == name


def test_of_several_counterparts_the_function_and_the_first_layer_count():
    assert counterparts.counterpart("losses.huber_loss") is torch.nn.functional.huber_loss
    assert counterparts.counterpart("nn.BatchNorm") is torch.nn.BatchNorm1d
    assert counterparts.counterpart("nn.FeatureDropout") is torch.nn.Dropout1d
    assert counterparts.counterpart("optim.clip_grad_norm") is torch.nn.utils.clip_grad_norm_
    assert counterparts.counterpart("schedules.swa_lr") is torch.optim.swa_utils.SWALR
    assert counterparts.counterpart("optim.adam") is torch.optim.Adam


def test_no_reason_outlives_its_name():
    reasons = (
        counterparts.WITHOUT_CASE.keys()
        | counterparts.WITHOUT_COUNTERPART.keys()
        | {name for name, _ in counterparts.OTHER_ARGUMENTS}
    )
    assert sorted(reasons - PUBLIC.keys()) == []
    assert sorted(counterparts.WITHOUT_COUNTERPART.keys() & set(COMPARED)) == []


def plain(default):
    """A default; of a function its name, as each framework has its own."""
    return getattr(default, "__name__", default)


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
    defaults = {key: [plain(side[key].default) for side in (ours, theirs)] for key in order}
    assert {key: both for key, both in defaults.items() if both[0] != both[1]} == {}, "defaults"
