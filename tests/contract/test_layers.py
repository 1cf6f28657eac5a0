"""What holds for every layer: its name in compiled programs, and the same numbers under all transformations."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jaxtrain import nn

RNGS = nnx.Rngs(0)
IMAGES = np.random.default_rng(0).normal(size=(2, 4, 4, 4)).astype(np.float32)
INDICES = np.array([[1, 0, 2]])
SEQUENCES = IMAGES[0]
TRANSFORMER = {"d_model": 4, "nhead": 2, "dim_feedforward": 3, "rngs": RNGS}
LAYERS = {
    "AdaptiveLogSoftmaxWithLoss": (
        nn.AdaptiveLogSoftmaxWithLoss(4, 9, [3], rngs=RNGS),
        (IMAGES[0, 0], INDICES[0][[0, 1, 2, 0]]),
    ),
    "AlphaDropout": (nn.AlphaDropout(rngs=RNGS), (IMAGES,)),
    "BatchNorm": (nn.BatchNorm(4), (IMAGES,)),
    "Bilinear": (nn.Bilinear(4, 4, 3, rngs=RNGS), (IMAGES, IMAGES)),
    "Conv": (nn.Conv(4, 3, (3, 3), padding=1, rngs=RNGS), (IMAGES,)),
    "ConvTranspose": (nn.ConvTranspose(4, 3, (3, 3), rngs=RNGS), (IMAGES,)),
    "Dropout": (nn.Dropout(rngs=RNGS), (IMAGES,)),
    "Embedding": (nn.Embedding(5, 3, rngs=RNGS), (INDICES,)),
    "EmbeddingBag": (nn.EmbeddingBag(5, 3, rngs=RNGS), (INDICES,)),
    "FeatureAlphaDropout": (nn.FeatureAlphaDropout(rngs=RNGS), (IMAGES,)),
    "FeatureDropout": (nn.FeatureDropout(rngs=RNGS), (IMAGES,)),
    "GRU": (nn.GRU(4, 3, rngs=RNGS), (SEQUENCES,)),
    "GRUCell": (nn.GRUCell(4, 3, rngs=RNGS), (SEQUENCES[0],)),
    "GroupNorm": (nn.GroupNorm(2, 4), (IMAGES,)),
    "InstanceNorm": (nn.InstanceNorm(4, affine=True), (IMAGES,)),
    "LSTM": (nn.LSTM(4, 3, rngs=RNGS), (SEQUENCES,)),
    "LSTMCell": (nn.LSTMCell(4, 3, rngs=RNGS), (SEQUENCES[0],)),
    "LayerNorm": (nn.LayerNorm(4), (IMAGES,)),
    "Linear": (nn.Linear(4, 3, rngs=RNGS), (IMAGES,)),
    "LocalResponseNorm": (nn.LocalResponseNorm(3), (IMAGES,)),
    "MultiheadAttention": (nn.MultiheadAttention(4, 2, rngs=RNGS), (SEQUENCES,) * 3),
    "PReLU": (nn.PReLU(), (IMAGES,)),
    "RMSNorm": (nn.RMSNorm(4), (IMAGES,)),
    "RNN": (nn.RNN(4, 3, rngs=RNGS), (SEQUENCES,)),
    "RNNCell": (nn.RNNCell(4, 3, rngs=RNGS), (SEQUENCES[0],)),
    "Transformer": (
        nn.Transformer(**TRANSFORMER, num_encoder_layers=1, num_decoder_layers=1),
        (SEQUENCES, SEQUENCES),
    ),
    "TransformerDecoder": (
        nn.TransformerDecoder(nn.TransformerDecoderLayer(**TRANSFORMER), 1),
        (SEQUENCES, SEQUENCES),
    ),
    "TransformerDecoderLayer": (nn.TransformerDecoderLayer(**TRANSFORMER), (SEQUENCES, SEQUENCES)),
    "TransformerEncoder": (nn.TransformerEncoder(nn.TransformerEncoderLayer(**TRANSFORMER), 1), (SEQUENCES,)),
    "TransformerEncoderLayer": (nn.TransformerEncoderLayer(**TRANSFORMER), (SEQUENCES,)),
}
NORMS = {
    "BatchNorm": lambda x: nn.batch_norm(x, None, None, training=True)[0],
    "GroupNorm": lambda x: nn.group_norm(x, 2),
    "InstanceNorm": lambda x: nn.instance_norm(x)[0],
    "LayerNorm": lambda x: nn.layer_norm(x, 4),
}
AXES = {"BatchNorm": (0, 1, 2), "GroupNorm": (1, 2, 4), "InstanceNorm": (1, 2), "LayerNorm": (3,)}


def textbook(name, x):
    """The norm as one writes it down, left to autodiff."""
    grouped = x.reshape(*x.shape[:-1], 2, 2) if name == "GroupNorm" else x
    mean = grouped.mean(AXES[name], keepdims=True)
    variance = ((grouped - mean) ** 2).mean(AXES[name], keepdims=True)
    return ((grouped - mean) / (variance + 1e-5) ** 0.5).reshape(x.shape)


def test_the_table_has_every_layer():
    layers = {name for name, made in vars(nn).items() if inspect.isclass(made) and issubclass(made, nnx.Module)}
    assert layers == LAYERS.keys()


@pytest.mark.parametrize("name", LAYERS)
def test_compiled_programs_name_the_layer(name):
    layer, arguments = LAYERS[name]
    graph, state = nnx.split(layer)
    lowered = jax.jit(lambda state, *arguments: nnx.merge(graph, state)(*arguments)).lower(state, *arguments)
    assert f"/{name}/" in lowered.as_text(debug_info=True)


@pytest.mark.parametrize("name", NORMS)
def test_first_and_second_derivatives_of_norms_are_those_of_the_textbook(name):
    def derivatives(function, x, v, w):
        def loss(x):
            return jnp.sum(jnp.sin(function(x)) * w)

        return {
            "value": function(x),
            "forward": jax.jvp(function, (x,), (v,))[1],
            "reverse": jax.grad(loss)(x),
            "forward over reverse": jax.jvp(jax.grad(loss), (x,), (v,))[1],
            "reverse over reverse": jax.grad(lambda x: jnp.vdot(jax.grad(loss)(x), v))(x),
            "forward over forward": jax.jvp(lambda x: jax.jvp(function, (x,), (v,))[1], (x,), (w,))[1],
            "in a scan": jax.lax.scan(lambda carry, _: (function(carry) + v, None), x, length=2)[0],
            "mapped": jax.vmap(jax.grad(loss))(jnp.stack([x, 3 * v])),
        }

    with jax.enable_x64(True):
        x, v, w = np.random.default_rng(1).normal(size=(3, *IMAGES.shape))
        ours, expected = jax.jit(
            lambda *arrays: tuple(
                derivatives(function, *arrays) for function in (NORMS[name], lambda x: textbook(name, x))
            )
        )(x, v, w)
        for order, mine in ours.items():
            np.testing.assert_allclose(mine, expected[order], atol=1e-11 * np.abs(expected[order]).max(), err_msg=order)


def outlier(x):
    x[0, 0, 0] = 1e6


def darker_example(x):
    x[0] -= 1e4


def half_in_each_of_two_places(x):
    x[..., ::2, :] += 1e4


def far(x):
    x += 1e4


@pytest.mark.parametrize("name", NORMS)
@pytest.mark.parametrize("bend", [outlier, darker_example, half_in_each_of_two_places, far])
def test_norms_lose_no_digits(name, bend):
    """Wherever the mean lies, and whatever the first elements are."""
    x = np.random.default_rng(0).normal(size=(8, 16, 16, 4))
    bend(x)
    x = x.astype(np.float32)
    expected = textbook(name, x.astype(np.float64))
    error = np.abs(np.asarray(jax.jit(NORMS[name])(x)) - expected).max()
    assert error <= 1e-6 * np.abs(expected).max()


def test_layers_refuse_what_would_be_misread():
    for make in (nn.BatchNorm, nn.InstanceNorm, nn.LayerNorm, nn.RMSNorm):
        with pytest.raises(TypeError, match=f"{make.__name__}: param_dtype must be floating-point, got int32"):
            make(4, param_dtype=jnp.int32)
    for make in (nn.Linear, nn.Embedding):
        with pytest.raises(TypeError, match=f"{make.__name__}: param_dtype must be floating-point, got bool"):
            make(4, 3, param_dtype=bool, rngs=RNGS)
        with pytest.raises(TypeError, match=f"{make.__name__}: rngs must be random streams, got 0"):
            make(4, 3, rngs=0)
    with pytest.raises(TypeError, match="Linear: bias must be True or False, got 'False'"):
        nn.Linear(4, 3, bias="False", rngs=RNGS)
    with pytest.raises(TypeError, match="BatchNorm: affine must be True or False, got 'False'"):
        nn.BatchNorm(4, affine="False")
    for momentum in (-1, float("nan")):
        with pytest.raises(ValueError, match=r"BatchNorm: momentum must lie in \[0, 1\]"):
            nn.BatchNorm(4, momentum=momentum)
    for size in (4.0, None, "4"):
        with pytest.raises(TypeError, match=f"LayerNorm: normalized_shape must be an integer, got {size!r}"):
            nn.LayerNorm(size)
    assert nn.LayerNorm(np.int64(4)).normalized_shape == (4,)
    with pytest.raises(ValueError, match=r"Dropout: p must be one number, got an array of shape \(3, 1\)"):
        nn.Dropout(np.full((3, 1), 0.5), rngs=RNGS)
    with pytest.raises(TypeError, match=r"Dropout: p must be a number, got .*; layers take no schedules"):
        nn.Dropout(lambda count: 0.5, rngs=RNGS)
