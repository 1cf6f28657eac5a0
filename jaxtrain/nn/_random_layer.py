"""The base of the dropout layers: a probability, a mode and a random stream."""

from abc import abstractmethod

import jax
from flax import nnx
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_scalar
from jaxtrain.nn._arrays import check_rngs
from jaxtrain.nn._named import named


class RandomLayer(nnx.Module):
    """A layer that is random in training and the identity in evaluation."""

    def __init__(self, p: float | jax.Array = 0.5, *, rngs: nnx.Rngs | nnx.RngStream | None = None):
        where = type(self).__name__
        check_scalar(where, "p", p, 0.0, 1.0)
        if callable(p) and not hasattr(p, "__jax_array__"):
            raise TypeError(f"{where}: p must be a number, got {p!r}; layers take no schedules, so call it first")
        rngs = check_rngs(where, rngs)
        self.p = p
        self.deterministic = False
        self.rngs = (rngs["dropout"] if isinstance(rngs, nnx.Rngs) else rngs).fork()

    @named
    def __call__(self, input: Float[Array, "*shape"], *, deterministic: bool | None = None) -> Float[Array, "*shape"]:
        deterministic = self.deterministic if deterministic is None else deterministic
        return self._masked(input, training=not deterministic, key=None if deterministic else self._next_key())

    def _next_key(self) -> jax.Array:
        """The key of the next mask: the stream's own key, with the number of masks drawn so far added to its words.

        Keys need not differ by more. `fold_in` would compute a hash in each layer at each step: a hundred operations on
        scalars instead of one addition.
        """
        key, count = self.rngs.key[...], self.rngs.count[...]
        self.rngs.count[...] = count + 1
        return jax.random.wrap_key_data(jax.random.key_data(key) + count[..., None], impl=jax.random.key_impl(key))

    @abstractmethod
    def _masked(self, input: jax.Array, *, training: bool, key: jax.Array | None) -> jax.Array:
        """The function that this layer applies."""

    # `nnx.view_info` reads the docstring, and only if indented by two.
    def set_view(self, deterministic: bool | None = None) -> None:
        """Set the mode of a view made by `nnx.view`.

        Args:
          deterministic: True for the identity, as in evaluation.
        """
        if deterministic is not None:
            self.deterministic = deterministic
