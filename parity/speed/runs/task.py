"""What the runs train: a network, an optimizer and data, described without any library."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Mlp:
    """Linear layers with ReLU between them, and after each hidden layer dropout or a batch norm.

    Attributes:
        sizes: features, from the input to the classes.
        dropout: share of the features that are dropped.
        batch_norm: whether each hidden layer is normalized.
    """

    sizes: tuple[int, ...]
    dropout: float = 0.0
    batch_norm: bool = False

    @property
    def layers(self) -> list[tuple[int, int]]:
        """Features in and out of each linear layer."""
        return list(pairwise(self.sizes))


@dataclass(frozen=True)
class Cnn:
    """A stem, residual blocks of two convolutions at halved resolutions, the mean over the pixels, a linear layer."""

    widths: tuple[int, ...]
    size: int
    classes: int = 10

    @property
    def blocks(self) -> list[tuple[int, int, int]]:
        """Channels in and out of each block, and its stride."""
        before = (self.widths[0], *self.widths[:-1])
        return [
            (inside, out, 1 if index == 0 else 2)
            for index, (inside, out) in enumerate(zip(before, self.widths, strict=True))
        ]


@dataclass(frozen=True)
class Gpt:
    """Blocks of causal attention and two layers, each added to its normalized input."""

    width: int
    depth: int
    heads: int
    vocabulary: int
    context: int


@dataclass(frozen=True)
class Adam:
    """Adam; decoupled weight decay makes it AdamW."""

    lr: float
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Sgd:
    """SGD with momentum and weight decay; the rate is multiplied by 0.99 at every so many steps."""

    lr: float
    momentum: float = 0.9
    weight_decay: float = 0.0
    decay_every: int | None = None


@dataclass(frozen=True)
class Task:
    """A training run.

    Attributes:
        name: what the command selects it by.
        description: for the reader.
        network: the network.
        optimizer: the optimizer.
        batch_size: rows in a batch.
        steps: steps in an epoch.
        only_gpu: whether it is too large for a CPU.
    """

    name: str
    description: str
    network: Mlp | Cnn | Gpt
    optimizer: Adam | Sgd
    batch_size: int
    steps: int
    only_gpu: bool = False

    def data(self) -> tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Drawn inputs and labels: to train on, and a quarter of an epoch to validate on."""
        draws = np.random.default_rng(0)

        def drawn(rows: int) -> tuple[np.ndarray, np.ndarray]:
            match self.network:
                case Mlp(sizes=sizes):
                    shape, classes = (rows, sizes[0]), sizes[-1]
                case Cnn(size=size, classes=classes):
                    shape = (rows, size, size, 3)
                case Gpt(context=context, vocabulary=vocabulary):
                    tokens = draws.integers(0, vocabulary, (rows, context + 1), dtype=np.int32)
                    return tokens[:, :-1], tokens[:, 1:]
            return draws.standard_normal(shape, np.float32), draws.integers(0, classes, rows, dtype=np.int32)

        return drawn(self.batch_size * self.steps), drawn(self.batch_size * max(1, self.steps // 4))


TASKS = (
    Task(
        "train.mlp_dropout",
        "MLP 784-512-256-10, dropout, Adam, batch 128",
        Mlp((784, 512, 256, 10), dropout=0.5),
        Adam(1e-3),
        128,
        64,
    ),
    Task(
        "train.mlp_batch_norm",
        "MLP 784-512-256-10, batch norm, SGD, weight decay, schedule, batch 128",
        Mlp((784, 512, 256, 10), batch_norm=True),
        Sgd(0.05, weight_decay=1e-4, decay_every=16),
        128,
        64,
    ),
    Task("train.digits", "MLP 64-128-10, SGD, batch 64", Mlp((64, 128, 10)), Sgd(0.05), 64, 64),
    Task("train.cnn", "residual CNN 16/32/64, 32 x 32, SGD, batch 64", Cnn((16, 32, 64), 32), Sgd(0.05), 64, 8),
    Task(
        "train.gpt",
        "GPT of 4 layers, width 128, context 64, AdamW, batch 16",
        Gpt(128, 4, 4, 128, 64),
        Adam(3e-4, weight_decay=0.1),
        16,
        8,
    ),
    Task(
        "train.large_mlp",
        "MLP 4096 x 6, SGD, batch 8192",
        Mlp((4096,) * 6),
        Sgd(1e-3),
        8192,
        4,
        only_gpu=True,
    ),
)
