"""A small GPT that learns to write Python from the sources of Python's own library.

    python examples/text.py                        train and write a sample
    python examples/text.py --run runs/text        keep checkpoints: killed, the same command goes on where it was

AdamW with weight decay on matrices only, one cycle of the rate, clipped gradients, each batch in two parts. Exits
non-zero if the loss on held-out text stays above 2.0 nats a byte (a guess among all bytes is 4.9). JAX chooses the
device.
"""

import argparse
import sys
import sysconfig
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jaxtrain import losses, nn, optim, schedules
from jaxtrain.train import Checkpoints, TrainState, fit

VOCABULARY, CONTEXT, BATCH, REQUIRED = 128, 64, 64, 2.0


class Block(nnx.Module):
    """Attention to what came before, then two layers, each added to its input."""

    def __init__(self, width: int, heads: int, rngs: nnx.Rngs) -> None:
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attend, self.project = nn.Linear(width, 3 * width, rngs=rngs), nn.Linear(width, width, rngs=rngs)
        self.widen, self.narrow = nn.Linear(width, 4 * width, rngs=rngs), nn.Linear(4 * width, width, rngs=rngs)
        self.drop = nn.Dropout(0.1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        heads = self.attend(self.norm1(x)).reshape(*x.shape[:-1], 3, self.heads, -1)
        seen = jax.nn.dot_product_attention(*(heads[..., i, :, :] for i in range(3)), is_causal=True)
        x = x + self.drop(self.project(seen.reshape(x.shape)))
        return x + self.drop(self.narrow(jax.nn.gelu(self.widen(self.norm2(x)))))


class GPT(nnx.Module):
    """Logits of the next byte at every position."""

    def __init__(self, width: int, depth: int, rngs: nnx.Rngs) -> None:
        initial = nnx.initializers.normal(0.02)
        self.bytes = nn.Embedding(VOCABULARY, width, embedding_init=initial, rngs=rngs)
        self.places = nn.Embedding(CONTEXT, width, embedding_init=initial, rngs=rngs)
        self.blocks = nnx.List([Block(width, 4, rngs) for _ in range(depth)])
        self.norm, self.out = nn.LayerNorm(width), nn.Linear(width, VOCABULARY, bias=False, rngs=rngs)

    def __call__(self, tokens: jax.Array) -> jax.Array:
        x = self.bytes(tokens) + self.places(jnp.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x))


def loss_fn(model: GPT, tokens: jax.Array) -> jax.Array:
    return losses.cross_entropy(model(tokens[:, :-1]), tokens[:, 1:])


def windows(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of CONTEXT + 1 bytes from the first `size` bytes of library sources: to train on, and held out."""
    folder = Path(sysconfig.get_path("stdlib"))
    text = b""
    for path in sorted(folder.glob("*.py")):
        if len(text) >= size:
            break
        text += path.read_bytes()
    tokens = np.minimum(np.frombuffer(text[:size], np.uint8), VOCABULARY - 1).astype(np.int32)
    rows = (len(tokens) - 1) // CONTEXT
    pieces = np.stack([tokens[row * CONTEXT : (row + 1) * CONTEXT + 1] for row in range(rows)])
    held_out = rows // 10
    return pieces[:-held_out], pieces[-held_out:]


def sample(state: TrainState, beginning: str, length: int, temperature: float = 0.7) -> str:
    """The beginning, and what the model writes after it."""
    model = state.model()

    def write(window: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        byte = jax.random.categorical(key, model(window[None])[0, -1] / temperature)
        return jnp.append(window[1:], byte), byte

    window = jnp.array(list(beginning.rjust(CONTEXT, "\n").encode()))
    keys = jax.random.split(jax.random.key(0), length)
    _, written = jax.jit(lambda window, keys: jax.lax.scan(write, window, keys))(window, keys)
    return beginning + bytes(written.tolist()).decode("ascii", "replace")


def new_state(width: int, depth: int, epochs: int, *, seed: int = 0) -> TrainState:
    """Network and optimizer before the first of so many epochs."""
    # From 3e-5 up to 3e-3, and down to 3e-4; `fit` tells how many steps an epoch has.
    lr = schedules.one_cycle_lr(3e-3, epochs=epochs, pct_start=0.15, div_factor=100.0, final_div_factor=0.1)
    decayed = optim.param_groups(
        optim.adamw,
        {"kernel$": {"weight_decay": 0.1}, None: {"weight_decay": 0.0}},
        lr=lr,
        betas=(0.9, 0.95),
    )
    model = GPT(width, depth, nnx.Rngs(seed))
    return TrainState.create(model, optax.chain(optim.clip_grad_norm(1.0), decayed), key=seed)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Train a small GPT on Python's library sources.")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the text; default: %(default)s")
    parser.add_argument("--bytes", type=int, default=600_000, help="how much text, in bytes; default: %(default)s")
    parser.add_argument("--width", type=int, default=64, help="features of each position; default: %(default)s")
    parser.add_argument("--depth", type=int, default=2, help="number of transformer layers; default: %(default)s")
    parser.add_argument(
        "--run",
        type=Path,
        help="folder for checkpoints, from which the command goes on when it is run again; default: none",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the weights, the dropout and the order of the text; default: %(default)s",
    )
    options = parser.parse_args(arguments)
    begin = time.perf_counter()

    train, held_out = windows(options.bytes)
    state, history = fit(
        new_state(options.width, options.depth, options.epochs, seed=options.seed),
        loss_fn,
        train,
        validation=held_out,
        epochs=options.epochs,
        batch_size=BATCH,
        accumulate=2,
        seed=options.seed,
        listeners=[Checkpoints(options.run)] if options.run else [],
    )
    loss = history["val_loss"][-1]
    print(sample(state, "def read(", 300))
    print(f"{loss:.3f} nats a byte on {held_out[:, 1:].size} held-out bytes")
    print(f"{time.perf_counter() - begin:.1f} s in all")
    if loss > REQUIRED:
        print(f"FAIL: the loss is above {REQUIRED}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
