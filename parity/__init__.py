"""Numerical parity with PyTorch, proven by executing it."""

from parity.check import check_layer as check_layer
from parity.check import check_loss as check_loss
from parity.check import check_optimizer as check_optimizer
from parity.check import check_schedule as check_schedule
