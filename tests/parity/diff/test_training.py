"""Known mistakes in training, as PyTorch computes them."""

import numpy as np
import torch

from parity import diff
from parity.diff.torch_side import recorded
from parity.diff.training.table import training_mistakes
from parity.diff.training.trajectory import trajectory


def test_the_decay_is_clipped_with_the_gradient():
    linear = torch.nn.Linear(3, 2).double()
    recipe = diff.Recipe(lambda module: torch.optim.SGD(module.parameters(), 0.1, weight_decay=0.5), max_norm=0.1)
    given = {name: np.ones(p.shape) for name, p in linear.named_parameters()}
    mistakes = {mistake.says: mistake.recipe for mistake in training_mistakes(linear, recipe)}
    changed = mistakes["the weight decay is added before the clipping, PyTorch adds it after"]
    (found,) = trajectory(linear, changed, [given], [1])
    start = {name: p.detach().numpy() for name, p in linear.named_parameters()}
    decayed = {name: gradient + 0.5 * start[name] for name, gradient in given.items()}
    norm = np.sqrt(sum((gradient**2).sum() for gradient in decayed.values()))
    for name, gradient in decayed.items():
        np.testing.assert_allclose(found[name], start[name] - 0.1 * gradient * 0.1 / (norm + 1e-6), rtol=1e-12)


def test_pytorch_has_gradients_where_the_caller_switched_them_off():
    with torch.no_grad():
        (step,) = recorded(
            torch.nn.Linear(3, 2), lambda module, x: module(x).mean(), [(np.ones((4, 3)),)], None, "float64"
        )
    assert step.gradients["weight"].any()
