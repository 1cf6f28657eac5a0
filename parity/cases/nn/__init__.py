"""Cases of `jaxtrain.nn`, one file a layer."""

from parity.case import Case
from parity.cases.nn import (
    activations,
    adaptive_softmax,
    batch_norm,
    bilinear,
    convolution,
    distances,
    dropout,
    embedding,
    embedding_bag,
    group_norm,
    instance_norm,
    interpolation,
    layer_norm,
    linear,
    local_response_norm,
    pooling,
    rearranging,
    rms_norm,
)

CASES: list[Case] = [
    *linear.CASES,
    *convolution.CASES,
    *embedding.CASES,
    *adaptive_softmax.CASES,
    *dropout.CASES,
    *batch_norm.CASES,
    *layer_norm.CASES,
    *group_norm.CASES,
    *instance_norm.CASES,
    *rms_norm.CASES,
    *local_response_norm.CASES,
    *activations.CASES,
    *pooling.CASES,
    *interpolation.CASES,
    *distances.CASES,
    *rearranging.CASES,
    *bilinear.CASES,
    *embedding_bag.CASES,
]
