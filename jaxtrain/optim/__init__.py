"""Optimizers as Optax transformations, with PyTorch's names, defaults and numbers."""

from jaxtrain.optim.adam import AdamState as AdamState
from jaxtrain.optim.adam import adam as adam
from jaxtrain.optim.adam import adamw as adamw
from jaxtrain.optim.clipping import clip_grad_norm as clip_grad_norm
from jaxtrain.optim.clipping import clip_grad_value as clip_grad_value
from jaxtrain.optim.rmsprop import RMSpropState as RMSpropState
from jaxtrain.optim.rmsprop import rmsprop as rmsprop
from jaxtrain.optim.sgd import SGDState as SGDState
from jaxtrain.optim.sgd import sgd as sgd
