"""Cases of connectionist temporal classification.

Both sides get logits: with respect to log-probabilities PyTorch's gradient contains that of the log-softmax.
"""

from functools import partial

import jax.numpy as jnp
import numpy as np
import optax
import torch.nn.functional as F

from jaxtrain import losses, nn
from parity.cases.losses._table import EACH, case, normal
from parity.draws import generator

FRAMES, BATCH, CLASSES, LONGEST = 12, 5, 6, 4
TARGETS = generator(0).integers(1, CLASSES, (BATCH, LONGEST))
TARGETS[0, 1] = TARGETS[0, 0]
INPUT_LENGTHS, TARGET_LENGTHS = np.array([12, 11, 9, 12, 7]), np.array([4, 3, 1, 0, 2])
JOINED = np.concatenate([row[:length] for row, length in zip(TARGETS, TARGET_LENGTHS, strict=True)])
LENGTHS = (INPUT_LENGTHS, TARGET_LENGTHS)
LOGITS = [normal(1, FRAMES, BATCH, CLASSES, scale=scale) for scale in (1.0, 4.0, 1e-3)]
BATCHES = [(logits, TARGETS, *LENGTHS) for logits in LOGITS]


def torch_ctc(logits, *arrays, **options):
    return F.ctc_loss(logits.log_softmax(-1), *arrays, **options)


def ctc(logits, *arrays, **options):
    return losses.ctc_loss(nn.log_softmax(logits), *arrays, **options)


def optax_ctc(logits, targets, input_lengths, target_lengths):
    frames = (jnp.arange(FRAMES) >= input_lengths[:, None]).astype(logits.dtype)
    labels = (jnp.arange(LONGEST) >= target_lengths[:, None]).astype(logits.dtype)
    return optax.ctc_loss(jnp.swapaxes(logits, 0, 1), frames, targets, labels)


CASES = [
    case(
        "ctc_loss",
        "padded targets",
        torch_ctc,
        BATCHES,
        {
            "all frames": lambda logits, targets, _, lengths, reduction: ctc(
                logits, targets, jnp.full(BATCH, FRAMES), lengths, reduction=reduction
            ),
            "last class blank": partial(ctc, blank=CLASSES - 1),
        },
        ours=ctc,
        reductions=EACH,
    ),
    case(
        "ctc_loss",
        "mean by target length",
        torch_ctc,
        BATCHES,
        {
            "mean of the losses, as optax": lambda *arrays: optax_ctc(*arrays).mean(),
            "divided by the total length": lambda *arrays: ctc(*arrays, reduction="sum") / TARGET_LENGTHS.sum(),
        },
        ours=ctc,
    ),
    case(
        "ctc_loss",
        "targets one after the other",
        torch_ctc,
        [(logits, JOINED, *LENGTHS) for logits in LOGITS],
        {"sum": partial(ctc, reduction="sum")},
        ours=ctc,
    ),
    case(
        "ctc_loss",
        "one sequence, last class blank",
        torch_ctc,
        [(logits[:, 0], TARGETS[0] - 1, np.int64(FRAMES), np.int64(LONGEST)) for logits in LOGITS],
        {"first class blank": ctc},
        ours=ctc,
        blank=CLASSES - 1,
    ),
    case(
        "ctc_loss",
        "infinite losses zero",
        torch_ctc,
        [(logits, np.ones_like(TARGETS), np.array([6, 11, 9, 12, 7]), np.full(BATCH, 4)) for logits in LOGITS],
        {"infinite": ctc},
        ours=ctc,
        zero_infinity=True,
    ),
    case(
        "ctc_loss",
        "infinite losses, undefined gradients",
        torch_ctc,
        [(logits, np.ones_like(TARGETS), np.array([6, 11, 9, 12, 7]), np.full(BATCH, 4)) for logits in LOGITS],
        {"zero": partial(ctc, zero_infinity=True)},
        ours=ctc,
        reductions=EACH,
    ),
]
