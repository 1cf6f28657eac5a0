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


class Tokens(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.token = torch.nn.Parameter(torch.ones(1, 1, 2).double())
        self.weight, self.bias = (
            torch.nn.Parameter(torch.ones(2, 2).double()),
            torch.nn.Parameter(torch.ones(2).double()),
        )


def test_tables_may_decay_by_mistake_while_vectors_do_not():
    def optimizer(module):
        groups = [{"params": [module.weight]}, {"params": [module.token, module.bias], "weight_decay": 0.0}]
        return torch.optim.SGD(groups, 0.1, weight_decay=0.5)

    module = Tokens()
    mistakes = {mistake.says: mistake.recipe for mistake in training_mistakes(module, diff.Recipe(optimizer))}
    (changed,) = (
        recipe for says, recipe in mistakes.items() if says.startswith("all arrays of two or more axes decay")
    )
    given = {name: np.zeros(p.shape) for name, p in module.named_parameters()}
    (found,) = trajectory(module, changed, [given], [1])
    assert {name: float(array.flat[0]) for name, array in found.items()} == {"token": 0.95, "weight": 0.95, "bias": 1.0}
