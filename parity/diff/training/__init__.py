"""The optimizers of both sides on PyTorch's gradients, and the known mistakes in training."""

from parity.diff.training.mistake import TrainingMistake as TrainingMistake
from parity.diff.training.table import training_mistakes as training_mistakes
from parity.diff.training.trajectory import Arrays as Arrays
from parity.diff.training.trajectory import trajectory as trajectory
