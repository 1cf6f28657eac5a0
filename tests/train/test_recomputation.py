"""What is computed again in the backward pass is what was computed before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxtrain import optim
from jaxtrain.train import Precision, TrainState
from jaxtrain.train.recomputation import recomputing


class Inner(nnx.Module):
    def __init__(self):
        self.w, self.calls = nnx.Param(jnp.full(8, 0.5)), nnx.Variable(jnp.int32(0))

    def __call__(self, x):
        self.calls[...] += 1
        return jnp.tanh(jnp.tanh(x * self.w[...]))


class Block(nnx.Module):
    def __init__(self):
        self.inner = Inner()

    def __call__(self, x, scale, *, doubled):
        x = self.inner(x) * scale
        return 2 * x if doubled else x  # Not for a traced flag.


class Tower(nnx.Module):
    def __init__(self):
        self.blocks = nnx.List([Block() for _ in range(2)])

    def __call__(self, x):
        for block in self.blocks:
            x = block(x, jnp.ones((), x.dtype), doubled=True)
        return x


PLAIN = (Tower, Block, Inner, nnx.List)
X = np.random.default_rng(0).normal(size=8).astype(np.float32)


def test_gradients_and_statistics_are_the_same_and_less_is_kept():
    ends, kept = [], []
    for remat in (None, "^blocks/"):
        state = TrainState.create(Tower(), optim.sgd(0.1), remat=remat, precision=Precision("bfloat16"))

        def of(params, state=state):
            model = state.blueprint.computing(params, state.model_state, state.key, state.step, train=True)
            return (model(X) ** 2).mean(), state.blueprint.values(model)[1]

        loss, pull, statistics = jax.vjp(of, state.params, has_aux=True)
        kept.append(sum(leaf.nbytes for leaf in jax.tree.leaves(pull)))
        ends.append((loss, statistics, pull(jnp.ones(()))))
    jax.tree.map(np.testing.assert_array_equal, *ends)
    assert kept[1] < kept[0]
    assert int(statistics["blocks"][1]["inner"]["calls"]) == 1


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("^blocks/[1]", [("blocks", 1)]),
        ("inner", [("blocks", 0, "inner"), ("blocks", 1, "inner")]),
        ("0|inner", [("blocks", 0), ("blocks", 1, "inner")]),
        (".*", [("blocks", 0), ("blocks", 1)]),  # Not the whole network, which would keep nothing.
    ],
)
def test_only_the_outermost_of_nested_modules_computes_twice(pattern, expected):
    model = recomputing(Tower(), pattern)
    changed = {path: type(module) for path, module in nnx.iter_modules(model) if type(module) not in PLAIN}
    assert sorted(changed) == expected
    assert {kind.__name__ for kind in changed.values()} <= {"Block", "Inner"}


def test_a_module_may_be_an_argument_of_one_that_computes_twice():
    class Caller(nnx.Module):
        def __call__(self, inner, x):
            return inner(x)

    class Net(nnx.Module):
        def __init__(self):
            self.inner, self.caller = Inner(), Caller()

        def __call__(self, x):
            return self.caller(self.inner, x)

    ends = []
    for remat in (None, "caller"):
        state = TrainState.create(Net(), optim.sgd(0.1), remat=remat)
        gradients, loss, _, state = state.gradients(lambda model: (model(X) ** 2).mean())
        ends.append((gradients, loss, state.model_state))
    jax.tree.map(np.testing.assert_array_equal, *ends)
    assert int(ends[1][2]["inner"]["calls"]) == 1


@pytest.mark.parametrize(
    ("remat", "message"),
    [
        ("^head/", "expected remat to match a module, got '\\^head/'; there are blocks/0, blocks/0/inner, "),
        ("(", r"TrainState.create: expected remat to be a regular expression, got '\('"),
        (1, "TrainState.create: expected remat to be a regular expression, got 1"),
    ],
)
def test_bad_patterns(remat, message):
    with pytest.raises(ValueError, match=message):
        TrainState.create(Tower(), optim.sgd(0.1), remat=remat)
