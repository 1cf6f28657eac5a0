"""`nn.Conv` and `nn.ConvTranspose`: initialization, layouts, dtypes, padding, transformations, bad input."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy import stats

from jaxtrain import nn

RNGS = nnx.Rngs(0)
LAYERS = [nn.Conv, nn.ConvTranspose]
FUNCTIONS = [nn.conv, nn.conv_transpose]
X = np.random.default_rng(0).normal(size=(2, 7, 4)).astype(np.float32)
KERNEL = np.random.default_rng(1).normal(size=(3, 4, 4)).astype(np.float32)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("groups", [1, 4])
def test_initial_values_are_uniform_within_the_documented_bound(layer, groups):
    made = layer(32, 64, (3, 5), groups=groups, rngs=nnx.Rngs(0))
    counted = 32 if layer is nn.Conv else 64
    bound = (counted / groups * 15) ** -0.5
    kernel, bias = np.ravel(made.kernel[...]), np.ravel(made.bias[...])
    for values in (kernel, bias):
        assert stats.kstest(values, stats.uniform(-bound, 2 * bound).cdf).pvalue > 0.01
        assert np.abs(values).max() <= np.float32(bound)
    assert not (kernel[:64] == bias).any()


@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.Conv, (3, 5, 4, 6)), (nn.ConvTranspose, (3, 5, 3, 8))], ids=["conv", "transpose"]
)
def test_parameters(layer, shape):
    made = layer(8, 6, (3, 5), groups=2, rngs=RNGS)
    assert made.kernel.shape == shape
    assert made.bias.shape == (6,)
    made = layer(8, 6, 3, bias=False, param_dtype=jnp.bfloat16, rngs=RNGS)
    assert made.bias is None
    assert made.kernel.shape == ((3, 8, 6) if layer is nn.Conv else (3, 6, 8))
    assert made.kernel.dtype == jnp.bfloat16


@pytest.mark.parametrize("function", FUNCTIONS)
def test_axis_jit_and_vmap(function):
    """The channels on another axis, and each example or each kernel by itself, give the same numbers."""

    @jax.jit
    def ways(x, kernel):
        moved = function(jnp.moveaxis(x, -1, 1), kernel, padding=1, axis=1)
        one_by_one = jax.vmap(lambda example: function(example[None], kernel, padding=1)[0])(x)
        kernels = jax.vmap(lambda kernel: function(x, kernel, padding=1))(jnp.stack([0 * kernel, kernel]))
        return function(x, kernel, padding=1), jnp.moveaxis(moved, 1, -1), one_by_one, kernels[1]

    expected, *others = ways(X, KERNEL)
    assert expected.shape == (2, 7, 4)
    for other in others:
        np.testing.assert_allclose(other, expected, atol=2e-6)


def test_the_transposed_convolution_is_the_gradient_of_the_convolution():
    @jax.jit
    def both(x, g):
        def convolved(x):
            return nn.conv(x, KERNEL, stride=2, padding=1, dilation=2)

        (gradient,) = jax.vjp(convolved, x)[1](g)
        return gradient, nn.conv_transpose(g, KERNEL, stride=2, padding=1, dilation=2)

    np.testing.assert_allclose(*both(X, X[:, :3]), atol=2e-6)


@pytest.mark.usefixtures("promotion")
@pytest.mark.parametrize("function", FUNCTIONS)
def test_dtypes(function):
    half = jax.ShapeDtypeStruct(X.shape, jnp.bfloat16)
    kernel = jax.ShapeDtypeStruct(KERNEL.shape, jnp.bfloat16)
    assert jax.eval_shape(function, half, kernel).dtype == jnp.bfloat16
    assert jax.eval_shape(function, half, KERNEL).dtype == jnp.float32


@pytest.mark.usefixtures("promotion")
@pytest.mark.parametrize("layer", LAYERS)
def test_dtype_of_the_computation(layer):
    assert jax.eval_shape(layer(4, 2, 3, dtype=jnp.bfloat16, rngs=RNGS), X).dtype == jnp.bfloat16
    assert jax.eval_shape(layer(4, 2, 3, param_dtype=jnp.bfloat16, rngs=RNGS), X).dtype == jnp.float32


@pytest.mark.parametrize(
    ("options", "length"),
    [
        ({}, 5),
        ({"padding": 2}, 9),
        ({"padding": "same", "dilation": 2}, 7),
        ({"padding": "valid", "dilation": 3}, 1),
        ({"stride": 3, "padding": 1}, 3),
    ],
)
def test_lengths(options, length):
    assert jax.eval_shape(nn.Conv(4, 6, 3, **options, rngs=RNGS), X).shape == (2, length, 6)


@pytest.mark.parametrize(
    ("mode", "padded"),
    [
        ("zeros", [0, 0, 1, 2, 3, 0, 0]),
        ("reflect", [3, 2, 1, 2, 3, 2, 1]),
        ("replicate", [1, 1, 1, 2, 3, 3, 3]),
        ("circular", [2, 3, 1, 2, 3, 1, 2]),
    ],
)
def test_what_the_padding_holds(mode, padded):
    copy = nn.Conv(
        1, 1, 1, padding=2, padding_mode=mode, bias=False, kernel_init=nn.initializers.ones(), rngs=nnx.Rngs(0)
    )
    np.testing.assert_array_equal(copy(jnp.array([[[1.0], [2.0], [3.0]]])).ravel(), padded)


@pytest.mark.parametrize("layer", LAYERS)
def test_zeros_are_left_to_the_convolution(layer):
    """A padded copy of the input would cost memory and time."""
    program = str(jax.make_jaxpr(layer(4, 6, 3, padding=1, rngs=RNGS))(X))
    assert "conv_general_dilated" in program
    assert " pad[" not in program


def test_same_padding_puts_the_odd_zero_at_the_end():
    output = nn.conv(jnp.array([[[1.0], [2.0], [4.0]]]), jnp.ones((2, 1, 1)), padding="same")
    assert output.ravel().tolist() == [3.0, 6.0, 4.0]


@pytest.mark.parametrize(("output_size", "length"), [(None, 13), ((13,), 13), ((14,), 14)])
def test_output_size(output_size, length):
    layer = nn.ConvTranspose(4, 2, 3, stride=2, padding=1, rngs=RNGS)
    assert jax.eval_shape(lambda x: layer(x, output_size), X).shape == (2, length, 2)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_nan_reaches_the_positions_that_see_it_alone(function):
    """And the other examples not at all."""
    broken = X.copy()
    broken[0, 3, 0] = np.nan
    seen = np.isnan(jax.jit(lambda x: function(x, KERNEL, padding=1))(broken)).all(-1)
    assert np.argwhere(seen).tolist() == [[0, 2], [0, 3], [0, 4]]


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((0, 4, 3), {}, ValueError, "in_channels must be at least 1, got 0"),
        ((4, 2.0, 3), {}, TypeError, "out_channels must be an integer, got 2.0"),
        ((4, 6, 3), {"groups": 3}, ValueError, "groups must divide .*, got 3 groups, 4 and 6 channels"),
        ((4, 6, 3), {"groups": 0}, ValueError, "groups must be at least 1, got 0"),
        ((4, 6, ()), {}, ValueError, r"kernel_size must name at least one axis, got \(\)"),
        ((4, 6, (3, 0)), {}, ValueError, "kernel_size must be at least 1, got 0"),
        ((4, 6, (3, 3)), {"stride": (1, 2, 3)}, ValueError, r"stride .* 2 axes of the kernel, got \(1, 2, 3\)"),
        ((4, 6, 3), {"stride": 0}, ValueError, "stride must be at least 1, got 0"),
        ((4, 6, 3), {"dilation": 1.5}, TypeError, "dilation must be an integer, got 1.5"),
        ((4, 6, 2.5), {}, TypeError, "kernel_size must be an integer, got 2.5"),
        ((4, 6, 3), {"padding": -1}, ValueError, "padding must be at least 0, got -1"),
    ],
)
def test_bad_arguments_are_refused(layer, arguments, options, error, message):
    with pytest.raises(error, match=f"{layer.__name__}: {message}"):
        layer(*arguments, **options, rngs=RNGS)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"padding": "full"}, "padding must be one of 'same', 'valid', got 'full'"),
        ({"padding": "same", "stride": 2}, r'padding="same" keeps the size only with stride 1, got stride \(2,\)'),
        ({"padding_mode": "mirror"}, "padding_mode must be one of 'zeros', 'reflect', .* got 'mirror'"),
    ],
)
def test_bad_padding_is_refused(options, message):
    with pytest.raises(ValueError, match=f"Conv: {message}"):
        nn.Conv(4, 6, 3, **options, rngs=RNGS)


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize(
    ("input", "error", "message"),
    [
        (
            X[0],
            ValueError,
            r".* axes for examples, channels and 1 for positions, got shape \(7, 4\); .* as in x\[None\]",
        ),
        (X[..., :3], ValueError, r"expected 4 channels along axis -1, got an input of shape \(2, 7, 3\); .* axis="),
        (X.astype(np.int32), TypeError, r"input must be floating-point, got int32"),
    ],
    ids=["no batch", "channels", "integers"],
)
def test_bad_input_is_refused(layer, input, error, message):
    with pytest.raises(error, match=f"{layer.__name__}: {message}"):
        layer(4, 6, 3, rngs=RNGS)(input)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.Conv(4, 6, 9, rngs=RNGS)(X), r"a kernel of size \(9,\) is too large for .* \(2, 7, 4\)"),
        (
            lambda: nn.Conv(4, 6, 3, padding=7, padding_mode="reflect", rngs=RNGS)(X),
            "padding 7 in mode 'reflect' is too much for 7 positions",
        ),
        (
            lambda: nn.Conv(4, 6, 3, padding=8, padding_mode="circular", rngs=RNGS)(X),
            "padding 8 in mode 'circular' is too much for 7 positions",
        ),
        (lambda: nn.Conv(2, 6, 3, axis=0, rngs=RNGS)(X), "examples along axis 0 and the channels along another"),
        (lambda: nn.Conv(4, 6, 3, axis=3, rngs=RNGS)(X), r"axis 3 does not exist in an input of shape \(2, 7, 4\)"),
        (lambda: nn.conv(X, KERNEL, np.ones(1)), r"conv: bias must have the shape \(4,\) .*, got \(1,\)"),
        (lambda: nn.conv_transpose(X, KERNEL, np.ones(1)), r"conv_transpose: bias must have the shape \(4,\) "),
        (lambda: nn.conv(X[0], KERNEL[0]), r"conv: kernel must have a shape \(\*kernel_size, .*, got \(4, 4\)"),
        (lambda: nn.conv_transpose(X[0], KERNEL[0, 0]), r"conv_transpose: kernel must have .*, got \(4,\)"),
        (lambda: nn.conv_transpose(X, KERNEL, output_padding=1), "output_padding must be below the stride or the dil"),
        (
            lambda: nn.ConvTranspose(4, 6, 3, stride=2, output_padding=2, rngs=RNGS),
            "ConvTranspose: output_padding must be below the stride or the dilation, got .2,. with stride .2,.",
        ),
        (lambda: nn.conv(X[:0], np.ones((9, 4, 6), np.float32)), "is too large for .* use more padding or a smaller"),
        (lambda: nn.conv_transpose(X, KERNEL, padding=5), r"padding \(5,\) is too much for .* have \(-1,\) positions"),
        (lambda: nn.conv_transpose(X[:, :2], KERNEL, padding=8), "use less padding or a larger kernel"),
        (
            lambda: nn.ConvTranspose(4, 6, 3, stride=2, rngs=RNGS)(X, (17,)),
            r"output_size must lie between .*15.* and .*16.*, got \(17,\)",
        ),
    ],
)
def test_sizes_that_do_not_fit_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("shape", [(2, 0, 4), (2, 3, 0, 4), (2, 0, 3, 4)])
def test_examples_without_positions_are_refused_whatever_the_padding(function, shape):
    kernel = jnp.ones((1,) * (len(shape) - 2) + (4, 4))
    for padding in (0, 1):
        with pytest.raises(ValueError, match=rf"^{function.__name__}: expected examples with positions, got an input"):
            function(jnp.ones(shape), kernel, padding=padding)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
def test_a_batch_may_be_empty(mode):
    layer = nn.Conv(4, 2, 3, padding=1, padding_mode=mode, rngs=nnx.Rngs(0))
    assert layer(X[:0]).shape == (0, 7, 2)
