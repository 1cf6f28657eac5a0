"""Masks of parameters, by their path."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, PyTree

from jaxtrain._ground.labels import label_parameters
from jaxtrain._ground.paths import map_with_path


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
