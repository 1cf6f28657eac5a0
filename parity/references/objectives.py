"""Losses for optimizers that evaluate them, in operators that tensors and JAX arrays share, and problems to solve.

Each is a function of the parameters, here `weight` and mostly `bias`, and of one problem.
"""

import numpy as np

from parity.draws import generator

PROBLEMS = 100


def smooth(parameters, problem):
    """A convex loss that steps of fixed length can follow."""
    residual, shift = parameters["weight"] - problem[0], parameters["bias"] - problem[2, 0]
    loss = (problem[1] * residual**2).sum() / 2 + ((1 + residual**2) ** 0.5).sum()
    return loss + 0.1 * (residual.sum() + shift) ** 2 + shift**2


def steep(parameters, problem):
    """A convex loss that grows with the fourth power."""
    residual, shift = parameters["weight"] - problem[0], parameters["bias"] - problem[2, 0]
    loss = (problem[1] * residual**2).sum() / 2 + 0.05 * (residual**4).sum()
    return loss + 0.1 * (residual.sum() - shift) ** 2 + shift**2


def layer(parameters, problem):
    """`smooth` of a matrix, row after row, and of a vector."""
    weight, bias = parameters["weight"].reshape(-1), parameters["bias"]
    return smooth({"weight": weight, "bias": bias.sum()}, problem) + (problem[1, 0] * (bias - 1) ** 2).sum()


def steep_layer(parameters, problem):
    """`steep` of a matrix, row after row, and of a vector."""
    weight, bias = parameters["weight"].reshape(-1), parameters["bias"]
    return steep({"weight": weight, "bias": bias.sum()}, problem) + (problem[1, 0] * (bias - 1) ** 2).sum()


def valley(parameters, problem):
    """Rosenbrock's valley in more dimensions, bent by the problem."""
    x = parameters["weight"]
    loss = ((1 + problem[0] / 5 - x) ** 2).sum() + 10 * problem[1].mean() * ((x[1:] - x[:-1] ** 2) ** 2).sum()
    return loss + (parameters["bias"] - x[0] ** 2) ** 2


def level(parameters, problem):
    """From 1 at 0, downhill at first, to a gentle slope at 1 that lies from 3e-4 below to 3e-4 above."""
    x, drop = parameters["weight"], 3e-5 * problem
    return (1 - x + (1.75 - 3 * drop) * x**2 + (2 * drop - 0.75) * x**3).sum()


def plateau(parameters, problem):
    """From 0, downhill for at most a hundredth of the first trial step, then up to a plateau that no cubic follows."""
    x = parameters["weight"]
    return (-x + (5 + problem) * x**2 / (1e-4 + x**2)).sum()


def start(size: int) -> dict[str, np.ndarray]:
    """The first parameters, for `smooth`, `steep` and `valley`."""
    return {"weight": -np.ones(size), "bias": np.array(3.0)}


def problems(size: int) -> np.ndarray:
    """Random problems for `smooth`, `steep` and `valley`, exact in float32."""
    rng = generator(5)
    shape = (PROBLEMS, size)
    parts = [rng.normal(size=shape), np.exp(rng.uniform(-1.5, 1.5, shape)), rng.normal(size=shape)]
    return np.stack(parts, axis=1).astype(np.float32)
