"""Warn about recompilation when the shapes of batches change."""

import logging
from typing import Any

import jax
from jaxtyping import PyTree

_log = logging.getLogger("jaxtrain")


class ShapeWatch:
    """Log that a step is compiled again because a batch has a new shape; call `see` while the step is traced.

    A last batch with fewer rows is the usual case, and one more compilation is the price of not dropping it: that is
    one line at level info. If batches differ in more than their rows, or have more than `expected` numbers of rows,
    more compilations will follow: that is one warning.
    """

    def __init__(self, step: str, expected: int) -> None:
        self._step = step
        self._expected = expected
        self._seen: list[list[Any]] = []
        self._informed = self._warned = False

    def see(self, batch: PyTree) -> None:
        """Compare the shapes of a batch that is being traced with those before."""
        shapes = [jax.typeof(leaf) for leaf in jax.tree.leaves(batch)]
        if shapes in self._seen:
            return
        self._seen.append(shapes)
        first = self._seen[0]
        if shapes is first:
            return
        if len(self._seen) <= self._expected and _differ_in_rows(shapes, first):
            if not self._informed:
                _log.info("%s: compiling once more, for %s after %s", self._step, _short(shapes), _short(first))
            self._informed = True
        elif not self._warned:
            _log.warning(
                "%s: compiling again, for a batch of %s after one of %s. Every new shape costs a compilation: pad "
                "examples to a common shape and use batches of one size. This warning appears once; "
                "jax.config.update('jax_explain_cache_misses', True) explains every compilation",
                self._step,
                _short(shapes),
                _short(first),
            )
            self._warned = True


def _differ_in_rows(shapes: list[Any], others: list[Any]) -> bool:
    """Whether two batches differ at most in their numbers of rows."""
    return [(one.dtype, one.shape[1:]) for one in shapes] == [(other.dtype, other.shape[1:]) for other in others]


def _short(shapes: list[Any]) -> str:
    return ", ".join(shape.str_short() for shape in shapes)
