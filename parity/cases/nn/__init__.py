"""Cases of `jaxtrain.nn`, one file a layer."""

from parity.case import Case
from parity.cases.nn import (
    adaptive_softmax,
    attention,
    batch_norm,
    convolution,
    dropout,
    embedding,
    group_norm,
    instance_norm,
    layer_norm,
    linear,
    local_response_norm,
    recurrent,
    rms_norm,
    transformer,
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
    *recurrent.CASES,
    *attention.CASES,
    *transformer.CASES,
]
