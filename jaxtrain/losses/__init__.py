"""Losses: pure functions with the names, arguments and numbers of `torch.nn.functional`."""

from .binary import binary_cross_entropy as binary_cross_entropy
from .binary import binary_cross_entropy_with_logits as binary_cross_entropy_with_logits
from .classification import cross_entropy as cross_entropy
from .classification import nll_loss as nll_loss
from .probabilistic import kl_div as kl_div
from .regression import huber_loss as huber_loss
from .regression import l1_loss as l1_loss
from .regression import mse_loss as mse_loss
from .regression import rmse_loss as rmse_loss
from .regression import smooth_l1_loss as smooth_l1_loss
