"""A DCGAN on handwritten digits: two networks, two optimizers, one compiled step that keeps every batch statistic.

    python examples/gan.py                                  200 epochs on 8 x 8 digits of scikit-learn
    python examples/gan.py --picture examples/figures/gan.png

Judges the generator by a classifier of real digits: how often each digit appears among 1000 fakes, and how sure the
classifier is of them. Exits non-zero if a digit is missing or the fakes are blurred. JAX chooses the device.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import cast

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
from flax import nnx
from matplotlib import pyplot as plt
from sklearn.datasets import load_digits

from jaxtrain import losses, nn, optim
from jaxtrain.train import Batches, TrainState, fit, predict

BATCH, NOISE = 64, 32
FAKES, REQUIRED_SHARE, REQUIRED_SURE = 1000, 0.02, 0.5


class Generator(nnx.Module):
    """From noise to images: 2 x 2, 4 x 4 and 8 x 8 pixels."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.start = nn.ConvTranspose(NOISE, 64, (2, 2), bias=False, rngs=rngs)
        self.middle = nn.ConvTranspose(64, 32, (4, 4), 2, padding=1, bias=False, rngs=rngs)
        self.end = nn.ConvTranspose(32, 1, (4, 4), 2, padding=1, rngs=rngs)
        self.norm1, self.norm2 = nn.BatchNorm(64), nn.BatchNorm(32)

    def __call__(self, noise: jax.Array) -> jax.Array:
        x = nnx.relu(self.norm1(self.start(noise[:, None, None])))
        x = nnx.relu(self.norm2(self.middle(x)))
        return jnp.tanh(self.end(x))


class Discriminator(nnx.Module):
    """From images to one logit: real or not."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.start = nn.Conv(1, 32, (4, 4), 2, padding=1, rngs=rngs)
        self.middle = nn.Conv(32, 64, (4, 4), 2, padding=1, bias=False, rngs=rngs)
        self.end = nn.Conv(64, 1, (2, 2), rngs=rngs)
        self.norm = nn.BatchNorm(64)

    def __call__(self, images: jax.Array) -> jax.Array:
        x = nnx.leaky_relu(self.start(images), 0.2)
        x = nnx.leaky_relu(self.norm(self.middle(x)), 0.2)
        return self.end(x).reshape(-1)


def real_or_fake(discriminator: Discriminator, images: jax.Array, label: float) -> jax.Array:
    logits = discriminator(images)
    return losses.binary_cross_entropy_with_logits(logits, jnp.full_like(logits, label))


def discriminator_loss(discriminator: Discriminator, real: jax.Array, fakes: jax.Array) -> jax.Array:
    """Real and fake images are two batches, as in PyTorch's example, and batch norm sees one after the other."""
    return real_or_fake(discriminator, real, 1.0) + real_or_fake(discriminator, fakes, 0.0)


def generator_loss(generator: Generator, noise: jax.Array, judge: TrainState) -> tuple[jax.Array, TrainState]:
    """The loss, and the discriminator with the statistics of these fakes."""
    discriminator = cast(Discriminator, judge.model(train=True))
    return real_or_fake(discriminator, generator(noise), 1.0), judge.with_model(discriminator)


@jax.jit
def step(generator: TrainState, discriminator: TrainState, real: jax.Array) -> tuple[TrainState, TrainState, jax.Array]:
    """One update of both, as in PyTorch's example: the generator learns from the discriminator's new weights."""
    noise = jax.random.normal(generator.step_key(), (len(real), NOISE))
    fakes = generator.model(train=True)(noise)  # Its batch norms count them below, once, as in PyTorch.
    gradients, loss, _, discriminator = discriminator.gradients(discriminator_loss, real, fakes)
    discriminator = discriminator.apply_gradients(gradients)
    gradients, _, discriminator, generator = generator.gradients(generator_loss, noise, discriminator)
    return generator.apply_gradients(gradients), discriminator, loss


def classify(model: nnx.Module, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
    images, labels = batch
    return losses.cross_entropy(model(images), labels)


def judged(fakes: np.ndarray, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The probability of each digit, (fakes, 10), by a classifier of the real ones."""
    rngs = nnx.Rngs(0)
    network = nnx.Sequential(
        nn.Conv(1, 32, (3, 3), padding=1, rngs=rngs), nnx.relu, nn.flatten, nn.Linear(32 * 64, 10, rngs=rngs)
    )
    state = TrainState.create(network, optim.adam(1e-3))
    state, _ = fit(state, classify, (images, labels), epochs=10, batch_size=BATCH, progress=False)
    return predict(state, lambda model, x: jax.nn.softmax(model(x)), fakes)


def draw(fakes: np.ndarray, path: Path) -> None:
    mpl.use("Agg")
    framed = np.pad(fakes.reshape(8, 16, 8, 8), ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-1)
    wall = framed.transpose(0, 2, 1, 3).reshape(80, 160)
    figure, axes = plt.subplots(figsize=(10, 5), layout="constrained")
    axes.imshow(wall, cmap="gray_r", vmin=-1, vmax=1)
    axes.set_axis_off()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train a GAN on handwritten digits.")
    parser.add_argument("--epochs", type=int, default=200, help="passes over the digits; default: %(default)s")
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the weights, the noise and the order of the digits; default: %(default)s",
    )
    parser.add_argument("--picture", type=Path, help="file for a picture of 128 fakes, such as gan.png; default: none")
    options = parser.parse_args(arguments)
    begin = time.perf_counter()

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8, 1) / 8 - 1).astype(np.float32)
    adam = optim.adam(5e-4, betas=(0.5, 0.999))
    generator = TrainState.create(Generator(nnx.Rngs(options.seed)), adam, key=options.seed)
    discriminator = TrainState.create(Discriminator(nnx.Rngs(options.seed + 1)), adam, key=options.seed + 1)
    batches = Batches(images, BATCH, shuffle=True, seed=options.seed, drop_last=True)
    loss = jnp.nan
    for epoch in range(options.epochs):
        for real in batches.epoch(epoch):
            generator, discriminator, loss = step(generator, discriminator, real)

    noise = np.random.default_rng(options.seed).normal(size=(FAKES, NOISE)).astype(np.float32)
    fakes = predict(generator, lambda model, noise: model(noise), noise)
    probabilities = judged(fakes, images, labels.astype(np.int32))
    shares = np.bincount(probabilities.argmax(axis=1), minlength=10) / FAKES
    sure = float((probabilities.max(axis=1) > 0.9).mean())
    print("share of each digit:", " ".join(f"{digit}: {share:.1%}" for digit, share in enumerate(shares)))
    print(f"{sure:.1%} of {FAKES} fakes are taken for one digit with more than 90 %")
    print(f"loss of the discriminator {float(loss):.2f}; {time.perf_counter() - begin:.1f} s in all")
    if options.picture:
        draw(fakes[:128], options.picture)
        print(f"wrote {options.picture}")
    if shares.min() < REQUIRED_SHARE or sure < REQUIRED_SURE:
        print(f"FAIL: expected {REQUIRED_SHARE:.0%} of every digit, and {REQUIRED_SURE:.0%} that are clear")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
