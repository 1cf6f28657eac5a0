"""Meshes of devices by the sizes of their axes."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental.mesh_utils import create_device_mesh
from jax.sharding import AxisType, Mesh

from jaxtrain._ground.checks import check_integer


def mesh_of(mesh: Mesh | Mapping[str, int] | None) -> Mesh:
    """The mesh that `Placement` is given: a mesh, the sizes of its axes by name, or None for all devices on one."""
    if isinstance(mesh, Mesh):
        if len(set(mesh.axis_types)) > 1 or AxisType.Manual in mesh.axis_types:
            raise ValueError(
                f"Placement: expected a mesh whose axes are all automatic, or all explicit, got {mesh.axis_types}"
            )
        return mesh
    sizes = {"data": jax.device_count()} if mesh is None else mesh
    if not isinstance(sizes, Mapping):
        raise TypeError(f"Placement: expected a mesh, or the sizes of its axes by name, got {mesh!r}")
    sizes = {name: check_integer("Placement", f"mesh[{name!r}]", size, 1) for name, size in sizes.items()}
    if np.prod(list(sizes.values())) != jax.device_count():
        raise ValueError(
            f"Placement: expected sizes whose product is the number of devices, {jax.device_count()}, got {sizes}; for "
            "some of the devices pass jax.make_mesh(..., devices=...)"
        )
    return device_mesh(sizes, jax.devices())


def device_mesh(sizes: Mapping[str, int], devices: Sequence[Any]) -> Mesh:
    """A mesh with automatic axes, laid out so that neighbours on its last axes are neighbours in the machine.

    An axis may be a part of one of a TPU's three dimensions, which `jax.make_mesh` refuses: 4 of 8x8x8 chips.
    """
    laid_out = create_device_mesh(tuple(sizes.values()), devices, allow_split_physical_axes=True)
    return Mesh(laid_out, tuple(sizes), axis_types=(AxisType.Auto,) * len(sizes))
