"""Intentional deviations of losses."""

import math

import jax
import jax.numpy as jnp
import torch
import torch.nn.functional as F

from jaxtrain import losses
from parity.deviations.deviation import Deviation


def gradient_of_ctc_loss() -> jax.Array:
    """With respect to the log-probability of the class, of two, at each of three steps."""
    uniform = jnp.full((3, 1, 2), math.log(0.5))
    one = jnp.ones(1, int)
    return jax.grad(lambda scores: losses.ctc_loss(scores, one[None], 3 * one, one))(uniform)[:, 0, 1]


def torch_gradient_of_ctc_loss() -> torch.Tensor:
    uniform = torch.full((3, 1, 2), math.log(0.5), requires_grad=True)
    return torch.autograd.grad(F.ctc_loss(uniform, torch.tensor([[1]]), (3,), (1,)), uniform)[0][:, 0, 1]


def torch_gradient_of_logit(logit: float) -> torch.Tensor:
    input = torch.tensor([logit], requires_grad=True)
    return torch.autograd.grad(F.binary_cross_entropy_with_logits(input, torch.ones(1)), input)[0]


DEVIATIONS: list[Deviation] = [
    Deviation(
        "losses.cross_entropy",
        "a class out of range (7 of 3)",
        "compiled code cannot raise; NaN shows the mistake, where indexing an array would clamp the class silently",
        lambda: losses.cross_entropy(jnp.zeros((1, 3)), jnp.array([7])),
        lambda: F.cross_entropy(torch.zeros(1, 3), torch.tensor([7])),
    ),
    Deviation(
        "losses.cross_entropy",
        "a class weight of 0 meets a logit of -inf",
        "a class without weight adds nothing",
        lambda: losses.cross_entropy(
            jnp.array([[0.0, -jnp.inf]]), jnp.array([0]), jnp.array([1.0, 0.0]), label_smoothing=0.1
        ),
        lambda: F.cross_entropy(
            torch.tensor([[0.0, -math.inf]]), torch.tensor([0]), torch.tensor([1.0, 0.0]), label_smoothing=0.1
        ),
    ),
    Deviation(
        "losses.binary_cross_entropy",
        "a probability of 1.5",
        "compiled code cannot raise",
        lambda: losses.binary_cross_entropy(jnp.array([1.5]), jnp.array([1.0])),
        lambda: F.binary_cross_entropy(torch.tensor([1.5]), torch.tensor([1.0])),
    ),
    Deviation(
        "losses.mse_loss",
        "shapes (2, 1) and (2,)",
        "broadcasting a loss is nearly always a mistake; PyTorch warns",
        lambda: losses.mse_loss(jnp.array([[1.0], [2.0]]), jnp.array([1.0, 2.0])),
        lambda: F.mse_loss(torch.tensor([[1.0], [2.0]]), torch.tensor([1.0, 2.0])),
    ),
    Deviation(
        "losses.rmse_loss",
        "gradient at zero error, against the root of `mse_loss`",
        "a perfect fit should not destroy the parameters",
        lambda: jax.grad(losses.rmse_loss)(jnp.ones(1), jnp.ones(1)),
        lambda: torch.autograd.grad(
            torch.sqrt(F.mse_loss(one := torch.ones(1, requires_grad=True), torch.ones(1))), one
        )[0],
    ),
    Deviation(
        "losses.binary_cross_entropy_with_logits",
        "gradient at a logit of 20 of class 1",
        "ours computes sigmoid(-20), PyTorch 1 - sigmoid(20), which rounds to 0",
        lambda: jax.grad(losses.binary_cross_entropy_with_logits)(jnp.array([20.0]), jnp.ones(1)),
        lambda: torch_gradient_of_logit(20.0),
    ),
    Deviation(
        "losses.soft_margin_loss",
        "a score of -100 where 1 is the target",
        "PyTorch's exponential overflows in float32",
        lambda: losses.soft_margin_loss(jnp.array([-100.0]), jnp.ones(1)),
        lambda: F.soft_margin_loss(torch.tensor([-100.0]), torch.ones(1)),
    ),
    Deviation(
        "losses.gaussian_nll_loss",
        "a variance of -1",
        "compiled code cannot raise",
        lambda: losses.gaussian_nll_loss(jnp.zeros(1), jnp.ones(1), -jnp.ones(1)),
        lambda: F.gaussian_nll_loss(torch.zeros(1), torch.ones(1), -torch.ones(1)),
    ),
    Deviation(
        "losses.ctc_loss",
        "gradient with respect to log-probabilities",
        "ours is the gradient of the loss alone; PyTorch's includes a log-softmax before it, with which both agree",
        gradient_of_ctc_loss,
        torch_gradient_of_ctc_loss,
    ),
]
