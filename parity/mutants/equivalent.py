"""Mutants that change nothing that a comparison with PyTorch can observe, and the reason.

Each entry names one mutant, by the whole statement before and after the change: when the statement is rewritten, the
entry no longer fits, and the tests ask for it to be looked at again.
"""

from parity.mutants.mutants import Key

EQUIVALENT: dict[Key, str] = {
    Key(
        "jaxtrain.losses.sequence",
        "ctc_loss",
        "losses = losses + _undefined(log_probs, is_running & has_no_gradient[None])",
        "losses = losses - _undefined(log_probs, is_running & has_no_gradient[None])",
    ): "the term is 0, and its gradient 0 or NaN, whatever its sign",
    Key(
        "jaxtrain.nn._resampling",
        "lanczos_filter",
        "return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)",
        "return np.where(np.abs(x) <= 3, np.sinc(x) * np.sinc(x / 3), 0)",
    ): "the filter is 0 at the edge of its lobes: sinc(3) = 0",
    Key(
        "jaxtrain.nn.distances",
        "cosine_similarity.directions",
        "return x / (length + lax.stop_gradient(jnp.where(length < eps, eps - length, 0)))",
        "return x / (length + lax.stop_gradient(jnp.where(length <= eps, eps - length, 0)))",
    ): "eps - length is 0 where both are equal",
    Key(
        "jaxtrain.optim._lerp",
        "lerp",
        "from_start = weight < 0.5",
        "from_start = weight <= 0.5",
    ): "half the way is the same from both ends",
    Key(
        "jaxtrain.optim._strong_wolfe",
        "strong_wolfe.grow",
        "last = _at(search.bracket, 0)",
        "last = _at(search.bracket, 1)",
    ): "until the bracket is closed, both of its ends are the last trial",
    Key(
        "jaxtrain.optim.muon",
        "_orthogonalized",
        "tall = matrix.shape[0] > matrix.shape[1]",
        "tall = matrix.shape[0] >= matrix.shape[1]",
    ): "a square matrix is made orthogonal from the left as from the right",
    Key(
        "jaxtrain.schedules.cosine",
        "cosine_annealing_lr.from_top",
        "return jnp.minimum(position, 2 * as_float64(T_max) - position)",
        "return jnp.maximum(position, 2 * as_float64(T_max) - position)",
    ): "the wave is symmetric; only the last digits near its next top differ",
    Key(
        "jaxtrain.schedules.cosine",
        "cosine_annealing_warm_restarts.cycle",
        "restarts = jnp.asarray([0, *itertools.accumulate(lengths[:-1])], jnp.float64)",
        "restarts = jnp.asarray([0, *itertools.accumulate(lengths[:])], jnp.float64)",
    ): "the additional restart comes after the last count that there can be",
}
