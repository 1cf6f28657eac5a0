"""Arguments of penalties, masks and constraints that are not one number, a flag or an axis."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxtrain import regularization

PARAMS = {"kernel": jnp.array([[3.0, 0.5], [4.0, 0.0]])}


def updated(constraint):
    return constraint.update(PARAMS, constraint.init(PARAMS), PARAMS)


NUMBERS = {
    "l1_penalty: strength": lambda value: regularization.l1_penalty(PARAMS, value),
    "l2_penalty: strength": lambda value: regularization.l2_penalty(PARAMS, value),
    "elastic_net_penalty: strength": lambda value: regularization.elastic_net_penalty(PARAMS, value),
    "elastic_net_penalty: l1_ratio": lambda value: regularization.elastic_net_penalty(PARAMS, 1.0, value),
    "max_norm: maxnorm": lambda value: updated(regularization.max_norm(value)),
    "max_norm: p": lambda value: updated(regularization.max_norm(1.0, value)),
    "unit_norm: p": lambda value: updated(regularization.unit_norm(value)),
    "unit_norm: eps": lambda value: updated(regularization.unit_norm(eps=value)),
}


@pytest.mark.parametrize("argument", NUMBERS)
def test_one_plain_number(argument):
    for value in (lambda count: 1.0, "1.0", None):
        with pytest.raises(TypeError, match=f"{argument} must be a number"):
            NUMBERS[argument](value)
    for value in (jnp.ones((2, 1)), jnp.ones(1)):
        with pytest.raises(ValueError, match=rf"{argument} must be one number, got an array of shape \("):
            NUMBERS[argument](value)
        with pytest.raises(ValueError, match=rf"{argument} must be one number, got an array of shape \("):
            jax.jit(lambda traced: NUMBERS[argument](traced) and 0)(value)


def test_marks_are_true_or_false():
    with pytest.raises(TypeError, match="l2_penalty: each element of mask must be True or False, got 'False'"):
        regularization.l2_penalty(PARAMS, 1.0, mask={"kernel": "False"})
    with pytest.raises(TypeError, match="decay_mask: the rule 'kernel' must be True or False, got 'False'"):
        regularization.decay_mask(PARAMS, {"kernel": "False"})  # pyright: ignore[reportArgumentType] the mistake


def test_axes_that_parameters_do_not_have():
    with pytest.raises(ValueError, match=r"max_norm: expected parameters that have axis 5, got 'kernel' of shape"):
        updated(regularization.max_norm(1.0, axis=5))
    with pytest.raises(TypeError, match="unit_norm: axis must be an integer, got '0'"):
        regularization.unit_norm(axis="0")  # pyright: ignore[reportArgumentType] the mistake


@pytest.mark.parametrize("parameter", [jnp.ones((2, 2), int), jnp.ones((2, 2), complex), 1.0], ids=repr)
def test_parameters_that_are_not_floating(parameter):
    for constraint in (regularization.max_norm(1.0), regularization.unit_norm(), regularization.non_negative()):
        with pytest.raises(TypeError, match=r"expected floating point parameters, got 'a' of (int32|complex64|float)"):
            constraint.update({"a": parameter}, (), {"a": parameter})


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, np.inf])
def test_every_number_can_be_injected(p):
    injected = optax.inject_hyperparams(regularization.max_norm, static_args="axis")(maxnorm=1.0, p=p)
    found: Any = jax.jit(injected.update)(PARAMS, injected.init(PARAMS), PARAMS)[0]
    expected: Any = updated(regularization.max_norm(1.0, p))[0]
    np.testing.assert_allclose(found["kernel"], expected["kernel"], rtol=1e-6)


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_the_norm_of_zeros_can_be_differentiated(p):
    def projected(kernel):
        constraint = regularization.max_norm(1.0, p)
        return constraint.update(kernel, constraint.init(kernel), kernel)[0].sum()

    np.testing.assert_array_equal(jax.grad(projected)(jnp.zeros((2, 2))), np.ones((2, 2)))


PENALTIES = [regularization.l1_penalty, regularization.l2_penalty, regularization.elastic_net_penalty]


@pytest.mark.parametrize("penalty", PENALTIES)
def test_parameters_are_arrays(penalty):
    for given, shown in (
        (3.0, "float at the root"),
        ({"a": [2.0]}, r"float at \['a'\]\[0\]"),
        ("a", "str at the root"),
    ):
        with pytest.raises(TypeError, match=f"^{penalty.__name__}: expected arrays as parameters, got {shown}"):
            penalty(given, 0.1)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize(
    "mask",
    [{"bias": True}, {"kernel": True, "bias": True}, {"kernel": None}, {"kernel": {"a": True}}, [True], ()],
    ids=repr,
)
def test_masks_fit_the_parameters(penalty, mask):
    for given in (mask, lambda params: mask):
        with pytest.raises(ValueError, match=rf"^{penalty.__name__}: expected a mask in the tree of the parameters"):
            penalty(PARAMS, 0.1, mask=given)


def test_a_mask_is_not_made_of_strings():
    for given, where in (({"a": "x"}, "a"), ("kernel", "the root"), (["^head/", b"x"], "0")):
        with pytest.raises(TypeError, match=f"^decay_mask: expected parameters, got .* at {where}$"):
            regularization.decay_mask(given)


@pytest.mark.parametrize("rules", [None, "kernel", [("kernel", 1)]])
def test_rules_are_labels_by_pattern(rules):
    with pytest.raises(TypeError, match=r"^label_parameters: rules must be labels by pattern"):
        regularization.label_parameters(PARAMS, rules)
