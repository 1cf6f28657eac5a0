"""Arguments of the wrong kind are refused where they are given, by an error that names them."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

from jaxtrain import nn, train, tune

IMAGE, SEQUENCE = jnp.ones((2, 4, 4, 8)), jnp.ones((2, 5, 8))

LAYERS = {
    nn.Linear: (8, 2),
    nn.Conv: (8, 2, 3),
    nn.ConvTranspose: (8, 2, 3),
    nn.Bilinear: (8, 8, 2),
    nn.Embedding: (8, 2),
    nn.EmbeddingBag: (8, 2),
    nn.BatchNorm: (8,),
    nn.InstanceNorm: (8,),
    nn.GroupNorm: (2, 8),
    nn.LayerNorm: (8,),
    nn.RMSNorm: (8,),
    nn.PReLU: (8,),
    nn.RNN: (8, 2),
    nn.LSTM: (8, 2),
    nn.GRU: (8, 2),
    nn.RNNCell: (8, 2),
    nn.LSTMCell: (8, 2),
    nn.GRUCell: (8, 2),
    nn.MultiheadAttention: (8, 2),
    nn.TransformerEncoderLayer: (8, 2, 8),
    nn.TransformerDecoderLayer: (8, 2, 8),
    nn.Dropout: (0.5,),
    nn.FeatureDropout: (0.5,),
    nn.AlphaDropout: (0.5,),
    nn.FeatureAlphaDropout: (0.5,),
}


def options_of(kind):
    return inspect.signature(kind.__init__).parameters


def layers_with(*names):
    return [(kind, name) for kind in LAYERS for name in options_of(kind) if name in names]


def made(kind, **options):
    if "rngs" in options_of(kind):
        options.setdefault("rngs", nnx.Rngs(0))
    return kind(*LAYERS[kind], **options)


@pytest.mark.parametrize("given", [nn.initializers.kaiming_normal, nn.initializers.zeros, "zeros"])
@pytest.mark.parametrize(("kind", "name"), layers_with("kernel_init", "bias_init", "embedding_init"))
def test_an_initializer_is_one_and_not_what_makes_one(kind, name, given):
    with pytest.raises(
        TypeError, match=rf"^{kind.__name__}: {name} must be a function of a key, a shape and a dtype, got"
    ):
        made(kind, **{name: given})


@pytest.mark.parametrize(("kind", "name"), layers_with("kernel_init", "bias_init", "embedding_init"))
def test_what_an_initializer_draws_has_the_shape(kind, name):
    with pytest.raises(TypeError, match=rf"(?s)^{kind.__name__}: {name} .* in place of an array of shape \("):
        made(kind, **{name: lambda key, shape, dtype: jnp.zeros((*shape, 1), dtype)})


def test_initializers_of_jax_and_flax_serve_as_well():
    for init in (jax.nn.initializers.zeros, nnx.initializers.zeros_init(), nn.initializers.zeros()):
        assert not made(nn.Linear, kernel_init=init).kernel[...].any()


@pytest.mark.parametrize(
    ("given", "shown"), [(jnp.int32, "got int32"), ("bool", "got bool"), ("float33", "got 'float33'")]
)
@pytest.mark.parametrize(("kind", "name"), layers_with("dtype", "param_dtype"))
def test_dtypes_are_floating_point(kind, name, given, shown):
    # A layer of several parts leaves the check to the first of them.
    with pytest.raises(TypeError, match=rf"^\w+: {name} must be .*, {shown}; use jnp.float32"):
        made(kind, **{name: given})


@pytest.mark.parametrize("kind", [kind for kind, _ in layers_with("rngs") if "Norm" not in kind.__name__])
@pytest.mark.parametrize("given", [None, 0])
def test_random_streams_are_given(kind, given):
    """Norms draw nothing, and ignore what Flax's need."""
    with pytest.raises(TypeError, match=rf"^\w+: rngs must be random streams, got {given}; pass rngs=nnx.Rngs\(0\)"):
        made(kind, rngs=given)


@pytest.mark.parametrize("kind", [nn.Dropout, nn.FeatureDropout, nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_a_dropout_without_streams_says_so_under_its_own_name(kind):
    with pytest.raises(TypeError, match=rf"^{kind.__name__}: rngs must be random streams, got None; pass rngs="):
        kind(0.5)


def flags_and_counts():
    """The options of layers that are flags or counts by their annotations; attention has other names for its own."""
    others = ("axis", "d_model", "nhead")
    return [
        (kind, name)
        for kind in LAYERS
        for name, option in options_of(kind).items()
        if option.annotation in (bool, int) and name not in others
    ]


@pytest.mark.parametrize(("kind", "name"), flags_and_counts())
def test_flags_and_counts_of_layers_are_what_they_are_called(kind, name):
    options = {**dict(zip(list(options_of(kind))[1:], LAYERS[kind], strict=False)), name: "1"}
    if "rngs" in options_of(kind):
        options["rngs"] = nnx.Rngs(0)
    with pytest.raises(TypeError, match=rf"^\w+: {name} must be (True or False|an integer), got '1'"):
        kind(**options)


ONE = jnp.ones(8)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("batch_norm: training", lambda flag: nn.batch_norm(IMAGE, ONE, ONE, training=flag)),
        ("instance_norm: use_input_stats", lambda flag: nn.instance_norm(IMAGE, use_input_stats=flag)),
        ("dropout: training", lambda flag: nn.dropout(IMAGE, training=flag)),
        ("feature_dropout: training", lambda flag: nn.feature_dropout(IMAGE, training=flag)),
        ("alpha_dropout: training", lambda flag: nn.alpha_dropout(IMAGE, training=flag)),
        ("feature_alpha_dropout: training", lambda flag: nn.feature_alpha_dropout(IMAGE, training=flag)),
        ("EarlyStopping: restore_best", lambda flag: train.EarlyStopping("loss", patience=1, restore_best=flag)),
        ("Checkpoints: asynchronous", lambda flag: train.Checkpoints("nowhere", asynchronous=flag)),
        ("Curves: log_scale", lambda flag: train.Curves("nowhere.png", log_scale=flag)),
        ("Batches: shuffle", lambda flag: train.Batches(np.ones((4, 1)), 2, flag)),
        ("Batches: drop_last", lambda flag: train.Batches(np.ones((4, 1)), 2, drop_last=flag)),
    ],
)
def test_flags_are_true_or_false(name, call):
    for given in ("False", 0, None):
        with pytest.raises(TypeError, match=f"^{name} must be True or False, got {given!r}"):
            call(given)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("batch_norm", lambda given: nn.batch_norm(IMAGE, ONE, ONE, momentum=given)),
        ("instance_norm", lambda given: nn.instance_norm(IMAGE, momentum=given)),
        ("BatchNorm", lambda given: nn.BatchNorm(8, momentum=given)),
        ("InstanceNorm", lambda given: nn.InstanceNorm(8, momentum=given)),
    ],
)
def test_a_momentum_is_a_number(name, call):
    for given, shown in (("0.1", "a number, got '0.1'"), (lambda count: 0.1, "a number, not a schedule")):
        with pytest.raises(TypeError, match=f"^{name}: momentum must be {shown}"):
            call(given)


def test_the_state_of_an_lstm_is_a_pair():
    layer = made(nn.LSTM)
    for given in (jnp.zeros((1, 2, 2)), (jnp.zeros((1, 2, 2)),)):
        with pytest.raises(TypeError, match=r"^LSTM: hx must be a pair, the hidden and the cell state, got"):
            layer(SEQUENCE, given)


X = np.ones((4, 8), np.float32)


def mean(model, x):
    return model(x).mean()


def recipe(lr):
    return train.TrainState.create(made(nn.Linear), optax.sgd(lr)), mean


def fitted(**options):
    return train.fit(recipe(0.1)[0], mean, X, epochs=1, batch_size=4, progress=False, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: train.make_train_step(mean, placement="data"), "make_train_step: placement must be a train.Placement"),
        (lambda: train.make_eval_step(mean, placement="data"), "make_eval_step: placement must be a train.Placement"),
        (lambda: fitted(placement="data"), "fit: placement must be a train.Placement or None, got str"),
        (lambda: fitted(listeners=train.Listener()), "fit: listeners must be a list of .* alone"),
        (lambda: train.ReduceLROnPlateau("loss", 0.1), "ReduceLROnPlateau: rule must be .*, got 0.1; pass schedules"),
        (lambda: tune.sweep("recipe", {"lr": [0.1]}, X, epochs=1, batch_size=4), "sweep: recipe must be a function"),
        (lambda: tune.lr_find(None, X, batch_size=4), "lr_find: recipe must be a function .*, got None"),
    ],
)
def test_parts_of_a_run_are_what_they_are_called(call, message):
    with pytest.raises(TypeError, match=f"^{message}"):
        call()


def test_a_recipe_that_needs_a_number_of_python_is_told_why_there_is_none():
    with pytest.raises(jax.errors.ConcretizationTypeError) as error:
        tune.sweep(lambda lr: recipe(float(lr)), {"lr": [0.1]}, X, epochs=1, batch_size=4)
    assert "sweep, in recipe(lr): This hyper-parameter is traced" in error.value.__notes__[0]
