"""The train step, compiled once, and the loop around it."""

from jaxtrain.train.batch_statistics import update_bn as update_bn
from jaxtrain.train.data import Batches as Batches
from jaxtrain.train.evaluation import evaluate as evaluate
from jaxtrain.train.evaluation import predict as predict
from jaxtrain.train.listeners.checkpoints import Checkpoints as Checkpoints
from jaxtrain.train.listeners.early_stopping import EarlyStopping as EarlyStopping
from jaxtrain.train.listeners.guard import NonFiniteLossError as NonFiniteLossError
from jaxtrain.train.listeners.history import History as History
from jaxtrain.train.listeners.logs import CsvLog as CsvLog
from jaxtrain.train.listeners.logs import JsonLinesLog as JsonLinesLog
from jaxtrain.train.listeners.plateau import ReduceLROnPlateau as ReduceLROnPlateau
from jaxtrain.train.listeners.protocol import Listener as Listener
from jaxtrain.train.listeners.protocol import Run as Run
from jaxtrain.train.listeners.protocol import StopRun as StopRun
from jaxtrain.train.loop import fit as fit
from jaxtrain.train.metrics import Average as Average
from jaxtrain.train.placement import Placement as Placement
from jaxtrain.train.rates import learning_rates as learning_rates
from jaxtrain.train.rates import set_learning_rate as set_learning_rate
from jaxtrain.train.state import TrainState as TrainState
from jaxtrain.train.step import make_eval_step as make_eval_step
from jaxtrain.train.step import make_train_step as make_train_step
