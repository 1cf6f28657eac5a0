"""PyTorch: eager, with a fused optimizer, and compiled."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from parity.speed.runs.task import Cnn, Gpt, Mlp, Sgd, Task


def steps(task: Task, *, fused: bool = False, compiled: bool = False) -> Callable[[int], None]:
    """Steps on batches that lie on the device; the loss is read after each epoch.

    Args:
        task: the task.
        fused: the fused optimizer, and channels last for convolutions.
        compiled: both of these, and `torch.compile(mode="reduce-overhead")`, which uses CUDA graphs on a GPU.
    """
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")  # As JAX multiplies on a GPU.
    device = "cuda" if torch.cuda.is_available() else "cpu"
    images = isinstance(task.network, Cnn)
    layout = torch.channels_last if images and (fused or compiled) else torch.contiguous_format
    model = _module(task.network).to(device)
    model.to(memory_format=layout)  # pyright: ignore[reportCallIssue] PyTorch's stub does not have this call.
    optimizer, schedule = _optimizer(task, model, fused or compiled)
    (x, y), _ = task.data()
    size = task.batch_size
    inputs = torch.from_numpy(x).to(device)
    # Convolutions want the channels first; layers that follow tokens want integers of 64 bits.
    inputs = inputs.permute(0, 3, 1, 2).contiguous(memory_format=layout) if images else inputs
    batches = list(zip(inputs.split(size), torch.from_numpy(y).long().to(device).split(size), strict=True))

    def loss_fn(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(model(x).flatten(0, -2), y.flatten())

    loss_of = torch.compile(loss_fn, mode="reduce-overhead") if compiled else loss_fn

    def run(epochs: int) -> None:
        for _ in range(epochs):
            total = torch.zeros((), device=device)
            for x, y in batches:
                if compiled:
                    torch.compiler.cudagraph_mark_step_begin()
                optimizer.zero_grad(set_to_none=True)
                loss = loss_of(x, y)
                loss.backward()
                optimizer.step()
                if schedule is not None:
                    schedule.step()
                total += loss.detach()
            total.item()

    return run


def _optimizer(
    task: Task, model: nn.Module, fused: bool
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler | None]:
    params, chosen = model.parameters(), task.optimizer
    if isinstance(chosen, Sgd):
        sgd = torch.optim.SGD(
            params, chosen.lr, momentum=chosen.momentum, weight_decay=chosen.weight_decay, fused=fused or None
        )
        every = chosen.decay_every
        return sgd, torch.optim.lr_scheduler.StepLR(sgd, every, 0.99) if every else None
    if chosen.weight_decay:
        return torch.optim.AdamW(params, chosen.lr, weight_decay=chosen.weight_decay, fused=fused or None), None
    return torch.optim.Adam(params, chosen.lr, fused=fused or None), None


def _module(description: Mlp | Cnn | Gpt) -> nn.Module:
    match description:
        case Mlp():
            return _mlp(description)
        case Cnn():
            return _Cnn(description)
        case Gpt():
            return _Gpt(description)


def _mlp(description: Mlp) -> nn.Module:
    *hidden, last = pairwise(description.sizes)
    layers: list[nn.Module] = []
    for inside, out in hidden:
        layers.append(nn.Linear(inside, out))
        if description.batch_norm:
            layers.append(nn.BatchNorm1d(out))
        layers.append(nn.ReLU())
        if description.dropout:
            layers.append(nn.Dropout(description.dropout))
    return nn.Sequential(*layers, nn.Linear(*last))


class _Block(nn.Module):
    def __init__(self, inside: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inside, out, 3, stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.norm1, self.norm2 = nn.BatchNorm2d(out), nn.BatchNorm2d(out)
        same = (inside, stride) == (out, 1)
        self.shortcut = nn.Identity() if same else nn.Conv2d(inside, out, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class _Cnn(nn.Module):
    def __init__(self, description: Cnn) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, description.widths[0], 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(description.widths[0])
        self.blocks = nn.Sequential(*(_Block(*block) for block in description.blocks))
        self.out = nn.Linear(description.widths[-1], description.classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.blocks(F.relu(self.norm(self.stem(x)))).mean((2, 3)))


class _Attention(nn.Module):
    def __init__(self, description: Gpt) -> None:
        super().__init__()
        width = description.width
        self.heads = description.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows, length, width = x.shape
        parts = self.attend(self.norm1(x)).view(rows, length, 3, self.heads, width // self.heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(0)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.project(seen.transpose(1, 2).reshape(rows, length, width))
        return x + self.narrow(F.gelu(self.widen(self.norm2(x)), approximate="tanh"))


class _Gpt(nn.Module):
    def __init__(self, description: Gpt) -> None:
        super().__init__()
        self.tokens = nn.Embedding(description.vocabulary, description.width)
        self.places = nn.Parameter(0.02 * torch.randn(description.context, description.width))
        self.blocks = nn.Sequential(*(_Attention(description) for _ in range(description.depth)))
        self.norm = nn.LayerNorm(description.width)
        self.out = nn.Linear(description.width, description.vocabulary)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.out(self.norm(self.blocks(self.tokens(tokens) + self.places)))
