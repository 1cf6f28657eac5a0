"""The kinds of cases: how a component and its PyTorch counterpart are run side by side."""

from parity.kinds.layer import LayerCase as LayerCase
from parity.kinds.loss import LossCase as LossCase
from parity.kinds.optimizer import OptimizerCase as OptimizerCase
from parity.kinds.plateau import PlateauCase as PlateauCase
from parity.kinds.schedule import ScheduleCase as ScheduleCase
