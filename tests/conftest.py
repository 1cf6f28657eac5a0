"""Eight CPU devices for what is sharded, and one thread a test process for PyTorch."""

import os

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"

import torch

torch.set_num_threads(1)
