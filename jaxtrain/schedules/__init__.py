"""PyTorch's learning-rate schedules as pure functions `count -> value`, evaluated in float64."""

from ._schedule import Schedule as Schedule
from .composition import chained_scheduler as chained_scheduler
from .composition import sequential_lr as sequential_lr
from .cosine import cosine_annealing_lr as cosine_annealing_lr
from .cosine import cosine_annealing_warm_restarts as cosine_annealing_warm_restarts
from .cyclic import cyclic_lr as cyclic_lr
from .cyclic import cyclic_momentum as cyclic_momentum
from .epochs import per_epoch as per_epoch
from .functional import lambda_lr as lambda_lr
from .functional import multiplicative_lr as multiplicative_lr
from .linear import constant_lr as constant_lr
from .linear import linear_lr as linear_lr
from .linear import polynomial_lr as polynomial_lr
from .one_cycle import one_cycle_lr as one_cycle_lr
from .one_cycle import one_cycle_momentum as one_cycle_momentum
from .plateau import Plateau as Plateau
from .plateau import PlateauState as PlateauState
from .plateau import reduce_lr_on_plateau as reduce_lr_on_plateau
from .step import exponential_lr as exponential_lr
from .step import multi_step_lr as multi_step_lr
from .step import step_lr as step_lr
from .swa import swa_lr as swa_lr
