"""The line search of `lbfgs`: a bracket grows until it holds a point that meets the strong Wolfe conditions, then
shrinks."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

SUFFICIENT_DECREASE = 1e-4
CURVATURE = 0.9


class Point(NamedTuple):
    """A point on the line.

    Attributes:
        t: distance along the direction.
        loss: the loss there.
        gradient: the gradient there.
        slope: derivative of the loss along the direction there.
    """

    t: jax.Array
    loss: jax.Array
    gradient: jax.Array
    slope: jax.Array


class _Search(NamedTuple):
    """State of the search.

    Attributes:
        t: where to evaluate next.
        evaluations: number of evaluations so far.
        bracket: two points; while the bracket grows, the first is the last trial and the second has no meaning.
        low: index of the point of the bracket that is the result if the search stops.
        zooming: whether the bracket is complete.
        stalled: whether the last trial lay near an end of the bracket.
        done: whether the search stops.
    """

    t: jax.Array
    evaluations: jax.Array
    bracket: Point
    low: jax.Array
    zooming: jax.Array
    stalled: jax.Array
    done: jax.Array


def strong_wolfe(
    evaluate: Callable[[jax.Array], Point],
    start: Point,
    t: jax.Array,
    length: jax.Array,
    tolerance_change: jax.Array,
    max_iter: jax.Array,
) -> tuple[Point, jax.Array]:
    """Find a point of lower loss and flatter slope.

        loss(t) ≤ loss(0) + 1e-4·t·slope(0)
        |slope(t)| ≤ -0.9·slope(0)

    Each round of the loop evaluates once, so the objective is compiled once.

    Args:
        evaluate: gives the point at a distance.
        start: the point at distance 0.
        t: first distance to try.
        length: magnitude of the largest element of the direction.
        tolerance_change: the search stops when no element can change by more than this inside the bracket.
        max_iter: largest number of evaluations after the first one.

    Returns:
        The point, and the number of evaluations.
    """

    def too_high(new: Point) -> jax.Array:
        return new.loss > start.loss + SUFFICIENT_DECREASE * new.t * start.slope

    def flat(new: Point) -> jax.Array:
        return jnp.abs(new.slope) <= -CURVATURE * start.slope

    def grow(search: _Search, new: Point) -> _Search:
        """Judge a trial beyond the last one: it closes the bracket, is the result, or leads to a trial further on."""
        last = _at(search.bracket, 0)
        exhausted = search.evaluations >= max_iter
        rising = too_high(new) | ((search.evaluations > 1) & (new.loss >= last.loss))
        closing = rising | (~flat(new) & (new.slope >= 0))
        found = ~rising & flat(new)
        first = _select(exhausted, start, _select(closing, last, new))
        return search._replace(
            t=_cubic_minimum(last, new, new.t + 0.01 * (new.t - last.t), 10 * new.t),
            bracket=_pair(first, new),
            low=_lower(first, new),
            zooming=closing,
            done=exhausted | found,
        )

    def shrink(search: _Search, new: Point) -> _Search:
        """Replace one end of the bracket by a trial inside it."""
        low, high = _at(search.bracket, search.low), _at(search.bracket, 1 - search.low)
        worse = too_high(new) | (new.loss >= low.loss)
        beyond = new.slope * (high.t - low.t) >= 0
        low, high = (
            _select(worse, low, new),
            _select(worse, new, _select(~flat(new) & beyond, low, high)),
        )
        first, second = _select(search.low == 0, low, high), _select(search.low == 0, high, low)
        return search._replace(
            bracket=_pair(first, second),
            low=jnp.where(worse, _lower(first, second), search.low),
            done=(~worse & flat(new)) | (search.evaluations >= max_iter),
        )

    def try_inside(search: _Search) -> _Search:
        """Choose the next trial inside the bracket, a tenth of its width away from an end where trials stall."""
        left, right = search.bracket.t.min(), search.bracket.t.max()
        t = _cubic_minimum(_at(search.bracket, 0), _at(search.bracket, 1), left, right)
        margin = 0.1 * (right - left)
        near_end = jnp.minimum(right - t, t - left) < margin
        step_away = near_end & (search.stalled | (t >= right) | (t <= left))
        nearer_right = jnp.abs(t - right) < jnp.abs(t - left)
        return search._replace(
            t=jnp.where(step_away, jnp.where(nearer_right, right - margin, left + margin), t),
            stalled=near_end & ~step_away,
            done=search.done | ((right - left) * length < tolerance_change),
        )

    def one_round(search: _Search) -> _Search:
        new = evaluate(search.t)
        search = lax.cond(search.zooming, shrink, grow, search, new)
        search = search._replace(evaluations=search.evaluations + 1)
        return lax.cond(search.zooming & ~search.done, try_inside, lambda search: search, search)

    no, zero = jnp.zeros((), bool), jnp.zeros((), jnp.int32)
    search = lax.while_loop(
        lambda search: ~search.done,
        one_round,
        _Search(t, zero, _pair(start, start), low=zero, zooming=no, stalled=no, done=no),
    )
    return _at(search.bracket, search.low), search.evaluations


def _cubic_minimum(a: Point, b: Point, low: jax.Array, high: jax.Array) -> jax.Array:
    """The minimum, within the limits, of the cubic through both points with their slopes; their middle if it has
    none."""
    left, right = _select(a.t <= b.t, a, b), _select(a.t <= b.t, b, a)
    d1 = left.slope + right.slope - 3 * (left.loss - right.loss) / (left.t - right.t)
    square = d1 * d1 - left.slope * right.slope
    d2 = jnp.sqrt(jnp.maximum(square, 0))
    minimum = right.t - (right.t - left.t) * ((right.slope + d2 - d1) / (right.slope - left.slope + 2 * d2))
    return jnp.where(square >= 0, jnp.clip(minimum, low, high), (low + high) / 2)


def _lower(first: Point, second: Point) -> jax.Array:
    """The index of the point with the lower loss; the first if they are equal."""
    return jnp.where(first.loss <= second.loss, 0, 1).astype(jnp.int32)


def _pair(first: Point, second: Point) -> Point:
    return jax.tree.map(lambda *values: jnp.stack(values), first, second)


def _at(pair: Point, index: jax.Array | int) -> Point:
    return jax.tree.map(lambda values: values[index], pair)


def _select(condition: jax.Array, yes: Point, no: Point) -> Point:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), yes, no)
