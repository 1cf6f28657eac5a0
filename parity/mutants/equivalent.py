"""Mutants that change nothing that a comparison with PyTorch can observe, and the reason."""

EQUIVALENT: dict[tuple[str, str], str] = {
    (
        "jaxtrain.losses.binary",
        "input, target = (input - _nan_outside_unit_interval(input), target + _nan_outside_unit_interval(target))",
    ): "adding 0 or NaN is the same as subtracting it",
    (
        "jaxtrain.losses.probabilistic",
        "losses = jnp.exp(target) * jnp.where(is_impossible, 1, target - input)",
    ): "the number is multiplied by exp(-inf) = 0",
    (
        "jaxtrain.losses.sequence",
        "losses = losses - _undefined(log_probs, is_running & has_no_gradient[None])",
    ): "the term is 0, and its gradient 0 or NaN, whatever its sign",
    (
        "jaxtrain.optim._lerp",
        "from_start = weight <= 0.5",
    ): "half the way is the same from both ends",
    (
        "jaxtrain.optim._strong_wolfe",
        "last = _at(search.bracket, 1)",
    ): "until the bracket is closed, both of its ends are the last trial",
    (
        "jaxtrain.optim.muon",
        "tall = matrix.shape[0] >= matrix.shape[1]",
    ): "a square matrix is made orthogonal from the left as from the right",
    (
        "jaxtrain.schedules.cosine",
        "return jnp.maximum(position, 2 * as_float64(T_max) - position)",
    ): "the wave is symmetric; only the last digits near its next top differ",
}
"""Reasons by module and changed statement (its first line, as `ast.unparse` writes it)."""
