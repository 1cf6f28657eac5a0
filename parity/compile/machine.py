"""Machines that are not here: XLA's real compilers know them without a device."""

import math
import os
import re
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from typing import Any

import jax

_TPU_MEMORY = {"v4": 32, "v5e": 16, "v5p": 95, "v6e": 32}
"""GB of memory a chip, as Google's documentation of Cloud TPU gives it."""
_H100_MEMORY = 80


@dataclass(frozen=True)
class Machine:
    """A number of chips of one kind.

    Attributes:
        name: as the command line has it: "v5e:4x4" or "h100x8".
        devices: its devices; programs can be compiled for them, and not run.
        memory: bytes of memory on each.
        options: what the compiler is told.
    """

    name: str
    devices: tuple[Any, ...]
    memory: float
    options: dict[str, str | bool]

    @classmethod
    def of(cls, name: str) -> "Machine":
        """Look a machine up by its name.

        Raises:
            ValueError: if it is not known.
            RuntimeError: if its compiler is not installed.
        """
        if found := re.fullmatch(r"(v4|v5e|v5p|v6e):(\d+(?:x\d+){1,2})", name):
            os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # Do not ask Google's servers which TPU this is.
            check_installed("libtpu", "aot-tpu", name)
            topology = _topology("tpu", name)
            return cls(name, tuple(topology.devices), _TPU_MEMORY[found[1]] * 1e9, {})
        if found := re.fullmatch(r"h100x(\d+)", name):
            check_installed("jax_plugins.xla_cuda12", "aot", name)
            count = int(found[1])
            hosts, devices = (1, count) if count < 8 else (count // 8, 8)
            if math.prod((hosts, devices)) != count:
                raise ValueError(f"--for: expected h100 with up to 8 GPUs or a multiple of 8, got {name}")
            config = files("parity.speed").joinpath("h100.txtpb").read_text()
            topology = _topology("cuda", "h100", topology=f"1x{hosts}x{devices}", target_config=config)
            # Measuring which kernel is fastest needs a GPU.
            return cls(name, tuple(topology.devices), _H100_MEMORY * 1e9, {"xla_gpu_autotune_level": "0"})
        raise ValueError(f"--for: expected a machine such as v5e:4x4, v5p:4x4x4 or h100x8, got {name!r}")

    def compile(self, lowered: jax.stages.Lowered) -> jax.stages.Compiled:
        """Compile a program for this machine.

        Raises:
            jax.errors.JaxRuntimeError: if the compiler does not take it.
        """
        try:
            return lowered.compile(compiler_options=self.options)
        except jax.errors.JaxRuntimeError as error:
            # Without measuring, XLA gives a product to Triton before it knows whether Triton has tiles for it.
            if "output tile sizes" not in str(error):
                raise
            return lowered.compile(compiler_options=self.options | {"xla_gpu_enable_triton_gemm": False})


def check_installed(module: str, extra: str, name: str) -> None:
    """Raise unless a compiler is there."""
    package = module.partition(".")[0]
    if find_spec(package) is None or find_spec(module) is None:
        raise RuntimeError(
            f"--for {name}: expected its compiler, got a Python without it; make an environment of its own and install "
            f'it there: python3 -m venv .venv-{extra} && .venv-{extra}/bin/pip install ".[{extra}]"'
        )


def _topology(platform: str, name: str, **options: str) -> Any:
    from jax.experimental import topologies

    return topologies.get_topology_desc(platform=platform, topology_name=name, **options)
