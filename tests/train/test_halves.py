"""The two halves of a step, frozen parameters, and what is observed in a step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxtrain import nn, optim
from jaxtrain.train import TrainState, fit, make_train_step


class Two(nnx.Module):
    def __init__(self):
        self.body = nn.Linear(3, 4, rngs=nnx.Rngs(0))
        self.head = nn.Linear(4, 1, rngs=nnx.Rngs(1))

    def __call__(self, x):
        return self.head(jnp.tanh(self.body(x)))[:, 0]


def square(model, batch):
    return jnp.mean(model(batch) ** 2)


X = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)


def two(optimizer, **options):
    return TrainState.create(Two(), optimizer, **options)


def test_both_halves_are_the_step(net, state, assert_same):
    def loss_fn(model, batch):
        return net.loss_fn(model, batch)[0]

    @jax.jit
    def by_halves(state, batch):
        gradients, loss, aux, state = state.gradients(loss_fn, batch)
        assert aux is None
        return state.apply_gradients(gradients), loss

    halves, loss = by_halves(state, net.batch)
    whole, metrics = make_train_step(loss_fn)(state, net.batch)
    assert_same(halves, whole)
    assert float(loss) == pytest.approx(float(metrics["loss"]))


def test_gradients_leave_parameters_and_step_alone(net, state, assert_same):
    gradients, _, aux, after = state.gradients(net.loss_fn, net.batch)
    assert_same(after.params, state.params)
    assert int(after.step) == 0
    assert int(after.model_state["norm"]["num_batches_tracked"]) == 1
    assert aux["accuracy"].shape == (40,)
    assert jax.tree.map(jnp.shape, gradients) == jax.tree.map(jnp.shape, state.params)


def test_gradients_of_two_losses_add():
    state = two(optim.sgd(0.1))
    first, *_ = state.gradients(square, X[:8])
    second, *_ = state.gradients(square, X[8:])
    both, *_ = state.gradients(square, X)
    for one, other, mean in zip(*map(jax.tree.leaves, (first, second, both)), strict=True):
        np.testing.assert_allclose((one + other) / 2, mean, rtol=1e-5, atol=1e-7)


def test_statistics_of_another_network_come_back():
    def judged(generator, x, judge):
        model = judge.model(train=True)
        return model(generator(x)[:, None]).mean(), judge.with_model(model)

    @jax.jit
    def step(generator, judge):
        gradients, _, judge, generator = generator.gradients(judged, X, judge)
        return generator.apply_gradients(gradients), judge

    generator, judge = two(optim.sgd(0.1)), TrainState.create(nn.BatchNorm(1), optim.sgd())
    for _ in range(3):
        generator, judge = step(generator, judge)
    assert int(judge.model_state["num_batches_tracked"]) == 3
    assert float(judge.model_state["running_mean"][0]) != 0.0
    assert int(judge.step) == 0


def test_with_model_copies():
    state = two(optim.sgd(0.1))
    model = state.model()
    model.head.bias[...] = jnp.ones(1)
    changed = state.with_model(model)
    assert changed.params["head"]["bias"].tolist() == [1.0]
    make_train_step(square)(changed, X)
    assert model.head.bias[...].tolist() == [1.0]
    with pytest.raises(ValueError, match="with_model: expected a module with the parameters"):
        state.with_model(nn.BatchNorm(2))


def test_wrong_halves():
    state = two(optim.sgd(0.1))
    with pytest.raises(TypeError, match=r"gradients: loss_fn must return a float scalar array, got float32\[16\]"):
        state.gradients(lambda model, x: model(x), X)
    with pytest.raises(ValueError, match="apply_gradients: expected gradients like the parameters,"):
        state.apply_gradients({"head": state.params["head"]})
    with pytest.raises(TypeError, match="gradients: loss_fn must be a function, got None"):
        state.gradients(None)
    wider = two(optim.sgd(0.1)).model()
    wider.head = nn.Linear(9, 1, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"with_model: expected a module with the parameters .*\(4, 1\).*\(9, 1\)"):
        state.with_model(wider)


def test_frozen_parameters_are_not_trained_not_clipped_and_have_no_moments():
    state = two(optax.chain(optim.clip_grad_norm(0.01), optim.adam(0.1)), trainable="^head/")
    assert list(state.params) == ["head"]
    assert {leaf.shape for leaf in jax.tree.leaves(state.opt_state)} == {(), (1,), (4, 1)}
    before = Two()
    after, _ = make_train_step(square)(jax.tree.map(jnp.copy, state), X)
    np.testing.assert_array_equal(after.model_state["body"]["kernel"], before.body.kernel[...])
    assert not np.array_equal(after.params["head"]["kernel"], before.head.kernel[...])

    def of_head(head):
        model = Two()
        nnx.update(model.head, head)
        return square(model, X)

    gradients = jax.grad(of_head)(nnx.to_pure_dict(nnx.state(before.head)))
    clipped = optax.clip_by_global_norm(0.01).update(gradients, optax.EmptyState())[0]
    expected = two(optim.sgd(1.0), trainable="^head/").apply_gradients({"head": clipped}).params["head"]
    found, _ = make_train_step(square)(
        two(optax.chain(optim.clip_grad_norm(0.01), optim.sgd(1.0)), trainable="^head/"), X
    )
    for name in expected:
        np.testing.assert_allclose(found.params["head"][name], expected[name], rtol=1e-4)


def test_frozen_parameters_are_part_of_the_model():
    state = two(optim.sgd(0.1), trainable="kernel$")
    assert jax.tree.map(jnp.shape, state.params) == {"body": {"kernel": (3, 4)}, "head": {"kernel": (4, 1)}}
    np.testing.assert_allclose(state.model()(X), Two()(X), rtol=1e-6)
    trained, _ = fit(state, square, X, epochs=2, batch_size=4, progress=False)
    assert trained.model_state["head"]["bias"].tolist() == Two().head.bias[...].tolist()


@pytest.mark.parametrize(
    ("trainable", "message"),
    [
        (
            "^tail/",
            "expected trainable to match a parameter, got '^tail/'; there are body/bias, body/kernel, head/bias",
        ),
        ("(", r"expected trainable to be a regular expression, got '\('"),
        (3, "expected trainable to be a regular expression, got 3"),
    ],
)
def test_bad_patterns(trainable, message):
    with pytest.raises(ValueError, match=message.replace("^tail", r"\^tail")):
        two(optim.sgd(0.1), trainable=trainable)


def observed(gradients, updates, params):
    return {"gradients": optax.tree.norm(gradients), "updates": optax.tree.norm(updates)}


@pytest.mark.parametrize("steps_per_dispatch", [1, None])
def test_observed_norms(steps_per_dispatch):
    state = two(optim.sgd(0.1))
    settings = {"epochs": 1, "batch_size": 8, "shuffle": False, "progress": False}
    _, history = fit(state, square, X, observe=observed, steps_per_dispatch=steps_per_dispatch, **settings)
    norms = []
    for batch in (X[:8], X[8:]):
        gradients, _, _, state = state.gradients(square, batch)
        state = state.apply_gradients(gradients)
        norms.append(float(optax.tree.norm(gradients)))
    assert history["gradients"] == [pytest.approx(np.mean(norms), rel=1e-5)]
    assert history["updates"] == [pytest.approx(0.1 * np.mean(norms), rel=1e-5)]


@pytest.mark.parametrize("result", [{"loss": 1.0}, 1.0])
def test_observe_returns_a_dict_with_other_names(result):
    with pytest.raises(TypeError, match="observe must return a dict of metrics with other names than 'loss', got"):
        make_train_step(square, observe=lambda *_: result)(two(optim.sgd(0.1)), X)
