"""Flax NNX layers with PyTorch's arguments, defaults and numbers, and their mathematics as pure functions."""

from jaxtrain.nn import initializers as initializers
from jaxtrain.nn.batch_norm import BatchNorm as BatchNorm
from jaxtrain.nn.batch_norm import batch_norm as batch_norm
from jaxtrain.nn.dropout import Dropout as Dropout
from jaxtrain.nn.dropout import dropout as dropout
from jaxtrain.nn.layer_norm import LayerNorm as LayerNorm
from jaxtrain.nn.layer_norm import layer_norm as layer_norm
from jaxtrain.nn.linear import Linear as Linear
from jaxtrain.nn.linear import linear as linear
