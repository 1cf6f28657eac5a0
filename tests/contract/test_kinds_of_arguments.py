"""Functions and schedules refuse numbers, integers and flags of another kind, by an error that names the argument."""

import inspect

import jax.numpy as jnp
import pytest

from jaxtrain import nn, schedules

LINE, ROWS, IMAGE = jnp.ones(4), jnp.ones((2, 4)), jnp.ones((2, 4, 4, 8))
CLASSES = jnp.zeros((2, 2), int)

CALLS = {
    nn.hardtanh: (LINE,),
    nn.threshold: (LINE, 0.1, 0.0),
    nn.leaky_relu: (LINE,),
    nn.rrelu: (LINE,),
    nn.elu: (LINE,),
    nn.celu: (LINE,),
    nn.hardshrink: (LINE,),
    nn.softshrink: (LINE,),
    nn.softplus: (LINE,),
    nn.normalize: (ROWS,),
    nn.pairwise_distance: (ROWS, ROWS),
    nn.cosine_similarity: (ROWS, ROWS),
    nn.cdist: (ROWS, ROWS),
    nn.avg_pool: (IMAGE, 2),
    nn.max_pool: (IMAGE, 2),
    nn.lp_pool: (IMAGE, 2.0, 2),
    nn.adaptive_max_pool: (IMAGE, 2),
    nn.interpolate: (IMAGE, 8),
    nn.pixel_shuffle: (IMAGE, 2),
    nn.pixel_unshuffle: (IMAGE, 2),
    nn.channel_shuffle: (IMAGE, 2),
    nn.flatten: (IMAGE,),
    nn.unflatten: (IMAGE, 1, (2, 4)),
    nn.local_response_norm: (IMAGE, 2),
    nn.group_norm: (IMAGE, 2),
    nn.instance_norm: (IMAGE,),
    nn.layer_norm: (IMAGE, 8),
    nn.rms_norm: (IMAGE, 8),
    nn.embedding: (CLASSES, ROWS),
    nn.embedding_bag: (CLASSES, ROWS),
    nn.scaled_dot_product_attention: (IMAGE, IMAGE, IMAGE),
    nn.dropout: (LINE,),
    nn.alpha_dropout: (LINE,),
    nn.feature_dropout: (IMAGE,),
    nn.feature_alpha_dropout: (IMAGE,),
    nn.initializers.dirac: (),
    nn.initializers.normal: (),
    nn.initializers.trunc_normal: (),
    nn.initializers.uniform: (),
    nn.initializers.sparse: (0.5,),
    schedules.step_lr: (0.1, 5),
    schedules.multi_step_lr: (0.1, [5]),
    schedules.exponential_lr: (0.1, 0.9),
    schedules.constant_lr: (0.1,),
    schedules.linear_lr: (0.1,),
    schedules.polynomial_lr: (0.1,),
    schedules.lambda_lr: (0.1, abs),
    schedules.multiplicative_lr: (0.1, abs),
    schedules.cosine_annealing_lr: (0.1, 5),
    schedules.cosine_annealing_warm_restarts: (0.1, 5),
    schedules.cyclic_lr: (0.1, 0.2),
    schedules.cyclic_momentum: (0.1, 0.2),
    schedules.one_cycle_lr: (0.1, 10),
    schedules.one_cycle_momentum: (0.1, 0.2, 10),
    schedules.swa_lr: (0.1, 0.2),
    schedules.reduce_lr_on_plateau: (0.1,),
}
"""Right arguments of each function, to which one wrong one is added."""

WRONG = {"bool": "False", "int": 1.5, "float": "0.5"}
"""By the kind of an argument, what it is given."""

ELSEWHERE = {
    (nn.embedding, "norm_type"): "is read only with max_norm",
    (nn.embedding, "scale_grad_by_freq"): "is checked by the layer",
    (nn.embedding_bag, "max_norm"): "is refused in the name of embedding",
    (nn.embedding_bag, "norm_type"): "is read only with max_norm",
    (nn.interpolate, "scale_factor"): "excludes size",
    (nn.local_response_norm, "alpha"): "fails in the arithmetic",
    (nn.local_response_norm, "beta"): "fails in the arithmetic",
    (nn.local_response_norm, "k"): "fails in the arithmetic",
    (nn.initializers.normal, "mean"): "fails in the arithmetic",
    (nn.initializers.trunc_normal, "mean"): "fails in the arithmetic",
    (nn.initializers.trunc_normal, "a"): "fails in the comparison with b",
    (nn.initializers.uniform, "a"): "fails in the comparison with b",
    (schedules.one_cycle_lr, "pct_start"): "asks for a float by a ValueError, which test_schedules.py expects",
    (schedules.one_cycle_momentum, "pct_start"): "asks for a float by a ValueError, which test_schedules.py expects",
}


def kind_of(parameter):
    """The kind of an argument by its annotation, in `WRONG`; None for arrays, functions, choices, and axes."""
    annotation = parameter.annotation
    shown = annotation.__name__ if isinstance(annotation, type) else str(annotation)
    if parameter.name == "axis" or "Array[" in shown:
        return None
    if shown in ("bool", "int"):
        return shown
    return "float" if "float" in shown or "ArrayLike" in shown else None


ARGUMENTS = [
    (function, name, kind)
    for function in CALLS
    for name, parameter in inspect.signature(function).parameters.items()
    if (kind := kind_of(parameter)) and (function, name) not in ELSEWHERE
]


@pytest.mark.parametrize(
    ("function", "name", "kind"), [pytest.param(*row, id=f"{row[0].__name__}-{row[1]}") for row in ARGUMENTS]
)
def test_an_argument_of_another_kind_is_named(function, name, kind):
    given = dict(zip(inspect.signature(function).parameters, CALLS[function], strict=False)) | {name: WRONG[kind]}
    with pytest.raises(TypeError, match=rf"^{function.__name__}: {name} must be .*got {WRONG[kind]!r}"):
        function(**given)


def test_most_arguments_are_found_by_their_annotations():
    """A change of the annotations would empty the table above without a word."""
    assert len(ARGUMENTS) > 110
    assert {kind for *_, kind in ARGUMENTS} == set(WRONG)
