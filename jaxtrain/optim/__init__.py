"""Optimizers as Optax transformations, with PyTorch's names, defaults and numbers."""

from jaxtrain.optim.adadelta import AdadeltaState as AdadeltaState
from jaxtrain.optim.adadelta import adadelta as adadelta
from jaxtrain.optim.adafactor import AdafactorState as AdafactorState
from jaxtrain.optim.adafactor import adafactor as adafactor
from jaxtrain.optim.adagrad import AdagradState as AdagradState
from jaxtrain.optim.adagrad import adagrad as adagrad
from jaxtrain.optim.adam import AdamState as AdamState
from jaxtrain.optim.adam import adam as adam
from jaxtrain.optim.adam import adamw as adamw
from jaxtrain.optim.adamax import AdamaxState as AdamaxState
from jaxtrain.optim.adamax import adamax as adamax
from jaxtrain.optim.asgd import ASGDState as ASGDState
from jaxtrain.optim.asgd import asgd as asgd
from jaxtrain.optim.clipping import clip_grad_norm as clip_grad_norm
from jaxtrain.optim.clipping import clip_grad_value as clip_grad_value
from jaxtrain.optim.nadam import NAdamState as NAdamState
from jaxtrain.optim.nadam import nadam as nadam
from jaxtrain.optim.radam import RAdamState as RAdamState
from jaxtrain.optim.radam import radam as radam
from jaxtrain.optim.rmsprop import RMSpropState as RMSpropState
from jaxtrain.optim.rmsprop import rmsprop as rmsprop
from jaxtrain.optim.rprop import RpropState as RpropState
from jaxtrain.optim.rprop import rprop as rprop
from jaxtrain.optim.sgd import SGDState as SGDState
from jaxtrain.optim.sgd import sgd as sgd
