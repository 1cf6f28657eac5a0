"""L-BFGS."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxtrain._ground.checks import check_choice, check_integer, check_scalar
from jaxtrain._ground.dtypes import at_least_float32, default_float
from jaxtrain._ground.float64 import in_float64, in_float64_for
from jaxtrain._ground.sharding import left_to_xla
from jaxtrain.optim._arguments import check_floating, check_gradients, leaves_of_gradients
from jaxtrain.optim._hyperparameters import Hyperparameter, at_count, check_rate
from jaxtrain.optim._strong_wolfe import Point, strong_wolfe

_LARGEST = np.iinfo(np.int32).max


class LBFGSState(NamedTuple):
    """State of `lbfgs`, which treats all parameters as one vector.

    Attributes:
        count: number of updates so far, the argument of schedules.
        lr: learning rate of the last update.
        func_evals: number of evaluations so far.
        n_iter: number of iterations so far.
        d: direction of the last iteration.
        t: distance that it went along `d`, in multiples of `d`.
        old_dirs: last changes of the gradient, in a ring: the next one goes to row `stored % history_size`.
        old_stps: changes of the parameters that led to them.
        ro: reciprocals of the inner products of the two.
        stored: number of changes kept so far.
        H_diag: factor of the identity from which the inverse Hessian is built.
        prev_flat_grad: gradient at the start of the last iteration.
        prev_loss: loss at the start of the last iteration.
    """

    count: jax.Array
    lr: jax.Array
    func_evals: jax.Array
    n_iter: jax.Array
    d: jax.Array
    t: jax.Array
    old_dirs: jax.Array
    old_stps: jax.Array
    ro: jax.Array
    stored: jax.Array
    H_diag: jax.Array
    prev_flat_grad: jax.Array
    prev_loss: jax.Array


class _Iteration(NamedTuple):
    """State of the loop over the iterations of one update.

    Attributes:
        x: the parameters as one vector.
        loss: the loss at `x`.
        gradient: the gradient at `x`.
        iterations: number of iterations in this update so far.
        evaluations: number of evaluations in this update so far.
        stop: whether the update ends here.
        state: state of the optimizer.
    """

    x: jax.Array
    loss: jax.Array
    gradient: jax.Array
    iterations: jax.Array
    evaluations: jax.Array
    stop: jax.Array
    state: LBFGSState


def lbfgs(
    lr: Hyperparameter = 1.0,
    max_iter: int = 20,
    max_eval: int | None = None,
    tolerance_grad: Hyperparameter = 1e-7,
    tolerance_change: Hyperparameter = 1e-9,
    history_size: int = 100,
    line_search_fn: str | None = None,
) -> optax.GradientTransformationExtraArgs:
    """L-BFGS: Newton's method with an inverse Hessian built from the last changes of the gradient.

        d ← -H·g
        t ← η·min(1, 1/‖g‖₁) in the very first iteration, η later
        p ← p + t·d

    One update makes up to `max_iter` such iterations. With a line search, t is only the first distance that it tries
    along d. H is built from the pairs of a step s and the change y of the gradient for which y·s > 1e-10, and starts
    from the identity times (y·s)/(y·y) of the last pair. The update ends early when a limit or tolerance is reached, or
    when g·d > -`tolerance_change`. The next update goes on with the same pairs.

    Args:
        lr: step length η ≥ 0: a number, array or schedule, like the tolerances. Default 1.
        max_iter: largest number of iterations in an update, at least 1. Default 20.
        max_eval: number of evaluations of the loss after which an update ends, at least 1. Default `max_iter * 5 // 4`.
        tolerance_grad: the update ends if no element of the gradient is larger in magnitude. Default 1e-7.
        tolerance_change: the update ends if no parameter changes by more, or if the loss changes by less. Default 1e-9.
        history_size: number of pairs kept, at least 1. Like `max_iter` and `max_eval`, it belongs in the `static_args`
            of `optax.inject_hyperparams`. Default 100.
        line_search_fn: None for steps of length t, or `"strong_wolfe"`. Default None.

    Returns:
        An `optax.GradientTransformationExtraArgs` with an `LBFGSState`, to be called as
        `update(gradients, state, params, value_fn=loss, value=loss(params))`. `loss` is a function of the parameters:
        it takes the place of PyTorch's closure and is compiled into the update. `gradients` are its gradients at
        `params`; `value` is its value there, computed if it is not given. The state has at least float32 and holds
        `2 * history_size` copies of the parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range, if `update` is called without the parameters or the loss or
            with a gradient of None, or if a part of the parameters is masked.
        TypeError: if `max_iter`, `max_eval` or `history_size` is not an integer.

    Example:
        A curved valley, in which gradient descent is slow:

        >>> import jax
        >>> import jax.numpy as jnp
        >>> from jaxtrain import optim
        >>> def loss(p):
        ...     return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2
        >>> optimizer = optim.lbfgs(line_search_fn="strong_wolfe")
        >>> @jax.jit
        ... def step(p, state):
        ...     value, gradient = jax.value_and_grad(loss)(p)
        ...     update, state = optimizer.update(gradient, state, p, value_fn=loss, value=value)
        ...     return p + update, state
        >>> p = jnp.array([-1.0, 1.5])
        >>> state = optimizer.init(p)
        >>> for _ in range(2):
        ...     p, state = step(p, state)
        >>> p.round(3).tolist(), int(state.n_iter) < 40
        ([1.0, 1.0], True)

    PyTorch: `torch.optim.LBFGS`. Its closure becomes `value_fn`; the first evaluation is passed as `gradients` and
    `value`. `optax.lbfgs` makes one iteration per update, keeps 10 pairs, uses another line search, and limits its
    first step by the 2-norm.

    Source: Nocedal and Wright, "Numerical Optimization" (chapters 3 and 7), 2006,
    https://doi.org/10.1007/978-0-387-40065-5
    """
    check_rate("lbfgs", lr)
    check_scalar("lbfgs", "lr", lr, 0.0)
    max_iter = check_integer("lbfgs", "max_iter", max_iter, 1)
    max_eval = max_iter * 5 // 4 if max_eval is None else check_integer("lbfgs", "max_eval", max_eval, 1)
    check_scalar("lbfgs", "tolerance_grad", tolerance_grad)
    check_scalar("lbfgs", "tolerance_change", tolerance_change)
    history_size = check_integer("lbfgs", "history_size", history_size, 1)
    check_choice("lbfgs", "line_search_fn", line_search_fn, (None, "strong_wolfe"))
    given = {"lr": lr, "tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change}

    def at(count: jax.Array) -> list[jax.Array]:
        return [*at_count("lbfgs", given, count).values()]

    def init(params: optax.Params) -> LBFGSState:
        check_floating("lbfgs", params)
        if any(map(_is_masked, jax.tree.leaves(params, is_leaf=_is_masked))):
            raise ValueError(
                "lbfgs: expected all parameters of the loss, but optax.masked, optax.partition or "
                "param_groups hides some; give it what is trained only, and let value_fn know the rest"
            )
        flat = _flat(jax.tree.leaves(params))

        def zeros(*shape: int) -> jax.Array:
            """New ones for each field, because a buffer can be donated only once."""
            return jnp.zeros(shape, flat.dtype)

        def number() -> jax.Array:
            return jnp.zeros((), jnp.int32)

        return LBFGSState(
            count=number(),
            lr=in_float64(at, number(), dtype=default_float())[0],
            func_evals=number(),
            n_iter=number(),
            d=zeros(flat.size),
            t=zeros(),
            old_dirs=zeros(history_size, flat.size),
            old_stps=zeros(history_size, flat.size),
            ro=zeros(history_size),
            stored=number(),
            H_diag=jnp.ones((), flat.dtype),
            prev_flat_grad=zeros(flat.size),
            prev_loss=zeros(),
        )

    def update(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        *,
        value_fn: Callable[[Any], jax.Array] | None = None,
        value: jax.Array | None = None,
        **extra: Any,
    ) -> tuple[optax.Updates, LBFGSState]:
        del extra
        if not isinstance(state, LBFGSState):
            raise TypeError(
                f"lbfgs: expected the LBFGSState that its init returns, got {type(state).__name__}; a state of another "
                "optimizer cannot be continued"
            )
        if params is None or not callable(value_fn):
            raise ValueError(
                "lbfgs evaluates the loss several times: call update(gradients, state, params, value_fn=loss), where "
                "loss is a function of the parameters"
            )
        leaves, structure = jax.tree.flatten(params)
        if not leaves:
            raise ValueError("lbfgs: expected parameters to train, got an empty tree")
        gradient_leaves = leaves_of_gradients("lbfgs", structure, updates)
        if any(gradient is None for gradient in gradient_leaves):
            raise ValueError("lbfgs: expected a gradient for every parameter, got None; give it what is trained only")
        check_gradients("lbfgs", gradient_leaves, leaves, structure)
        start = _flat(leaves)
        if state.d.shape != start.shape or len(state.ro) != history_size:
            raise ValueError(
                f"lbfgs: expected a state for {start.size} numbers and history_size={history_size}, got one for "
                f"{state.d.size} and {len(state.ro)}; continue with what the state was made for, or call init again"
            )
        dtype = start.dtype
        rounded = in_float64_for({dtype, default_float()}, at, state.count)
        rate, smallest_gradient, smallest_change = rounded[dtype]

        def evaluate(x: jax.Array) -> tuple[jax.Array, jax.Array]:
            return jax.value_and_grad(lambda x: loss_of(structure.unflatten(_like(leaves, x))))(x)

        def loss_of(parameters: Any) -> jax.Array:
            return _as_loss("value_fn returns", value_fn(parameters)).astype(dtype)

        def optimal(gradient: jax.Array) -> jax.Array:
            return jnp.abs(gradient).max() <= smallest_gradient

        def step(now: _Iteration) -> _Iteration:
            """Move along the direction by `t`, or as far as the line search goes."""
            t, d = now.state.t, now.state.d
            last = now.iterations == max_iter
            if line_search_fn is None:
                x = now.x + t * d
                # The loss at the last place is left to the next update, which may see another batch.
                loss, gradient = lax.cond(last, lambda x: (now.loss, now.gradient), evaluate, x)
                evaluations = jnp.where(last, 0, 1)
            else:

                def point(t: jax.Array) -> Point:
                    loss, gradient = evaluate(now.x + t * d)
                    return Point(t, loss, gradient, _dot(gradient, d))

                here = Point(jnp.zeros_like(t), now.loss, now.gradient, _dot(now.gradient, d))
                left = max_eval - now.evaluations
                found, evaluations = strong_wolfe(point, here, t, jnp.abs(d).max(), smallest_change, left)
                t, loss, gradient = found.t, found.loss, found.gradient
                x = now.x + t * d
            total = now.evaluations + evaluations
            stop = last | (total >= max_eval) | optimal(gradient)
            stop |= (jnp.abs(t * d).max() <= smallest_change) | (jnp.abs(loss - now.loss) < smallest_change)
            state = now.state._replace(t=t, func_evals=_plus(now.state.func_evals, evaluations))
            return _Iteration(x, loss, gradient, now.iterations, total, stop, state)

        def iterate(now: _Iteration) -> _Iteration:
            state = _remember(now.state, now.gradient)
            first = jnp.minimum(1, 1 / jnp.abs(now.gradient).sum())
            state = state._replace(
                n_iter=_plus(state.n_iter, 1),
                d=-_inverse_hessian_times(state, now.gradient),
                t=jnp.where(state.n_iter == 0, first, 1) * rate,
                prev_flat_grad=now.gradient,
                prev_loss=now.loss,
            )
            now = now._replace(iterations=now.iterations + 1, state=state)
            level = _dot(now.gradient, state.d) > -smallest_change
            return lax.cond(level, lambda now: now._replace(stop=jnp.ones((), bool)), step, now)

        gradient = _flat(gradient_leaves).astype(dtype)
        end = lax.while_loop(
            lambda now: ~now.stop,
            iterate,
            _Iteration(
                x=start,
                loss=loss_of(params) if value is None else _as_loss("value is", value).astype(dtype),
                gradient=gradient,
                iterations=jnp.zeros((), jnp.int32),
                evaluations=jnp.ones((), jnp.int32),
                stop=optimal(gradient),
                state=state._replace(
                    count=optax.safe_increment(state.count),
                    lr=rounded[default_float()][0],
                    func_evals=_plus(state.func_evals, 1),
                ),
            ),
        )
        return structure.unflatten(_like(leaves, end.x - start)), end.state

    return optax.GradientTransformationExtraArgs(init, update)


def _remember(state: LBFGSState, gradient: jax.Array) -> LBFGSState:
    """The state with the pair of the last iteration added, if the loss curves upwards along it."""
    y = gradient - state.prev_flat_grad
    s = state.d * state.t
    ys = _dot(y, s)
    keep = ys > 1e-10
    size = len(state.ro)
    row = state.stored % size
    same_row = _LARGEST % size + size  # Where the numbers end, it goes back by whole rings.

    def stored(ring: jax.Array, new: jax.Array) -> jax.Array:
        return ring.at[row].set(jnp.where(keep, new, ring[row]))

    return state._replace(
        old_dirs=stored(state.old_dirs, y),
        old_stps=stored(state.old_stps, s),
        ro=stored(state.ro, 1 / ys),
        stored=jnp.where(state.stored == _LARGEST, same_row, state.stored) + keep.astype(jnp.int32),
        H_diag=jnp.where(keep, ys / _dot(y, y), state.H_diag),
    )


def _inverse_hessian_times(state: LBFGSState, gradient: jax.Array) -> jax.Array:
    """The inverse Hessian times the gradient, by a recursion over the pairs from the newest to the oldest and back."""
    size = len(state.ro)
    pairs = jnp.minimum(state.stored, size)

    def backwards(age: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        q, weights = carry
        row = (state.stored - 1 - age) % size
        weight = _dot(state.old_stps[row], q) * state.ro[row]
        return q - weight * state.old_dirs[row], weights.at[row].set(weight)

    def forwards(age: jax.Array, r: jax.Array) -> jax.Array:
        row = (state.stored - pairs + age) % size
        weight = weights[row] - _dot(state.old_dirs[row], r) * state.ro[row]
        return r + weight * state.old_stps[row]

    q, weights = lax.fori_loop(0, pairs, backwards, (gradient, jnp.zeros_like(state.ro)))
    return lax.fori_loop(0, pairs, forwards, state.H_diag * q)


def _as_loss(what: str, value: Any) -> jax.Array:
    """`value` as an array; raise unless it is one real number."""
    shape = getattr(value, "shape", () if isinstance(value, int | float) else None)
    if shape != () or jnp.issubdtype(jnp.result_type(value), jnp.complexfloating):
        got = type(value).__name__ if shape is None else f"{jnp.result_type(value)} of shape {shape}"
        raise ValueError(
            f"lbfgs: expected one real number, the loss, but {what} {got}; reduce it by jnp.mean or jnp.sum"
        )
    return jnp.asarray(value)


def _plus(number: jax.Array, more: jax.Array | int) -> jax.Array:
    """The sum of two counts, at most the largest number of their dtype."""
    return number + jnp.minimum(more, _LARGEST - number)


def _is_masked(node: Any) -> bool:
    return isinstance(node, optax.MaskedNode)


def _dot(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.dot(a, b, precision=lax.Precision.HIGHEST)


def _flat(leaves: list[jax.Array]) -> jax.Array:
    """All arrays as one vector, in at least float32."""
    dtype = at_least_float32(*(leaf.dtype for leaf in leaves))

    def joined(leaves: list[jax.Array]) -> jax.Array:
        return jnp.concatenate([jnp.zeros(0, dtype), *(leaf.astype(dtype).ravel() for leaf in leaves)])

    return left_to_xla(joined, leaves)


def _like(leaves: list[jax.Array], vector: jax.Array) -> list[jax.Array]:
    """The vector cut into arrays like `leaves`."""
    ends = np.cumsum([leaf.size for leaf in leaves])

    def cut(vector: jax.Array, leaves: list[jax.Array]) -> list[jax.Array]:
        parts = jnp.split(vector, ends[:-1])
        return [part.reshape(leaf.shape).astype(leaf.dtype) for part, leaf in zip(parts, leaves, strict=True)]

    return left_to_xla(cut, vector, leaves, like=leaves)
