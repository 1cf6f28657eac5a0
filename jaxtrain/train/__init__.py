"""The train step, compiled once, and the loop around it."""

from jaxtrain.train.batch_statistics import update_bn as update_bn
from jaxtrain.train.data import Batches as Batches
from jaxtrain.train.history import History as History
from jaxtrain.train.history import learning_rates as learning_rates
from jaxtrain.train.loop import NonFiniteLossError as NonFiniteLossError
from jaxtrain.train.loop import evaluate as evaluate
from jaxtrain.train.loop import fit as fit
from jaxtrain.train.metrics import Average as Average
from jaxtrain.train.progress import Progress as Progress
from jaxtrain.train.state import TrainState as TrainState
from jaxtrain.train.step import make_eval_step as make_eval_step
from jaxtrain.train.step import make_train_step as make_train_step
