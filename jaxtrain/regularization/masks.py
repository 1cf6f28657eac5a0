"""Labels and masks of parameters, by their path."""

import re
from collections.abc import Hashable, Mapping
from typing import TypeVar

import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxtrain.regularization._paths import map_with_path

Label = TypeVar("Label", bound=Hashable)


def label_parameters(params: PyTree[Array], rules: Mapping[str | None, Label]) -> PyTree[Label]:
    """Give each parameter the label of the one rule that matches its path.

    The path of a parameter joins the names that lead to it, as in `encoder/0/kernel`. A rule matches where its pattern
    is found anywhere in the path (`re.search`), so `^` and `$` are for you to write.

    Args:
        params: parameters, in any pytree: a dict, an `nnx.State`, a module.
        rules: labels by regular expression. The label under None, if any, goes to every parameter that no pattern
            matches.

    Returns:
        A tree of labels, of the same structure; what `optax.partition` asks for.

    Raises:
        ValueError: if a parameter is matched by no rule or by several, or a pattern matches no parameter. The message
            names them.

    Example:
        >>> from jaxtrain import regularization
        >>> params = {"body": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "head": {"kernel": jnp.ones((2, 1))}}
        >>> regularization.label_parameters(params, {"^head/": "fast", None: "slow"})
        {'body': {'bias': 'slow', 'kernel': 'slow'}, 'head': {'kernel': 'fast'}}
        >>> regularization.label_parameters(params, {"^head/": "fast", "kernel$": "slow"})
        Traceback (most recent call last):
        ...
        ValueError: label_parameters: each parameter must be matched by exactly one rule
          body/bias: by none of '^head/', 'kernel$'; add a rule, or a label for the rest under None
          head/kernel: by '^head/', 'kernel$'; make the patterns narrower

    Torch counterpart: none; PyTorch's parameter groups are lists that a script collects by hand from
    `model.named_parameters()`.
    """
    patterns = {pattern: re.compile(pattern) for pattern in rules if pattern is not None}
    unused, problems = set(patterns), []

    def label(path: str, _: Array) -> Label | None:
        matching = [pattern for pattern, compiled in patterns.items() if compiled.search(path)]
        unused.difference_update(matching)
        if len(matching) == 1 or (not matching and None in rules):
            return rules[matching[0] if matching else None]
        named = ", ".join(map(repr, matching or patterns))
        way_out = "make the patterns narrower" if matching else "add a rule, or a label for the rest under None"
        problems.append(f"  {path}: by {'' if matching else 'none of '}{named}; {way_out}")

    labels = map_with_path(label, params)
    if problems:
        raise ValueError("\n".join(["label_parameters: each parameter must be matched by exactly one rule", *problems]))
    if unused:
        raise ValueError(f"label_parameters: no parameter is matched by {', '.join(map(repr, sorted(unused)))}")
    return labels


def decay_mask(params: PyTree[Array], rules: Mapping[str | None, bool] | None = None) -> PyTree[bool]:
    """Which parameters decay: kernels do, biases and the parameters of norms do not.

    A parameter decays that has at least two dimensions and is not called `bias` or `scale`. With `rules`, these decide
    instead.

    Args:
        params: parameters, in any pytree: a dict, an `nnx.State`, a module.
        rules: whether to decay, by regular expression, as in `label_parameters`. Default None: as above.

    Returns:
        A tree of booleans, of the same structure; what the `mask` of `optax.add_decayed_weights`, of the penalties and
        of `optax.masked` asks for. The function itself may be handed over in its place.

    Raises:
        ValueError: if a parameter is matched by no rule or by several, or a pattern matches no parameter.

    Example:
        >>> from jaxtrain import regularization
        >>> params = {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}, "norm": {"weight": jnp.ones(2)}}
        >>> regularization.decay_mask(params)
        {'dense': {'bias': False, 'kernel': True}, 'norm': {'weight': False}}
        >>> regularization.decay_mask(params, {"^dense/": True, None: False})
        {'dense': {'bias': True, 'kernel': True}, 'norm': {'weight': False}}

    Torch counterpart: none; PyTorch decays every parameter of a group, and scripts collect two groups by hand.
    """
    if rules is not None:
        return label_parameters(params, rules)
    return map_with_path(lambda path, leaf: jnp.ndim(leaf) > 1 and path.split("/")[-1] not in ("bias", "scale"), params)
