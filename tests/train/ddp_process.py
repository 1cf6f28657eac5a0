"""One process of PyTorch's DistributedDataParallel; run by test_placement_processes."""

import os
import sys

import numpy as np
import torch
from torch import nn
from torch.distributed.nn.functional import all_reduce


class SyncBatchNorm(nn.BatchNorm1d):
    """PyTorch's own runs on GPUs alone: statistics over the rows of all processes, and gradients through them."""

    def forward(self, input):
        rows = len(input) * torch.distributed.get_world_size()
        mean = all_reduce(input.sum(0)) / rows
        squares = all_reduce((input - mean).square().sum(0))
        with torch.no_grad():
            self.running_mean.lerp_(mean, 0.1)
            self.running_var.lerp_(squares / (rows - 1), 0.1)
            self.num_batches_tracked += 1
        return (input - mean) * (squares / rows + self.eps).rsqrt() * self.weight + self.bias


process, processes, port, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
torch.set_num_threads(1)
os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
torch.distributed.init_process_group("gloo", rank=process, world_size=processes)
given = np.load(f"{folder}/ddp_input.npz")
model = nn.Sequential(nn.Linear(4, 16, bias=False), SyncBatchNorm(16), nn.ReLU(), nn.Linear(16, 4)).double()
model.load_state_dict({name: torch.from_numpy(given[name]) for name in model.state_dict()})
parallel = nn.parallel.DistributedDataParallel(model)
optimizer = torch.optim.AdamW(parallel.parameters(), lr=0.01)
for x, y in zip(given["x"], given["y"], strict=True):
    x, y = (torch.from_numpy(np.split(array, processes)[process]) for array in (x, y))
    optimizer.zero_grad()
    nn.functional.cross_entropy(parallel(x), y).backward()
    optimizer.step()
if process == 0:
    np.savez(f"{folder}/ddp.npz", **{name: value.numpy() for name, value in model.state_dict().items()})
torch.distributed.destroy_process_group()
