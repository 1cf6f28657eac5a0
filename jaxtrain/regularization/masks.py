"""Masks of parameters, by their path."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxtrain._ground.checks import check_flag
from jaxtrain._ground.labels import label_parameters
from jaxtrain._ground.paths import map_with_path


def decay_mask(params: PyTree[Array], rules: Mapping[str | None, bool] | None = None) -> PyTree[bool]:
    """Mark the parameters that decay: kernels and tables do, biases and the parameters of norms do not.

    A parameter decays if it has at least two dimensions and is not called `bias` or `scale`, nor `weight`, unless next
    to a `weight` there is a `bias` of another shape, which a norm never has. So matrices that are called `weight`, as
    in PyTorch and Equinox, decay if they have a bias; for those without, give `rules`.

    Args:
        params: parameters, in any pytree: a dict, an `nnx.State`, a module.
        rules: whether to decay, by regular expression, as in `label_parameters`. Default None: as above.

    Returns:
        A tree of booleans, of the same structure. `optax.add_decayed_weights` and the penalties take it as their
        `mask`; `optax.partition` takes it as labels of two optimizers, as the example of `optim.adamw` shows. All take
        the function `decay_mask` as well. `optax.masked` is for constraints; around an optimizer it would pass the
        gradients of the other parameters on as their updates.

    Raises:
        TypeError: if a string stands in place of a parameter.
        ValueError: if a parameter is matched by no rule or by several, or a pattern matches no parameter.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxtrain import regularization
        >>> params = {"dense": {"kernel": jnp.ones((3, 2)), "bias": jnp.ones(2)}, "norm": {"weight": jnp.ones((4, 4))}}
        >>> regularization.decay_mask(params)
        {'dense': {'bias': False, 'kernel': True}, 'norm': {'weight': False}}
        >>> regularization.decay_mask(params, {"^dense/": True, None: False})
        {'dense': {'bias': True, 'kernel': True}, 'norm': {'weight': False}}

    PyTorch: none; it decays every parameter of a group, and scripts collect two groups by hand.
    """
    if rules is not None:
        for pattern, decay in rules.items():
            check_flag("decay_mask", f"the rule {pattern!r}", decay)
        return label_parameters(params, rules)
    shapes: dict[str, tuple[int, ...]] = {}

    def note(path: str, leaf: Array) -> None:
        if isinstance(leaf, str | bytes):
            raise TypeError(f"decay_mask: expected parameters, got {leaf!r} at {path or 'the root'}")
        shapes[path] = jnp.shape(leaf)

    map_with_path(note, params)

    def decays(path: str, leaf: Array) -> bool:
        place, _, name = path.rpartition("/")
        bias = shapes.get(f"{place}/bias" if place else "bias")
        of_norm = name == "weight" and bias in (None, jnp.shape(leaf))
        return jnp.ndim(leaf) > 1 and name not in ("bias", "scale") and not of_norm

    return map_with_path(decays, params)
