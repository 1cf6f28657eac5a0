"""Many runs of one recipe: sweeps, searches, and the learning-rate range test."""

from jaxtrain.tune.lr_find import RangeTest as RangeTest
from jaxtrain.tune.lr_find import lr_find as lr_find
from jaxtrain.tune.outcome import Outcome as Outcome
from jaxtrain.tune.pruning import PruneTrial as PruneTrial
from jaxtrain.tune.search import search as search
from jaxtrain.tune.sweep import sweep as sweep
from jaxtrain.tune.values import grid as grid
