"""Listeners: everything that follows a run."""

from jaxtrain.train.listeners.guard import NonFiniteGuard as NonFiniteGuard
from jaxtrain.train.listeners.guard import NonFiniteLossError as NonFiniteLossError
from jaxtrain.train.listeners.history import History as History
from jaxtrain.train.listeners.progress import Bar as Bar
from jaxtrain.train.listeners.progress import Lines as Lines
from jaxtrain.train.listeners.protocol import Listener as Listener
from jaxtrain.train.listeners.protocol import Run as Run
from jaxtrain.train.listeners.protocol import StopRun as StopRun
