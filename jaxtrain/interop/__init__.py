"""Take over weights, optimizers and schedules from PyTorch, and give them back. Nothing here imports torch."""

from jaxtrain.interop.from_optimizer import optimizer_from_torch as optimizer_from_torch
from jaxtrain.interop.from_scheduler import momentum_from_torch as momentum_from_torch
from jaxtrain.interop.from_scheduler import plateau_from_torch as plateau_from_torch
from jaxtrain.interop.from_scheduler import schedule_from_torch as schedule_from_torch
from jaxtrain.interop.optimizers import load_optimizer as load_optimizer
from jaxtrain.interop.optimizers import optimizer_state_dict as optimizer_state_dict
from jaxtrain.interop.schedulers import load_scheduler as load_scheduler
from jaxtrain.interop.schedulers import scheduler_state_dict as scheduler_state_dict
from jaxtrain.interop.state_dict import load_state_dict as load_state_dict
from jaxtrain.interop.state_dict import state_dict as state_dict
