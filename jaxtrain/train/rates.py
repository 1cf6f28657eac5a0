"""Where a state keeps the learning rate."""

import jax
from jax.tree_util import DictKey, GetAttrKey, KeyPath

from jaxtrain.train.state import TrainState


def learning_rates(state: TrainState) -> dict[str, float]:
    """The learning rate of the last update, read from the optimizer's state.

    It is found by name, at any depth of `optax.chain`, `masked`, `partition` or `inject_hyperparams`: the field `lr` of
    jaxtrain's optimizers, or the entry `lr` or `learning_rate` of `inject_hyperparams`.

    Args:
        state: any training state. Reading waits for the step that made it.

    Returns:
        `{"lr": rate}`; with the groups of `optax.partition`, `{"lr/<group>": rate, ...}`; empty if no rate is found,
        as with Optax's own optimizers, which do not keep it.

    Example:
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> optimizer = optax.inject_hyperparams(optax.sgd)(learning_rate=0.5)
        >>> train.learning_rates(train.TrainState.create(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), optimizer))
        {'lr': 0.5}

    PyTorch: `scheduler.get_last_lr()`.
    """
    rates = {}
    for path, leaf in jax.tree.leaves_with_path(state.opt_state):
        if _is_rate(path):
            groups = [str(entry.key) for entry in path[:-1] if isinstance(entry, DictKey)]
            rates.setdefault("/".join(["lr", *groups]), leaf)
    return {name: float(rate) for name, rate in jax.device_get(rates).items()}


def _is_rate(path: KeyPath) -> bool:
    match path:
        case (*_, GetAttrKey(name="hyperparams"), DictKey(key="lr" | "learning_rate")):
            return True
        case (*_, GetAttrKey(name="lr")):
            return True
    return False
