"""What people train in PyTorch, by `fit` alone and by PyTorch's own loop: networks of many kinds."""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from torch.nn import functional as F

from jaxtrain import losses, nn, optim, schedules
from jaxtrain.train import (
    ReduceLROnPlateau,
    TrainState,
    fit,
)

from .recipes import QUIET, assert_same_weights, cut, labels, loaded, looped, rows

pytestmark = pytest.mark.usefixtures("float64")


@pytest.mark.long
def test_mnist():
    """pytorch/examples/mnist: Adadelta, a rate that falls every epoch, the accuracy on held-out images."""
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(
        *(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Conv2d(4, 4, 3), torch.nn.ReLU()),
        *(torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(16, 10), torch.nn.LogSoftmax(1)),
    )
    rngs = nnx.Rngs(0)
    ours = nnx.Sequential(
        *(nn.Conv(1, 4, (3, 3), rngs=rngs), nnx.relu, nn.Conv(4, 4, (3, 3), rngs=rngs), nnx.relu),
        *(partial(nn.max_pool, kernel_size=2), nn.flatten, nn.Linear(16, 10, rngs=rngs), nn.log_softmax),
    )
    data, held_out = (rows(20, 8, 8, 1), labels(20, 10)), (rows(12, 8, 8, 1, seed=1), labels(12, 10))

    def loss_fn(model, batch):
        images, y = batch
        scores = model(images)
        return losses.nll_loss(scores, y), {"accuracy": scores.argmax(-1) == y}

    lr = schedules.per_epoch(schedules.step_lr(1.0, step_size=1, gamma=0.7))
    state = TrainState.create(loaded(ours, theirs), optim.adadelta(lr))
    state, history = fit(state, loss_fn, data, validation=held_out, epochs=3, batch_size=8, **QUIET)

    optimizer, right = torch.optim.Adadelta(theirs.parameters(), lr=1.0), []
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)

    def tested():
        scheduler.step()
        scores = theirs(torch.as_tensor(held_out[0]).permute(0, 3, 1, 2))
        right.append((scores.argmax(1).numpy() == held_out[1]).mean())

    truth = looped(
        lambda x, y: F.nll_loss(theirs(x.permute(0, 3, 1, 2)), y),
        optimizer,
        cut(data, 8),
        range(3),
        after_epoch=tested,
    )
    np.testing.assert_allclose(history["loss"], truth, rtol=1e-9)
    np.testing.assert_allclose(history["val_accuracy"], right, rtol=1e-12)
    assert_same_weights(state, theirs)


class TorchGpt(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe = torch.nn.Embedding(11, 8), torch.nn.Embedding(6, 8)
        self.ln_1, self.ln_2, self.ln_f = (torch.nn.LayerNorm(8, bias=False) for _ in range(3))
        self.c_attn, self.c_proj = torch.nn.Linear(8, 24), torch.nn.Linear(8, 8)
        self.c_fc, self.mlp_proj = torch.nn.Linear(8, 32), torch.nn.Linear(32, 8)
        self.lm_head = torch.nn.Linear(8, 11, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.wte(tokens) + self.wpe(torch.arange(6))
        heads = (part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.c_attn(self.ln_1(x)).split(8, dim=-1))
        x = x + self.c_proj(F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2))
        x = x + self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x))))
        return self.lm_head(self.ln_f(x))


class Gpt(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.wte, self.wpe = nn.Embedding(11, 8, rngs=rngs), nn.Embedding(6, 8, rngs=rngs)
        self.ln_1, self.ln_2, self.ln_f = (nn.LayerNorm(8, bias=False) for _ in range(3))
        self.c_attn, self.c_proj = nn.Linear(8, 24, rngs=rngs), nn.Linear(8, 8, rngs=rngs)
        self.c_fc, self.mlp_proj = nn.Linear(8, 32, rngs=rngs), nn.Linear(32, 8, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = self.wte(tokens) + self.wpe(jnp.arange(6))[None]
        parts = jnp.split(self.c_attn(self.ln_1(x)), 3, axis=-1)
        heads = (part.reshape(*part.shape[:-1], 2, 4).swapaxes(1, 2) for part in parts)
        seen = nn.scaled_dot_product_attention(*heads, is_causal=True).swapaxes(1, 2)
        x = x + self.c_proj(seen.reshape(x.shape))
        x = x + self.mlp_proj(nn.gelu(self.c_fc(self.ln_2(x))))
        return self.ln_f(x) @ self.wte.embedding[...].T


@pytest.mark.long
def test_nanogpt():
    """karpathy/nanoGPT: tied weights, decay of matrices only, warm-up and cosine by steps, clipping, micro-batches."""
    torch.manual_seed(0)
    theirs = TorchGpt()
    ours = loaded(Gpt(nnx.Rngs(0)), theirs, ignore=["^lm_head"])

    def batches(epoch):
        """Random windows, as many as the script has steps between two evaluations."""
        random = np.random.default_rng(epoch)
        for _ in range(3):
            tokens = random.integers(0, 11, size=(4, 7))
            yield tokens[:, :-1], tokens[:, 1:]

    def share(step, cos, where):
        return where(step < 2, (step + 1) / 3, 0.1 + 0.45 * (1 + cos(math.pi * (step - 2) / 6)))

    adamw = optim.param_groups(
        optim.adamw,
        {"(kernel|embedding)$": {"weight_decay": 0.1}, None: {"weight_decay": 0.0}},
        lr=schedules.lambda_lr(1e-2, lambda step: share(step, jnp.cos, jnp.where)),
        betas=(0.9, 0.95),
    )
    state = TrainState.create(ours, optax.chain(optim.clip_grad_norm(1.0), adamw))
    state, history = fit(
        state,
        lambda model, batch: losses.cross_entropy(model(batch[0]), batch[1]),
        batches,
        epochs=2,
        accumulate=2,
        progress=False,
    )

    matrices = [one for one in theirs.parameters() if one.ndim > 1]
    vectors = [one for one in theirs.parameters() if one.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}],
        lr=1e-2,
        betas=(0.9, 0.95),
    )
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: share(step, math.cos, lambda condition, yes, no: yes if condition else no)
    )

    def loss_of(x, y):
        parts = zip(x.split(2), y.split(2), strict=True)
        return sum(F.cross_entropy(theirs(x).flatten(0, 1), y.flatten()) / 2 for x, y in parts)

    truth = looped(
        loss_of,
        optimizer,
        batches,
        range(2),
        before_step=lambda: torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0),
        after_step=scheduler.step,
    )
    np.testing.assert_allclose(history["loss"], truth, rtol=1e-9)
    assert_same_weights(state, theirs)


class TorchVae(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc21, self.fc22 = torch.nn.Linear(9, 8), torch.nn.Linear(8, 2), torch.nn.Linear(8, 2)
        self.fc3, self.fc4 = torch.nn.Linear(2, 8), torch.nn.Linear(8, 9)


class Vae(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.fc1, self.fc21, self.fc22 = (nn.Linear(*sizes, rngs=rngs) for sizes in ((9, 8), (8, 2), (8, 2)))
        self.fc3, self.fc4 = nn.Linear(2, 8, rngs=rngs), nn.Linear(8, 9, rngs=rngs)


def autoencoded(model, x, noise, relu, exp):
    """The logits of the pixels, the means and the logarithms of the variances, in either framework."""
    hidden = relu(model.fc1(x))
    mean, log_variance = model.fc21(hidden), model.fc22(hidden)
    return model.fc4(relu(model.fc3(mean + noise * exp(0.5 * log_variance)))), mean, log_variance


@pytest.mark.long
def test_vae():
    """pytorch/examples/vae. Its noise would come from the argument `key` of the loss; here both frameworks get it."""
    torch.manual_seed(0)
    theirs = TorchVae()
    data = np.random.default_rng(0).uniform(size=(20, 9)), rows(20, 2)

    def loss_fn(model, batch):
        x, noise = batch
        logits, mean, log_variance = autoencoded(model, x, noise, nnx.relu, jnp.exp)
        reconstruction = losses.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return reconstruction - 0.5 * jnp.sum(1 + log_variance - mean**2 - jnp.exp(log_variance))

    def loss_of(x, noise):
        logits, mean, log_variance = autoencoded(theirs, x, noise, F.relu, torch.exp)
        reconstruction = F.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        return reconstruction - 0.5 * torch.sum(1 + log_variance - mean**2 - log_variance.exp())

    state = TrainState.create(loaded(Vae(nnx.Rngs(0)), theirs), optim.adam(1e-2))
    state, history = fit(state, loss_fn, data, epochs=3, batch_size=8, **QUIET)
    truth = looped(loss_of, torch.optim.Adam(theirs.parameters(), lr=1e-2), cut(data, 8), range(3))
    np.testing.assert_allclose(history["loss"], truth, rtol=1e-9)
    assert_same_weights(state, theirs)


class TorchWords(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.rnn = torch.nn.Embedding(7, 4), torch.nn.LSTM(4, 5, batch_first=True)
        self.decoder = torch.nn.Linear(5, 7)

    def forward(self, tokens: torch.Tensor, hx: Any = None) -> Any:
        output, hx = self.rnn(self.encoder(tokens), hx)
        return self.decoder(output), hx


class Words(nnx.Module):
    def __init__(self, texts: int, rngs: nnx.Rngs) -> None:
        self.encoder, self.rnn = nn.Embedding(7, 4, rngs=rngs), nn.LSTM(4, 5, rngs=rngs)
        self.decoder = nn.Linear(5, 7, rngs=rngs)
        self.carried = nnx.Variable(jnp.zeros((2, 1, texts, 5)))

    def __call__(self, tokens: jax.Array, hx: Any = None) -> Any:
        output, hx = self.rnn(self.encoder(tokens), hx)
        return self.decoder(output), hx


def test_word_language_model():
    """pytorch/examples/word_language_model: a state carried from batch to batch, annealing when nothing improves.

    The carried state is a variable of the module like a running statistic, so that a checkpoint has it. The first batch
    of an epoch says so.
    """
    torch.manual_seed(0)
    theirs = TorchWords()
    text, held_out = np.random.default_rng(0).integers(0, 7, size=(3, 13)), np.arange(9)[None] % 7
    windows = [(text[:, i : i + 4], text[:, i + 1 : i + 5], np.float64(i == 0)) for i in (0, 4, 8)]

    def loss_fn(model, batch):
        x, y, first = batch
        logits, hx = model(x, tuple(model.carried[...] * (1 - first)))
        model.carried[...] = jnp.stack(hx)
        return losses.cross_entropy(logits, y)

    ours = loaded(Words(3, nnx.Rngs(0)), theirs, ignore=["^carried$"])
    optimizer = optax.chain(optim.clip_grad_norm(0.25), optax.inject_hyperparams(optim.sgd)(lr=20.0))
    rule = schedules.reduce_lr_on_plateau(20.0, factor=0.25, patience=0, threshold=0.0)
    state, history = fit(
        TrainState.create(ours, optimizer),
        loss_fn,
        windows,
        validation=[(held_out[:, :-1], held_out[:, 1:])],
        metrics_fn=lambda model, batch: losses.cross_entropy(model(batch[0])[0], batch[1]),
        epochs=5,
        listeners=[ReduceLROnPlateau("val_loss", rule)],
        progress=False,
    )

    sgd = torch.optim.SGD(theirs.parameters(), lr=20.0)
    hx: Any = None
    validated, rates = [], []

    def loss_of(x, y, first):
        nonlocal hx
        hx = None if first else tuple(part.detach() for part in hx)
        logits, hx = theirs(x, hx)
        return F.cross_entropy(logits.flatten(0, 1), y.flatten())

    def validate():
        x, y = torch.as_tensor(held_out[:, :-1]), torch.as_tensor(held_out[:, 1:])
        validated.append(F.cross_entropy(theirs(x)[0].flatten(0, 1), y.flatten()).item())
        rates.append(sgd.param_groups[0]["lr"])
        if validated[-1] >= min([math.inf, *validated[:-1]]):
            sgd.param_groups[0]["lr"] /= 4

    truth = looped(
        loss_of,
        sgd,
        lambda epoch: windows,
        range(5),
        before_step=lambda: torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.25),
        after_epoch=validate,
    )
    np.testing.assert_allclose(history["loss"], truth, rtol=1e-9)
    np.testing.assert_allclose(history["val_loss"], validated, rtol=1e-9)
    assert history["lr"] == rates
    assert len(set(rates)) > 1
    assert_same_weights(state, theirs)


@pytest.mark.long
def test_metric_learning():
    """Triplets: what `fit` gets as a batch is any pytree of arrays."""
    torch.manual_seed(0)
    theirs = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    rngs = nnx.Rngs(0)
    ours = nnx.Sequential(nn.Linear(4, 8, rngs=rngs), nnx.relu, nn.Linear(8, 3, rngs=rngs))
    data = tuple(rows(20, 4, seed=seed) for seed in range(3))

    def loss_fn(model, batch):
        return losses.triplet_margin_loss(*(nn.normalize(model(part)) for part in batch), margin=0.5)

    state = TrainState.create(loaded(ours, theirs), optim.adamw(1e-2))
    state, history = fit(state, loss_fn, data, epochs=3, batch_size=8, **QUIET)
    truth = looped(
        lambda *batch: F.triplet_margin_loss(*(F.normalize(theirs(part)) for part in batch), margin=0.5),
        torch.optim.AdamW(theirs.parameters(), lr=1e-2),
        cut(data, 8),
        range(3),
    )
    np.testing.assert_allclose(history["loss"], truth, rtol=1e-9)
    assert_same_weights(state, theirs)


class TorchSpeech(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.rnn = torch.nn.LSTM(3, 5, batch_first=True, bidirectional=True)
        self.out = torch.nn.Linear(10, 4)


class Speech(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.rnn, self.out = nn.LSTM(3, 5, bidirectional=True, rngs=rngs), nn.Linear(10, 4, rngs=rngs)


@pytest.mark.long
def test_ctc():
    """Speech: frames and labels of different lengths, padded; packed sequences are the argument `lengths`."""
    torch.manual_seed(0)
    theirs = TorchSpeech()
    targets = np.random.default_rng(1).integers(1, 4, size=(12, 3))
    data = rows(12, 8, 3), targets, np.array([8, 7, 6] * 4), np.array([3, 1, 2] * 4)

    def loss_fn(model, batch):
        frames, targets, input_lengths, target_lengths = batch
        scores = nn.log_softmax(model.out(model.rnn(frames, lengths=input_lengths)[0]))
        return losses.ctc_loss(scores.swapaxes(0, 1), targets, input_lengths, target_lengths)

    def loss_of(frames, targets, input_lengths, target_lengths):
        packed = torch.nn.utils.rnn.pack_padded_sequence(frames, input_lengths, batch_first=True, enforce_sorted=False)
        output, _ = torch.nn.utils.rnn.pad_packed_sequence(theirs.rnn(packed)[0], batch_first=True)
        scores = theirs.out(output).log_softmax(-1)
        return F.ctc_loss(scores.transpose(0, 1), targets, input_lengths, target_lengths)

    state = TrainState.create(loaded(Speech(nnx.Rngs(0)), theirs), optim.adam(1e-2))
    state, history = fit(state, loss_fn, data, epochs=2, batch_size=6, **QUIET)
    truth = looped(loss_of, torch.optim.Adam(theirs.parameters(), lr=1e-2), cut(data, 6), range(2))
    np.testing.assert_allclose(history["loss"], truth, rtol=1e-9)
    assert_same_weights(state, theirs)
