"""Labels of parameters, by their paths."""

import re
from collections.abc import Hashable, Mapping
from typing import TypeVar

from jaxtyping import Array, PyTree

from jaxtrain._ground.paths import map_with_path

Label = TypeVar("Label", bound=Hashable)


def label_parameters(params: PyTree[Array], rules: Mapping[str | None, Label]) -> PyTree[Label]:
    """Give each parameter the label of the one rule that matches its path.

    The path of a parameter joins the names that lead to it, as in `encoder/0/kernel`. A rule matches if its pattern is
    found anywhere in the path (`re.search`); write `^` and `$` to anchor it.

    Args:
        params: parameters, in any pytree: a dict, an `nnx.State`, a module.
        rules: labels by regular expression. The label under None, if there is one, is for every parameter that no
            pattern matches.

    Returns:
        A tree of labels, of the same structure, for `optax.partition`.

    Raises:
        TypeError: if the rules are not a mapping, or a pattern is not a string.
        ValueError: if a parameter is matched by no rule or by several, or a pattern matches no parameter or is not a
            regular expression. The message names them.

    Example:
        >>> import jax.numpy as jnp
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

    PyTorch: none; its parameter groups are lists that a script collects by hand from `model.named_parameters()`.
    """
    if not isinstance(rules, Mapping):
        raise TypeError(f"label_parameters: rules must be labels by pattern, as in {{'^head/': 'fast'}}, got {rules!r}")
    patterns = {pattern: check_pattern("label_parameters", pattern) for pattern in rules if pattern is not None}
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


def check_pattern(where: str, pattern: str) -> re.Pattern[str]:
    """The pattern, compiled.

    Raises:
        TypeError: if it is not a string.
        ValueError: if it is not a regular expression.
    """
    if not isinstance(pattern, str):
        raise TypeError(f"{where}: expected regular expressions, got {pattern!r}")
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{where}: expected regular expressions, got {pattern!r}: {error}") from None
