"""A small U-Net in the middle of a one-cycle schedule: two groups, amsgrad, cycled betas."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx

from jaxtrain import interop, losses, nn, optim
from jaxtrain.train import TrainState, make_train_step

GENERATOR = np.random.default_rng(0)
IMAGES, LABELS = GENERATOR.normal(size=(2, 3, 8, 8)), GENERATOR.integers(0, 2, (2, 8, 8))


class Theirs(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down = torch.nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = torch.nn.GroupNorm(4, 8)
        self.up = torch.nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)
        self.head = torch.nn.Conv2d(7, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        up = torch.relu(self.up(torch.relu(self.norm(self.down(x)))))
        return self.head(torch.cat([up, x], 1))


class Ours(nnx.Module):
    def __init__(self) -> None:
        options = {"rngs": nnx.Rngs(0), "param_dtype": jnp.float64}
        self.down = nn.Conv(3, 8, (3, 3), stride=2, padding=1, **options)
        self.norm = nn.GroupNorm(4, 8, param_dtype=jnp.float64)
        self.up = nn.ConvTranspose(8, 4, (3, 3), stride=2, padding=1, output_padding=1, **options)
        self.head = nn.Conv(7, 2, (1, 1), **options)

    def __call__(self, x):
        up = nnx.relu(self.up(nnx.relu(self.norm(self.down(x)))))
        return self.head(jnp.concatenate([up, x], -1))


@pytest.mark.usefixtures("float64")
def test_the_next_ten_steps_are_pytorchs() -> None:
    torch.manual_seed(0)
    model = Theirs().double()
    named = dict(model.named_parameters())
    names = sorted(named, key=lambda name: named[name].ndim == 1)  # The second group is of vectors, without decay.
    groups = [{"params": [named[name] for name in names if (named[name].ndim == 1) == is_flat]} for is_flat in (0, 1)]
    groups[0]["weight_decay"], groups[1]["weight_decay"] = 0.05, 0.0
    optimizer = torch.optim.AdamW(groups, lr=1e-3, amsgrad=True)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=[1e-2, 5e-3], total_steps=40)

    def torch_step() -> float:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(torch.from_numpy(IMAGES)), torch.from_numpy(LABELS))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        scheduler.step()
        return loss.item()

    for _ in range(12):
        torch_step()
    saved, cycle = optimizer.state_dict(), scheduler.state_dict()
    rates = [interop.schedule_from_torch(cycle, group, optimizer=saved) for group in (0, 1)]
    betas = (interop.momentum_from_torch(cycle, optimizer=saved), 0.999)
    adam = interop.optimizer_from_torch(saved, kind="AdamW", lr=rates, groups=["kernel$", None], betas=betas)
    state = TrainState.create(Ours(), optax.chain(optim.clip_grad_norm(0.5), adam))
    state = interop.load_state_dict(state, model.state_dict())
    for name, array in interop.state_dict(state).items():
        np.testing.assert_array_equal(array, model.state_dict()[name].numpy(), strict=True)
    state = interop.load_scheduler(interop.load_optimizer(state, saved, names), cycle)
    step = make_train_step(lambda model, batch: losses.cross_entropy(model(batch[0]), batch[1]))
    for _ in range(10):
        state, metrics = step(state, (np.moveaxis(IMAGES, 1, -1), LABELS))
        assert float(metrics["loss"].value) == pytest.approx(torch_step(), rel=1e-12)

    rates_now = interop.scheduler_state_dict(22, scheduler.state_dict(), optimizer=saved)["_last_lr"]
    back = interop.optimizer_state_dict(state, optimizer.state_dict(), names, lr=rates_now)
    for number, own in optimizer.state_dict()["state"].items():
        for key, tensor in own.items():
            np.testing.assert_allclose(back["state"][number][key], tensor.numpy(), rtol=1e-9, atol=1e-12)
    assert [group["lr"] for group in back["param_groups"]] == pytest.approx(
        [group["lr"] for group in optimizer.param_groups], rel=1e-12
    )
