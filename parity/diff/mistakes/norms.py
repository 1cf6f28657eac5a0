"""Mistakes in norms."""

from collections.abc import Iterator

import torch
from torch.nn import functional as F

from parity.diff.intercept import FunctionCall
from parity.diff.mistakes.mistake import Mistake

EPSILONS = (1e-3, 1e-5, 1e-6, 1e-8, 1e-12, 0.0)
MOMENTA = (0.9, 0.99, 0.1, 0.01, 0.001)
NORMS = {"layer_norm", "batch_norm", "group_norm", "instance_norm", "rms_norm"}


def epsilon(call: FunctionCall) -> Iterator[Mistake]:
    given = call.get("eps", 1e-5)
    if given is None:
        given = torch.finfo(call.first.dtype).eps
    for eps in EPSILONS:
        if eps != given:
            yield Mistake(
                f"ε of the norm is {eps:g}, PyTorch's is {given:g}",
                f"pass ε={given:g} (Flax calls it epsilon; its default is 1e-6)",
                lambda call, eps=eps: call(eps=eps),
            )


def _parts(call: FunctionCall, axes: list[int], unbiased: bool = False, centred: bool = True, inside: bool = True):
    """A norm written out: over `axes`, with variants of its variance."""
    x, eps = call.first, call.get("eps", 1e-5)
    eps = torch.finfo(x.dtype).eps if eps is None else eps
    mean = x.mean(axes, keepdim=True) if centred else 0.0
    variance = x.var(axes, unbiased=unbiased, keepdim=True) if centred else x.square().mean(axes, keepdim=True)
    y = (x - mean) / (torch.sqrt(variance + eps) if inside else torch.sqrt(variance) + eps)
    return y


def _affine(call: FunctionCall, y: torch.Tensor, shape: list[int] | None = None) -> torch.Tensor:
    weight, bias = call.get("weight"), call.get("bias")
    if shape is not None:
        weight, bias = (v if v is None else v.reshape(shape) for v in (weight, bias))
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def layer_norm_formula(call: FunctionCall) -> Iterator[Mistake]:
    axes = list(range(-len(call.get("normalized_shape")), 0))
    yield Mistake(
        "the variance of the layer norm is the unbiased one (divided by n - 1), PyTorch's is biased",
        "use jnp.var(x, ddof=0)",
        lambda call: _affine(call, _parts(call, axes, unbiased=True)),
    )
    yield Mistake(
        "the layer norm adds ε outside of the root, PyTorch inside",
        "divide by jnp.sqrt(variance + eps)",
        lambda call: _affine(call, _parts(call, axes, inside=False)),
    )
    yield Mistake(
        "the layer norm adds ε outside of the root of an unbiased variance",
        "divide by jnp.sqrt(jnp.var(x) + eps)",
        lambda call: _affine(call, _parts(call, axes, unbiased=True, inside=False)),
    )
    yield Mistake(
        "it is an RMS norm (the mean is not subtracted), PyTorch's is a layer norm",
        "subtract the mean",
        lambda call: _affine(call, _parts(call, axes, centred=False)),
    )
    if call.first.ndim > 2:
        yield Mistake(
            "the layer norm also runs over the axis before the last",
            "normalize over the last axis alone",
            lambda call: _affine(call, _parts(call, [-2, -1])),
        )


def rms_norm_formula(call: FunctionCall) -> Iterator[Mistake]:
    axes = list(range(-len(call.get("normalized_shape")), 0))
    yield Mistake(
        "it is a layer norm (the mean is subtracted), PyTorch's is an RMS norm",
        "do not subtract the mean",
        lambda call: _affine(call, _parts(call, axes)),
    )
    yield Mistake(
        "the RMS norm multiplies by 1 + weight, PyTorch by weight",
        "multiply by weight",
        lambda call: call(weight=1 + call.get("weight")),
    )


def affine_left_out(call: FunctionCall) -> Iterator[Mistake]:
    if call.get("bias") is not None:
        yield Mistake("the norm has no bias, PyTorch's has one", "pass use_bias=True", lambda call: call(bias=None))
    if call.get("weight") is not None:
        yield Mistake(
            "the norm has no weight, PyTorch's has one", "pass use_scale=True", lambda call: call(weight=None)
        )


def left_out(call: FunctionCall) -> Iterator[Mistake]:
    yield Mistake("the norm is left out", "call it", lambda call: call.first.clone())


def _with_statistics(call: FunctionCall, momentum: float, biased: bool) -> torch.Tensor:
    x, mean, var = call.first, call.get("running_mean"), call.get("running_var")
    result = call(running_mean=None, running_var=None)
    axes = [axis for axis in range(x.ndim) if axis != 1]
    with torch.no_grad():
        mean.lerp_(x.mean(axes), momentum)
        var.lerp_(x.var(axes, unbiased=not biased), momentum)
    return result


def batch_statistics(call: FunctionCall) -> Iterator[Mistake]:
    training, given = call.get("training", False), call.get("momentum", 0.1)
    if call.get("running_mean") is None:
        return
    if training:
        yield Mistake(
            "the running variance takes the biased variance of the batch (divided by n), PyTorch the unbiased one",
            "multiply the batch's variance by n / (n - 1) in the running average, or use jaxtrain.nn.BatchNorm",
            lambda call: _with_statistics(call, given, True),
        )
        for momentum in (1 - given, *MOMENTA):
            if momentum != given:
                for biased in (False, True):
                    yield Mistake(
                        f"a new batch weighs {momentum:g} in the running statistics, in PyTorch {given:g}"
                        + (", and the variance is the biased one" if biased else ""),
                        f"PyTorch's momentum={given:g} is Flax's momentum={1 - given:g}",
                        lambda call, momentum=momentum, biased=biased: _with_statistics(call, momentum, biased),
                    )
        yield Mistake(
            "the running statistics are not updated",
            "return and keep the new statistics (mutable=['batch_stats'] in Linen)",
            lambda call: call(running_mean=None, running_var=None),
        )
        yield Mistake(
            "the batch norm uses its running statistics in training",
            "call model.train(), or pass use_running_average=False",
            lambda call: call(training=False),
        )
    else:
        yield Mistake(
            "the batch norm normalizes by the statistics of the batch in evaluation",
            "call model.eval(), or pass use_running_average=True",
            lambda call: call(running_mean=None, running_var=None, training=True),
        )
        yield Mistake(
            "the batch norm is in training mode, PyTorch's in evaluation mode",
            "call model.eval(), or pass use_running_average=True",
            lambda call: call(training=True),
        )


def batch_norm_formula(call: FunctionCall) -> Iterator[Mistake]:
    if call.get("training", False):
        axes = [axis for axis in range(call.first.ndim) if axis != 1]
        shape = [1, -1, *[1] * (call.first.ndim - 2)]

        def unbiased(call: FunctionCall) -> torch.Tensor:
            call()  # The running statistics move.
            return _affine(call, _parts(call, axes, unbiased=True), shape)

        yield Mistake(
            "the batch norm normalizes by the unbiased variance, PyTorch by the biased one", "use ddof=0", unbiased
        )


def groups(call: FunctionCall) -> Iterator[Mistake]:
    given, channels = call.get("num_groups"), call.first.shape[1]
    for count in range(1, channels + 1):
        if channels % count == 0 and count != given:
            yield Mistake(
                f"the group norm has {count} groups, PyTorch's has {given}",
                f"pass num_groups={given}",
                lambda call, count=count: call(num_groups=count),
            )
    if given and channels % given == 0:

        def interleaved(call: FunctionCall) -> torch.Tensor:
            x, size = call.first, channels // given
            order = torch.arange(channels).reshape(size, given).T.reshape(-1)
            y = F.group_norm(x[:, order], given, eps=call.get("eps", 1e-5))[:, torch.argsort(order)]
            return _affine(call, y, [1, -1, *[1] * (x.ndim - 2)])

        yield Mistake(
            "the channels of a group are interleaved, PyTorch's lie next to each other",
            "reshape the channels to (groups, channels of a group)",
            interleaved,
        )


RULES = (
    (NORMS, (epsilon,)),
    ({"layer_norm"}, (layer_norm_formula,)),
    ({"rms_norm"}, (rms_norm_formula,)),
    ({"batch_norm"}, (batch_statistics, batch_norm_formula)),
    ({"group_norm"}, (groups,)),
    (NORMS, (affine_left_out, left_out)),
)
