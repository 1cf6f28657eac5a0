"""A residual CNN: label smoothing, one cycle or warm-up and cosine, an average of the weights, bfloat16 by option.

    python examples/cnn.py                         handwritten digits of 8 x 8 pixels, from scikit-learn
    python examples/cnn.py --data DIR              CIFAR-10 (binary version) or MNIST (IDX files) in DIR
    python examples/cnn.py --schedule cosine       a linear warm-up and a cosine in place of one cycle
    python examples/cnn.py --bfloat16              mixed precision
    python examples/cnn.py --data-parallel         each batch spread over all devices; try it on a CPU with
                                                   --cpu-devices 8

Prints the accuracy of the averaged weights and exits non-zero if the digits' stays below 97 %. JAX chooses the device:
the same command runs on a GPU or TPU.
"""

import argparse
import gzip
import sys
import time
from pathlib import Path

import jax
import numpy as np
import optax
from flax import nnx

from jaxtrain import losses, nn, optim, schedules
from jaxtrain.train import Curves, Placement, Precision, TrainState, fit

BATCH, REQUIRED = 64, 0.97
Images = tuple[np.ndarray, np.ndarray]
"""Images (rows, height, width, channels) as bytes, and labels."""


class Block(nnx.Module):
    """Two convolutions around which the input is added."""

    def __init__(self, width: int, out: int, stride: int, rngs: nnx.Rngs) -> None:
        self.conv1 = nn.Conv(width, out, (3, 3), stride, padding=1, bias=False, rngs=rngs)
        self.conv2 = nn.Conv(out, out, (3, 3), padding=1, bias=False, rngs=rngs)
        self.norm1, self.norm2 = nn.BatchNorm(out), nn.BatchNorm(out)
        self.shortcut = None if (width, stride) == (out, 1) else nn.Conv(width, out, (1, 1), stride, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = nnx.relu(self.norm1(self.conv1(x)))
        return nnx.relu(self.norm2(self.conv2(y)) + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nnx.Module):
    """A stem, blocks at halved resolutions, and the mean over the pixels."""

    def __init__(self, channels: int, widths: tuple[int, ...], rngs: nnx.Rngs) -> None:
        self.stem = nn.Conv(channels, widths[0], (3, 3), padding=1, bias=False, rngs=rngs)
        self.norm = nn.BatchNorm(widths[0])
        before = (widths[0], *widths[:-1])
        self.blocks = nnx.List(
            [Block(a, b, 1 if i == 0 else 2, rngs) for i, (a, b) in enumerate(zip(before, widths, strict=True))]
        )
        self.out = nn.Linear(widths[-1], 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = nnx.relu(self.norm(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return self.out(x.mean(axis=(1, 2)))


def loss_fn(model: ResNet, batch: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, dict[str, jax.Array]]:
    images, labels = batch
    logits = model(images)
    return losses.cross_entropy(logits, labels, label_smoothing=0.1), {"accuracy": logits.argmax(-1) == labels}


def read_digits() -> tuple[Images, Images]:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8, 1) * (255 / 16)).astype(np.uint8)
    rows = train_test_split(np.arange(len(images)), test_size=0.2, random_state=0, stratify=labels)
    train, test = ((images[part], labels[part]) for part in rows)
    return train, test


def read_cifar(folder: Path) -> tuple[Images, Images]:
    """CIFAR-10, binary version: a byte for the label and 3 x 32 x 32 bytes for the image, again and again."""

    def read(*names: str) -> Images:
        parts = [np.frombuffer((folder / name).read_bytes(), np.uint8) for name in names]
        for name, part in zip(names, parts, strict=True):
            if part.size == 0 or part.size % 3073:
                raise ValueError(f"{folder / name}: expected records of 3073 bytes, got {part.size} bytes")
        rows = np.concatenate(parts).reshape(-1, 3073)
        if rows[:, 0].max() > 9:
            raise ValueError(f"{folder}: expected labels from 0 to 9, got {rows[:, 0].max()}; is it CIFAR-100?")
        return rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 0]

    return read(*(f"data_batch_{number}.bin" for number in range(1, 6))), read("test_batch.bin")


def read_mnist(folder: Path) -> tuple[Images, Images]:
    """MNIST in IDX files, compressed or not."""

    def read(name: str, axes: int) -> np.ndarray:
        path = folder / name
        data = path.read_bytes() if path.exists() else gzip.decompress(path.with_name(f"{name}.gz").read_bytes())
        if data[:4] != bytes([0, 0, 8, axes]):
            raise ValueError(f"{path}: expected an IDX file of bytes with {axes} axes, got one that begins {data[:4]}")
        shape = np.frombuffer(data, ">i4", axes, offset=4)
        if len(data) != 4 + 4 * axes + shape.prod(dtype=np.int64):
            raise ValueError(f"{path}: expected {shape.prod()} bytes for the shape {shape}, got {len(data)} in all")
        return np.frombuffer(data, np.uint8, offset=4 + 4 * axes).reshape(shape)

    train, test = (
        (read(f"{part}-images-idx3-ubyte", 3)[..., None], read(f"{part}-labels-idx1-ubyte", 1))
        for part in ("train", "t10k")
    )
    return train, test


def read(folder: Path | None) -> tuple[Images, Images]:
    """Training and test images, scaled to mean 0 and deviation 1 in each channel."""
    if folder is None:
        train, test = read_digits()
    elif (folder / "data_batch_1.bin").exists():
        train, test = read_cifar(folder)
    elif any(folder.glob("train-images-idx3-ubyte*")):
        train, test = read_mnist(folder)
    else:
        raise FileNotFoundError(f"{folder}: expected data_batch_1.bin (CIFAR-10) or train-images-idx3-ubyte (MNIST)")
    mean, deviation = train[0].mean((0, 1, 2)), train[0].std((0, 1, 2))
    scaled = [(((x - mean) / deviation).astype(np.float32), y.astype(np.int32)) for x, y in (train, test)]
    return scaled[0], scaled[1]


def schedule(name: str, peak: float, epochs: int) -> schedules.Schedule:
    """The learning rate of every step."""
    if name == "onecycle":
        return schedules.one_cycle_lr(peak, epochs=epochs)
    warm_up = schedules.linear_lr(peak, start_factor=0.01, total_iters=1)
    cosine = schedules.cosine_annealing_lr(peak, T_max=max(1, epochs - 1))
    return schedules.per_epoch(schedules.sequential_lr([warm_up, cosine], [1]), fractional=True)


def new_state(
    channels: int, widths: tuple[int, ...], lr: schedules.Schedule, *, bfloat16: bool = False, seed: int = 0
) -> TrainState:
    """Network, optimizer and average before the first step."""
    sgd = optim.sgd(lr, momentum=0.9, nesterov=True, weight_decay=5e-4)
    return TrainState.create(
        ResNet(channels, widths, nnx.Rngs(seed)),
        optax.chain(optim.clip_grad_norm(1.0), sgd),
        key=seed,
        precision=Precision("bfloat16") if bfloat16 else None,
        average=optim.averaged_model(optim.get_ema_avg_fn(0.98), use_buffers=True),
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train a residual CNN on images.")
    parser.add_argument("--data", type=Path, help="folder with CIFAR-10 or MNIST; default: scikit-learn's digits")
    parser.add_argument("--epochs", type=int, default=12, help="passes over the training data; default: %(default)s")
    parser.add_argument(
        "--schedule",
        choices=["onecycle", "cosine"],
        default="onecycle",
        help="of the learning rate; default: %(default)s",
    )
    parser.add_argument("--bfloat16", action="store_true", help="compute in bfloat16; default: float32")
    parser.add_argument(
        "--data-parallel", action="store_true", help="spread each batch over all devices; default: use one"
    )
    parser.add_argument("--cpu-devices", type=int, metavar="N", help="make N devices of the CPU; default: one")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the weights and of the order of the images; default: %(default)s"
    )
    parser.add_argument("--curves", type=Path, help="file for a picture of the curves, such as cnn.png; default: none")
    options = parser.parse_args(arguments)
    if options.cpu_devices:
        jax.config.update("jax_num_cpu_devices", options.cpu_devices)
    begin = time.perf_counter()

    train, test = read(options.data)
    widths = (16, 32) if options.data is None else (16, 32, 64)
    lr = schedule(options.schedule, 0.2, options.epochs)
    state = new_state(train[0].shape[-1], widths, lr, bfloat16=options.bfloat16, seed=options.seed)
    listeners = [Curves(options.curves)] if options.curves else []
    _, history = fit(
        state,
        loss_fn,
        train,
        validation=test,
        epochs=options.epochs,
        batch_size=BATCH,
        seed=options.seed,
        placement=Placement() if options.data_parallel else None,
        listeners=listeners,
    )
    accuracy = history["val_accuracy"][-1]  # Of the averaged weights, as the state has them.
    print(f"averaged weights: {accuracy:.2%} of {len(test[1])} test images right")
    spread = f" on {jax.device_count()} devices" if options.data_parallel else ""
    print(f"{time.perf_counter() - begin:.1f} s in all{spread}")
    if options.data is None and accuracy < REQUIRED:
        print(f"FAIL: the accuracy is below {REQUIRED:.0%}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
