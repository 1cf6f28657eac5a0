"""Cases of `jaxtrain.optim`: gradients of single rows."""

from functools import partial

import jax.numpy as jnp
import optax

from jaxtrain import optim
from parity.case import Case
from parity.cases.optim._table import Factory, case, halving
from parity.references.sparse_tables import tables


def dense(make: Factory) -> Factory:
    """An optimizer for dense gradients, given the rows in a table of zeros."""

    def factory():
        optimizer = make()

        def update(gradients, state, params):
            filled = {
                name: jnp.zeros_like(params[name]).at[rows.indices].add(rows.values, wrap_negative_indices=False)
                for name, rows in gradients.items()
            }
            return optimizer.update(filled, state, params)

        return optax.GradientTransformation(optimizer.init, update)

    return factory


def last_of_duplicates() -> optax.GradientTransformation:
    """SparseAdam that keeps the last of two gradients for a row."""
    optimizer = optim.sparse_adam()

    def without_duplicates(rows):
        later = jnp.triu(rows.indices[:, None] == rows.indices, k=1).any(axis=1)
        return optim.SparseRows(jnp.where(later, -1, rows.indices), rows.values)

    def update(gradients, state, params):
        gradients = {name: without_duplicates(rows) for name, rows in gradients.items()}
        return optimizer.update(gradients, state, params)

    return optax.GradientTransformation(optimizer.init, update)


def empty_steps_uncounted() -> optax.GradientTransformation:
    """SparseAdam that does not count a step without rows."""
    optimizer = optim.sparse_adam()

    def update(gradients, state, params):
        updates, new = optimizer.update(gradients, state, params)
        touched = jnp.array([(gradients[name].indices >= 0).any() for name in sorted(gradients)])
        return updates, new._replace(step=jnp.where(touched, new.step, state.step))

    return optax.GradientTransformation(lambda params: optim.separate_steps(optimizer.init(params)), update)


CASES: list[Case] = [
    case(
        optim.sparse_adam,
        leaves=tables(),
        defects={
            "moments of untouched rows decay": dense(optim.adam),
            "last of two gradients for a row": last_of_duplicates,
            "empty steps not counted": empty_steps_uncounted,
        },
    ),
    case(
        optim.sparse_adam,
        0.01,
        (0.5, 0.9),
        1e-3,
        maximize=True,
        leaves=tables(),
        defects={
            "minimizes": partial(optim.sparse_adam, 0.01, (0.5, 0.9), 1e-3),
            "eps after the bias correction": lambda: with_corrected_epsilon(0.01, (0.5, 0.9), 1e-3),
        },
    ),
    case(
        optim.sparse_adam,
        halving,
        leaves=tables(),
        defects={"schedule ignored": partial(optim.sparse_adam, 0.01)},
    ),
    case(
        optim.sparse_adam,
        0.05,
        leaves=tables(),
        precision="bfloat16",
        defects={"moments of untouched rows decay": dense(partial(optim.adam, 0.05))},
    ),
]


def with_corrected_epsilon(lr: float, betas: tuple[float, float], eps: float) -> optax.GradientTransformation:
    return optim.sparse_adam(lr, betas, lambda count: eps * jnp.sqrt(1 - betas[1] ** (count + 1)), maximize=True)
