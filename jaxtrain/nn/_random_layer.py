"""What the dropout layers share: a probability, a mode and a random stream."""

from abc import abstractmethod

import jax
from flax import nnx
from jaxtyping import Array, Float

from jaxtrain._ground.checks import check_range


class RandomLayer(nnx.Module):
    """A layer that is random in training and the identity in evaluation."""

    def __init__(self, p: float | jax.Array = 0.5, *, rngs: nnx.Rngs | nnx.RngStream):
        check_range(type(self).__name__, "p", p, 0.0, 1.0)
        self.p = p
        self.deterministic = False
        self.rngs = (rngs["dropout"] if isinstance(rngs, nnx.Rngs) else rngs).fork()

    def __call__(self, input: Float[Array, "*shape"], *, deterministic: bool | None = None) -> Float[Array, "*shape"]:
        deterministic = self.deterministic if deterministic is None else deterministic
        return self._masked(input, training=not deterministic, key=None if deterministic else self.rngs())

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
