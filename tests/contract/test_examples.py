"""Every example in a docstring runs when it is pasted into an empty namespace: it imports all that it uses."""

import doctest
import importlib
import pkgutil

import pytest

import jaxtrain
import parity

# The examples are run as readers run them.
pytestmark = pytest.mark.usefixtures("promotion")

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def modules(package):
    """The package and everything in it that does not run when it is imported."""
    names = (found.name for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))
    return [package, *(importlib.import_module(name) for name in names if not name.endswith("__main__"))]


def examples():
    """The examples of both packages, one test for each docstring that has any."""
    finder = doctest.DocTestFinder()
    found = [
        test for package in (jaxtrain, parity) for module in modules(package) for test in finder.find(module, globs={})
    ]
    return [pytest.param(test, id=test.name) for test in found if test.examples]


def failures(test):
    """What the run of a test reports; nothing if all went well."""
    report = []
    doctest.DocTestRunner(optionflags=FLAGS).run(test, out=report.append)
    return "".join(report)


@pytest.mark.parametrize("test", examples())
def test_example(test):
    if report := failures(test):
        pytest.fail(report, pytrace=False)


def test_examples_are_found_where_they_are_written():
    names = {parameter.id for parameter in examples()}
    assert names >= {
        "jaxtrain.losses.regression.mse_loss",
        "jaxtrain.optim.adam.adamw",
        "jaxtrain.schedules.step.step_lr",
        "jaxtrain.regularization.masks.decay_mask",
        "jaxtrain.nn.dropout.Dropout",
        "jaxtrain.train.state.TrainState.create",
        "parity.check.check_optimizer",
    }


@pytest.mark.parametrize(
    ("docstring", "report"),
    [(">>> jnp.ones(1)", "NameError: name 'jnp' is not defined"), (">>> 1 + 1\n3", "Expected:\n    3\nGot:\n    2")],
)
def test_a_missing_import_and_a_wrong_result_are_reported(docstring, report):
    assert report in failures(doctest.DocTestParser().get_doctest(docstring, {}, "docstring", None, 0))
