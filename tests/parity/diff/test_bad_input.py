"""Input that a diff or a golden cannot work with: each error says what was expected, what came, and the way out."""

import json

import jax
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from jaxtrain import interop, nn
from parity import diff
from parity.diff.marks import listening

BATCH = (np.random.default_rng(0).normal(size=(4, 5)),)


def theirs(width=3):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(5, width))


def ours(width=3):
    return nnx.Sequential(nn.Linear(5, width, rngs=nnx.Rngs(0)))


def spoiled():
    module = theirs()
    with torch.no_grad():
        module[0].weight[1, 2] = torch.nan
        module[0].bias[0] = torch.nan
    return module


class Numbers(torch.nn.Module):
    def forward(self, x):
        return x.argmax(-1)


class Fails(nnx.Module):
    def __call__(self, x):
        raise KeyError("mask")


def mean(module, x):
    return module(x).mean()


def sgd(module):
    return torch.optim.SGD(module.parameters(), 0.1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"module": 3}, TypeError, "expected PyTorch's module first, got int"),
        ({"module": ours()}, TypeError, "expected PyTorch's module first, got Sequential of flax"),
        ({"module": torch.nn.Linear}, TypeError, "first, got the class Linear; make an instance of it"),
        ({"module": torch.nn.Linear(5, 3, device="meta")}, ValueError, "on the CPU, got 'weight' on meta; give it its"),
        ({"model": theirs()}, TypeError, "got PyTorch's Sequential; pass PyTorch's module first, then the port"),
        ({"model": Fails}, TypeError, "got the class Fails; make an instance of it"),
        ({"model": jax.nn.relu}, TypeError, r"\(a function, its parameters\), got a custom_jvp alone; pass \(it, its"),
        ({"precision": "bfloat16"}, ValueError, 'precision "float64" or "float32", got \'bfloat16\''),
        ({"batch": BATCH[0]}, TypeError, r"expected batch to be a tuple .* got ndarray; pass \(array,\)"),
        ({"batch": (torch.ones(4, 5).requires_grad_(),)}, TypeError, "hold NumPy arrays, got Tensor at place 0, which"),
        ({"layers": ["0"]}, TypeError, "expected `layers` to map our paths of layers to PyTorch's, got list"),
        ({"loss": (mean, lambda m, x: m(x).argmax())}, ValueError, "expected our loss to return a float, got int"),
        ({"batch": ()}, ValueError, "expected batch to hold the arrays that the model is called with, got an empty"),
        ({"batch": (["a", "b"],)}, TypeError, r"expected batch to hold arrays of numbers, got list \['a', 'b'\] at pl"),
        ({"jax_batch": (None,)}, TypeError, "expected jax_batch to hold arrays of numbers, got NoneType None at"),
        ({"batch": (BATCH[0] * np.nan,)}, ValueError, "expected batch to hold numbers, got NaN in the array at"),
        ({"steps": 0}, ValueError, "expected steps to be an integer of at least 1, got 0"),
        ({"jax_batch": [BATCH, BATCH]}, ValueError, "expected as many batches in jax_batch, got 2 for 1"),
        ({"loss": mean}, TypeError, "expected loss to be a pair, PyTorch's and ours, got function; pass loss="),
        ({"loss": (mean, 1.0)}, TypeError, "expected our loss to be a function of the model and the batch, got float"),
        ({"loss": (lambda m, x: m(x), mean)}, ValueError, r"PyTorch's loss to return a scalar, got shape \(4, 3\)"),
        ({"optimizer": optax.sgd(0.1)}, TypeError, "our optimizer to be an Optax transformation|to be a pair"),
        ({"optimizer": (None, torch.optim.SGD)}, TypeError, "our optimizer to be an Optax transformation, got type"),
        ({"optimizer": (torch.optim.SGD, optax.sgd(0.1))}, TypeError, "of the module, got the class SGD; pass lambda"),
        (
            {"optimizer": (lambda m: sgd(theirs()), optax.sgd(0.1))},
            ValueError,
            "expected the optimizer to train the mo",
        ),
        ({"optimizer": (lambda m: torch.optim.LBFGS(m.parameters()), optax.sgd(0.1))}, TypeError, "closure, got LBFGS"),
        ({"module": spoiled()}, ValueError, "weights to be numbers, got NaN in '0.weight' and 1 more; load a"),
        ({"module": Numbers()}, ValueError, "expected PyTorch's model to return a tensor of floats, got Tensor"),
        ({"batch": (np.ones((4, 6)),)}, RuntimeError, r"PyTorch's model or loss failed .*\(float64\[4, 6\]\): Runtime"),
        ({"jax_batch": (np.ones((4, 6)),)}, RuntimeError, r"the port or its loss failed .*float64\[4, 6\].*pass jax"),
        ({"model": Fails()}, RuntimeError, "the port or its loss failed on the batch .*: KeyError: 'mask'; pass"),
    ],
)
def test_bad_arguments_of_a_diff_are_refused(change, error, message):
    given = {"module": theirs(), "model": ours(), "batch": BATCH, **change}
    with pytest.raises(error, match=message):
        diff.compare(given.pop("module"), given.pop("model"), given.pop("batch"), **given)


@pytest.mark.long
def test_models_without_parameters_are_compared():
    right = diff.compare(torch.nn.Sequential(torch.nn.ReLU()), nnx.Sequential(nnx.relu), BATCH)
    assert right.same
    assert right.running
    wrong = diff.compare(torch.nn.Sequential(torch.nn.ReLU()), nnx.Sequential(nnx.gelu), BATCH)
    assert wrong.findings[0].name == "the model itself"


def test_nan_in_the_outputs_of_both_is_noted():
    class Log(torch.nn.Module):
        def forward(self, x):
            return torch.log(x)

    report = diff.compare(Log(), nnx.Sequential(jax.numpy.log), BATCH)
    assert report.notes == ["PyTorch computes NaN in the model, which hides every difference behind it"]


@pytest.fixture(scope="module")
def golden(tmp_path_factory):
    path = tmp_path_factory.mktemp("golden") / "a.npz"
    diff.record(path, theirs(), BATCH)
    return path


def rewritten(golden, tmp_path, **changed):
    with np.load(golden) as file:
        arrays = dict(file)
    about = json.loads(str(arrays.pop("about"))) | changed
    path = tmp_path / "b.npz"
    np.savez(path, about=np.asarray(json.dumps(about)), **arrays)
    return path


def test_goldens_that_do_not_fit_are_refused(golden, tmp_path):
    def refused(error, message, path=golden, model=None, **given):
        with pytest.raises(error, match=message):
            diff.check(path, ours() if model is None else model, **given)

    assert diff.check(golden, ours()).same
    refused(FileNotFoundError, "expected a golden at .*none.npz, found none; record it", tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no golden")
    refused(ValueError, "text.npz to be a golden, got another or a damaged file", tmp_path / "text.npz")
    (tmp_path / "half.npz").write_bytes(golden.read_bytes()[:200])
    refused(ValueError, "half.npz to be a golden, got another or a damaged file", tmp_path / "half.npz")
    np.savez(tmp_path / "weights.npz", a=np.ones(3))
    refused(ValueError, "weights.npz to be a golden, got another", tmp_path / "weights.npz")
    refused(ValueError, "golden of format 2, got 1 in", rewritten(golden, tmp_path, format=1))
    refused(ValueError, r"golden of this model, got '0.bias' with shape \(3,\), ours has \(4,\)", model=ours(4))
    refused(ValueError, r"other variables \(0.bias, 0.weight, ...\); pass names=", model=nnx.Sequential(nnx.relu))
    refused(ValueError, "recorded without an optimizer, got one", optimizer=optax.sgd(0.1))
    refused(ValueError, "as many batches in jax_batch as the golden has, got 2 for 1", jax_batch=[BATCH, BATCH])
    refused(RuntimeError, r"the port or its loss failed on the batch \(float64\[4, 6\]\)", jax_batch=(np.ones((4, 6)),))


@pytest.mark.parametrize(
    ("path", "module", "error", "message"),
    [
        ("a.npz", ours(), TypeError, "expected PyTorch's module after the path, got Sequential of flax"),
        ("no/such/a.npz", theirs(), FileNotFoundError, "expected the folder of 'no/such/a.npz' to exist; make it"),
        ("a.zip", theirs(), ValueError, "expected a path that ends in .npz, got 'a.zip'"),
        ("a.npz", spoiled(), ValueError, "weights to be numbers, got NaN in '0.weight'"),
        ("a.npz", theirs(), RuntimeError, "PyTorch's model or loss failed on the batch"),
    ],
)
def test_bad_arguments_of_a_recording_are_refused(path, module, error, message):
    with pytest.raises(error, match=message):
        diff.record(path, module, (np.ones((4, 6)),))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"scheduler": 3}, TypeError, "expected the scheduler to be a function of the optimizer, got int; pass lambda"),
        ({"max_norm": "1"}, ValueError, "expected max_norm to be a number above 0, or None, got '1'"),
        ({"max_value": -1.0}, ValueError, "expected max_value to be a number above 0, or None, got -1.0"),
    ],
)
def test_bad_arguments_of_a_recipe_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        diff.Recipe(sgd, **change)


def test_marks_that_cannot_be_compared_are_refused():
    with pytest.raises(TypeError, match="the path of PyTorch's layer first, got int"):
        diff.mark(3, 1.0)
    with listening(lambda name, value: value), pytest.raises(TypeError, match="array to mark as 'a', got tuple; mark"):
        diff.mark("a", (1.0, 2.0))


def test_another_number_of_outputs_is_a_difference():
    model = interop.load_state_dict(ours(), theirs().state_dict())
    report = diff.compare(theirs(4), model, BATCH)
    assert not report.same
    assert report.findings[0].cause.says == "its shape is (3,), PyTorch's is (4,)"
