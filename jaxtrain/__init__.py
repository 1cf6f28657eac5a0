"""PyTorch's training, compiled by JAX: the same names, defaults and numbers."""

from jaxtrain import losses as losses
from jaxtrain import nn as nn
from jaxtrain import optim as optim
from jaxtrain import regularization as regularization
from jaxtrain import schedules as schedules
from jaxtrain import train as train

__version__ = "0.1.0"
