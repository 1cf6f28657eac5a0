"""The kinds of cases: how a component and its PyTorch counterpart are run side by side."""

from parity.subjects.layer import LayerCase as LayerCase
from parity.subjects.loss import LossCase as LossCase
from parity.subjects.optimizer import OptimizerCase as OptimizerCase
from parity.subjects.plateau import PlateauCase as PlateauCase
from parity.subjects.schedule import ScheduleCase as ScheduleCase
