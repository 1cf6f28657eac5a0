"""Arrays that are sharded over the axes of a mesh."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def left_to_xla(function: Callable[..., Any], *arguments: Any, like: Any = None) -> Any:
    """`function(*arguments)`, computed with whatever sharding XLA chooses.

    Where axes of a mesh are explicit, as `jax.make_mesh` makes them, JAX asks the caller how to shard the result of
    each reshape, look-up or product of matrices. On other arrays this is a plain call.

    Args:
        function: a traceable function of trees of arrays.
        *arguments: its arguments.
        like: a tree of arrays, of the structure of the result, that have the shardings which the result is to have.
            Default None: no element of the result is sharded.
    """
    meshes = [jax.typeof(leaf).sharding.mesh for leaf in jax.tree.leaves(arguments)]
    mesh = next((mesh for mesh in meshes if AxisType.Explicit in mesh.axis_types), None)
    if mesh is None:
        return function(*arguments)

    def sharding(leaf: jax.Array) -> NamedSharding:
        own = jax.typeof(leaf).sharding
        return NamedSharding(mesh, PartitionSpec()) if own.mesh.empty else own

    wanted = NamedSharding(mesh, PartitionSpec()) if like is None else jax.tree.map(sharding, like)
    return jax.sharding.auto_axes(function, out_sharding=wanted)(*arguments)
