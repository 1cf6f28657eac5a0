"""Parameter groups: one optimizer, with different hyper-parameters for different parameters."""

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import jax
import optax

from jaxtrain._ground.labels import check_pattern, label_parameters


def param_groups(
    optimizer: Callable[..., optax.GradientTransformation],
    groups: Mapping[str | None, Mapping[str, Any]],
    **defaults: Any,
) -> optax.GradientTransformationExtraArgs:
    """Give groups of parameters different hyper-parameters.

    A group is a regular expression, found anywhere in a parameter's path such as `head/kernel`, with the arguments that
    differ from the defaults. This is `optax.partition` over `regularization.label_parameters`; to give groups different
    optimizers, as Muon needs, use these two directly.

    Args:
        optimizer: an optimizer of this package, such as `optim.sgd`, or any function that returns a transformation.
        groups: keyword arguments by regular expression. The group under None takes every parameter that no expression
            matches.
        **defaults: keyword arguments of all groups.

    Returns:
        An `optax.GradientTransformationExtraArgs`. Its state is an `optax.PartitionState`: the states of the groups by
        expression, with "*" for None.

    Raises:
        TypeError: if the optimizer does not have an argument of that name, or `groups` is not a mapping of mappings.
        ValueError: if a hyper-parameter is out of range or, in `init`, if a parameter belongs to no group or to
            several, or if a group has no parameters. The message names them.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> params = {"body": {"kernel": jnp.ones(())}, "head": {"kernel": jnp.ones(()), "bias": jnp.ones(())}}
        >>> optimizer = optim.param_groups(optim.sgd, {"^head/": {"lr": 0.1}, None: {}}, lr=0.01, momentum=0.9)
        >>> updates, state = optimizer.update(params, optimizer.init(params), params)
        >>> {name: round(float(update["kernel"]), 3) for name, update in updates.items()}
        {'body': -0.01, 'head': -0.1}
        >>> optim.param_groups(optim.sgd, {"^head/": {"lr": 0.1}}).init(params)
        Traceback (most recent call last):
        ...
        ValueError: label_parameters: each parameter must be matched by exactly one rule
          body/kernel: by none of '^head/'; add a rule, or a label for the rest under None

    PyTorch: `torch.optim.SGD([{"params": head, "lr": 0.1}, {"params": body}], lr=0.01, momentum=0.9)`, which does not
    train a parameter without a group, and fails only for one that is in two groups.
    """
    if not isinstance(groups, Mapping):
        raise TypeError(
            "param_groups: expected groups by regular expression, such as {'^head/': {'lr': 0.1}, None: {}}, got "
            f"{type(groups).__name__}; PyTorch's list of groups names parameters, here their paths do"
        )
    if not callable(optimizer):
        raise TypeError(
            f"param_groups: expected an optimizer that is not called yet, such as optim.sgd, got "
            f"{type(optimizer).__name__}; its arguments go into the groups, or after them as defaults"
        )
    for pattern, options in groups.items():
        if not isinstance(options, Mapping):
            raise TypeError(
                f"param_groups: expected the arguments of group {pattern!r} by name, got {options!r}; {{}} for the "
                "defaults"
            )
        if pattern is not None:
            check_pattern("param_groups", pattern)
    # "*" is not a valid regular expression, so no group can have that name already.
    labels: dict[str | None, Hashable] = {pattern: "*" if pattern is None else pattern for pattern in groups}
    transformations = {labels[pattern]: optimizer(**{**defaults, **options}) for pattern, options in groups.items()}

    def partition(params: optax.Params) -> optax.GradientTransformationExtraArgs:
        # Without leaves there is nothing to label: `optax.tree.map_params` calls `init` with such a placeholder.
        labelled = label_parameters(params, labels) if jax.tree.leaves(params) else params
        # As a function, because the tree of labels of a module can be called, too.
        return optax.partition(transformations, lambda _: labelled)

    def init(params: optax.Params) -> Any:
        return partition(params).init(params)

    def update(
        updates: optax.Updates, state: Any, params: optax.Params | None = None, **extra: Any
    ) -> tuple[optax.Updates, Any]:
        return partition(updates if params is None else params).update(updates, state, params, **extra)

    return optax.GradientTransformationExtraArgs(init, update)
