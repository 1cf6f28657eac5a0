"""Two networks that train against each other leave `fit`: one compiled step of the halves of two states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from torch.nn import functional as F

from jaxtrain import losses, nn, optim
from jaxtrain.train import TrainState

from .recipes import assert_same_weights, loaded

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("float64")]


def drawn(step: int) -> tuple[np.ndarray, np.ndarray]:
    """Real images and noise."""
    random = np.random.default_rng(step)
    return random.normal(size=(5, 4, 4, 1)), random.normal(size=(5, 1, 1, 3))


def channels_first(x: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(x).permute(0, 3, 1, 2)


def states(optimizer) -> tuple[TrainState, TrainState, torch.nn.Module, torch.nn.Module]:
    """A generator and a discriminator in both frameworks."""
    torch.manual_seed(0)
    maker = torch.nn.Sequential(
        *(torch.nn.ConvTranspose2d(3, 4, 2, bias=False), torch.nn.BatchNorm2d(4), torch.nn.ReLU()),
        *(torch.nn.ConvTranspose2d(4, 1, 2, 2, bias=False), torch.nn.Tanh()),
    )
    judge = torch.nn.Sequential(
        *(torch.nn.Conv2d(1, 4, 2, 2, bias=False), torch.nn.BatchNorm2d(4), torch.nn.LeakyReLU(0.2)),
        *(torch.nn.Conv2d(4, 1, 2, bias=False), torch.nn.Flatten(0)),
    )
    rngs = nnx.Rngs(0)
    ours = [
        nnx.Sequential(
            *(nn.ConvTranspose(3, 4, (2, 2), bias=False, rngs=rngs), nn.BatchNorm(4), nnx.relu),
            *(nn.ConvTranspose(4, 1, (2, 2), 2, bias=False, rngs=rngs), jnp.tanh),
        ),
        nnx.Sequential(
            *(nn.Conv(1, 4, (2, 2), 2, bias=False, rngs=rngs), nn.BatchNorm(4)),
            *(lambda x: nnx.leaky_relu(x, 0.2), nn.Conv(4, 1, (2, 2), bias=False, rngs=rngs), jnp.ravel),
        ),
    ]
    generator, discriminator = (
        TrainState.create(loaded(module, theirs), optimizer)
        for module, theirs in zip(ours, (maker, judge), strict=True)
    )
    return generator, discriminator, maker, judge


def test_dcgan():
    """pytorch/examples/dcgan: the discriminator sees real images and fakes in two passes, then the generator learns."""
    generator, discriminator, maker, judge = states(optim.adam(2e-3, betas=(0.5, 0.999)))

    def loss_of(judge, images, is_real):
        logits = judge(images)
        return losses.binary_cross_entropy_with_logits(logits, jnp.full_like(logits, is_real))

    def judged(judge, images, fakes):
        return loss_of(judge, images, 1.0) + loss_of(judge, fakes, 0.0)

    def made(maker, noise, discriminator):
        judge = discriminator.model(train=True)
        return loss_of(judge, maker(noise), 1.0), discriminator.with_model(judge)

    @jax.jit
    def step(generator, discriminator, images, noise):
        maker = generator.model(train=True)
        fakes = maker(noise)  # PyTorch makes the fakes once; its batch norm counts them once.
        gradients, loss_d, _, discriminator = discriminator.gradients(judged, images, fakes)
        discriminator = discriminator.apply_gradients(gradients)
        gradients, loss_g, discriminator, generator = generator.gradients(made, noise, discriminator)
        return generator.apply_gradients(gradients), discriminator, loss_d, loss_g

    optimizers = [torch.optim.Adam(net.parameters(), lr=2e-3, betas=(0.5, 0.999)) for net in (judge, maker)]
    criterion = F.binary_cross_entropy_with_logits
    for number in range(3):
        images, noise = drawn(number)
        generator, discriminator, *found = step(generator, discriminator, images, noise)
        of_judge, of_maker = optimizers
        of_judge.zero_grad()
        fakes, ones, zeros = maker(channels_first(noise)), torch.ones(5), torch.zeros(5)
        loss_d = criterion(judge(channels_first(images)), ones) + criterion(judge(fakes.detach()), zeros)
        loss_d.backward()
        of_judge.step()
        of_maker.zero_grad()
        loss_g = criterion(judge(fakes), ones)
        loss_g.backward()
        of_maker.step()
        np.testing.assert_allclose(found, [loss_d.item(), loss_g.item()], rtol=1e-9)
    assert_same_weights(generator, maker)
    assert_same_weights(discriminator, judge)
    assert int(discriminator.model_state["layers"][1]["num_batches_tracked"]) == 9


def test_wgan_gp():
    """The penalty is a gradient within the loss: `jax.grad` inside it; two steps of the critic for one of the maker."""
    torch.manual_seed(0)
    maker = torch.nn.Linear(3, 2)
    critic = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
    rngs, adam = nnx.Rngs(0), optim.adam(1e-2, betas=(0.0, 0.9))
    ours = nnx.Sequential(nn.Linear(2, 8, rngs=rngs), jnp.tanh, nn.Linear(8, 1, rngs=rngs))
    generator = TrainState.create(loaded(nn.Linear(3, 2, rngs=rngs), maker), adam)
    judge = TrainState.create(loaded(ours, critic), adam)

    def distance(critic, points, fakes, share):
        between = share * points + (1 - share) * fakes
        slopes = jax.vmap(jax.grad(lambda point: critic(point)[0]))(between)
        penalty = 10 * ((jnp.linalg.norm(slopes, axis=-1) - 1) ** 2).mean()
        return critic(fakes).mean() - critic(points).mean() + penalty

    @jax.jit
    def step(generator, judge, points, noise, shares):
        found = []
        for real, share in zip(points, shares, strict=True):
            gradients, loss, _, judge = judge.gradients(distance, real, generator.model()(noise), share)
            judge = judge.apply_gradients(gradients)
            found.append(loss)
        gradients, *_, generator = generator.gradients(lambda maker: -judge.model()(maker(noise)).mean())
        return generator.apply_gradients(gradients), judge, found

    of_critic, of_maker = (torch.optim.Adam(net.parameters(), lr=1e-2, betas=(0.0, 0.9)) for net in (critic, maker))
    for number in range(3):
        random = np.random.default_rng(number)
        points, noise, shares = (
            random.normal(size=(2, 6, 2)),
            random.normal(size=(6, 3)),
            random.uniform(size=(2, 6, 1)),
        )
        generator, judge, found = step(generator, judge, points, noise, shares)
        truth = []
        for real, share in zip(torch.as_tensor(points), torch.as_tensor(shares), strict=True):
            of_critic.zero_grad()
            fakes = maker(torch.as_tensor(noise)).detach()
            between = (share * real + (1 - share) * fakes).requires_grad_()
            (slopes,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
            penalty = 10 * ((slopes.norm(dim=-1) - 1) ** 2).mean()
            loss = critic(fakes).mean() - critic(real).mean() + penalty
            loss.backward()
            of_critic.step()
            truth.append(loss.item())
        np.testing.assert_allclose(found, truth, rtol=1e-9)
        of_maker.zero_grad()
        (-critic(maker(torch.as_tensor(noise))).mean()).backward()
        of_maker.step()
    assert_same_weights(generator, maker)
    assert_same_weights(judge, critic)
