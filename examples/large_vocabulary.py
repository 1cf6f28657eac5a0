"""The loss of a language model without the logits: memory and time of `linear_cross_entropy`.

A model with a vocabulary of thousands spends its memory on the logits of the last layer, a row for each token and a
column for each word, and as much again on their gradient. `linear_cross_entropy` goes through the tokens in chunks, and
computes the logits of each chunk a second time on the way back.

    python examples/large_vocabulary.py

Prints the memory that the compiled programs need besides their arguments and results, and the median times of
alternating runs; exits non-zero if the two disagree or the chunks do not save nine tenths of the memory.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jaxtrain import losses

Loss = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def plain(features: jax.Array, kernel: jax.Array, words: jax.Array) -> jax.Array:
    return losses.cross_entropy(features @ kernel.T, words)


def chunked(features: jax.Array, kernel: jax.Array, words: jax.Array) -> jax.Array:
    return losses.linear_cross_entropy(features, kernel, words)


def compiled(loss: Loss, arrays: tuple[jax.Array, ...]) -> jax.stages.Compiled:
    """The program that gives the loss, and its gradient with respect to features and kernel."""
    return jax.jit(jax.value_and_grad(loss, (0, 1))).lower(*arrays).compile()


def megabytes_of(program: jax.stages.Compiled) -> float:
    """What a program needs besides its arguments and results."""
    memory = program.memory_analysis()
    if memory is None:
        # Some backends of XLA have no such analysis, and without it there is nothing to show.
        raise NotImplementedError(f"XLA does not tell how much memory a program needs on {jax.default_backend()}")
    return memory.temp_size_in_bytes / 1e6


def seconds(program: Callable, arrays: tuple[jax.Array, ...]) -> float:
    start = time.perf_counter()
    jax.block_until_ready(program(*arrays))
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__ and __doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=2048, help="rows of the batch; default: %(default)s")
    parser.add_argument("--features", type=int, default=64, help="columns of the batch; default: %(default)s")
    parser.add_argument("--classes", type=int, default=20_000, help="size of the vocabulary; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=7, help="how often each program is timed; default: %(default)s")
    options = parser.parse_args()

    rng = np.random.default_rng(0)
    arrays = (
        jnp.asarray(rng.normal(size=(options.tokens, options.features)), jnp.float32),
        jnp.asarray(rng.normal(size=(options.classes, options.features)) / options.features**0.5, jnp.float32),
        jnp.asarray(rng.integers(0, options.classes, options.tokens)),
    )
    programs = {"logits at once": compiled(plain, arrays), "in chunks": compiled(chunked, arrays)}
    results = [program(*arrays) for program in programs.values()]
    # Programs take turns, so that whatever else the machine does slows both.
    times = [[seconds(program, arrays) for program in programs.values()] for _ in range(options.rounds)]
    medians = [statistics.median(column) for column in zip(*times, strict=True)]
    megabytes = [megabytes_of(program) for program in programs.values()]

    print(f"{options.tokens} tokens, {options.features} features, {options.classes} words, value and gradient")
    print(f"{'':16}{'memory (MB)':>12}{'time (ms)':>12}{'loss':>12}")
    for name, memory, median, (value, _) in zip(programs, megabytes, medians, results, strict=True):
        print(f"{name:16}{memory:12.1f}{1e3 * median:12.1f}{float(value):12.6f}")
    print(f"chunks take {megabytes[1] / megabytes[0]:.3f} of the memory and {medians[1] / medians[0]:.2f} of the time")

    agree = jax.tree.map(lambda one, other: np.allclose(one, other, rtol=1e-4, atol=1e-7), *results)
    if not all(jax.tree.leaves(agree)):
        print("the two do not agree")
        return 1
    if megabytes[1] > 0.1 * megabytes[0]:
        print("the chunks do not save nine tenths of the memory")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
