"""Where the arrays of a run lie: on one device or many, on one machine or many."""

import dataclasses
import logging
import re
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from jaxtrain._ground.checks import check_integer
from jaxtrain.train._mesh import mesh_of
from jaxtrain.train._specs import (
    annotations,
    axes_of,
    by_rule,
    check_fits,
    entry_of,
    fully_split,
    leaves_by_path,
    of_moments,
    parts,
    trimmed,
)
from jaxtrain.train.state import TrainState

_log = logging.getLogger("jaxtrain")

Axes = str | tuple[str, ...] | None


@dataclasses.dataclass(frozen=True, init=False)
class Placement:
    """Spreads a run over the devices of a mesh: its batches, its parameters and the state of its optimizer.

    `Placement()` is data parallelism: every device has the whole state and a part of each batch. With
    `fully_sharded="data"` the state is split over the same devices, too. Rules split parameters over an axis of their
    own (tensor parallelism). The program and its numbers stay those of one device: a loss is the mean over the whole
    batch, a batch norm's statistics are those of the whole batch, and XLA adds the communication.

    A parameter's dimensions are split by the first rule whose pattern its path matches; without a match, as its
    variable is annotated (`nnx.with_partitioning`); otherwise it is whole. `fully_sharded` then splits its largest
    dimension that is still whole and divides, over the axes that no other dimension is split over. The moments of an
    optimizer and a running average lie like their parameters.

    Args:
        mesh: a mesh of devices, or the sizes of its axes by name: `{"data": 2, "model": 4}`. Default None: all devices
            on one axis "data". The axes of a mesh of yours are automatic or explicit (`jax.sharding.AxisType`), all of
            them alike; a mesh made here has automatic axes.
        data: the axis, or axes, over which the rows of a batch are split; None: no axis. Default "data".
        fully_sharded: the axis, or axes, over which the state is split in addition. Needs automatic axes. Default None:
            no axis.
        rules: a `PartitionSpec` by regular expression, found anywhere in a variable's path such as `head/kernel`; the
            first match counts. Default: none.
        min_size: `fully_sharded` leaves arrays with fewer elements whole: fetching them would take longer than keeping
            them. Default 2**16.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an axis is not one of the mesh, its axes are of several types or manual, the sizes do not fit
            the devices, or a pattern is not a regular expression.

    Attributes:
        mesh: the mesh of devices.

    Example:
        >>> import numpy as np
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> placement = train.Placement(fully_sharded="data", min_size=1)
        >>> x = np.ones((16, 8), np.float32)
        >>> def loss_fn(model, x):
        ...     return (model(x) ** 2).mean()
        >>> state = train.TrainState.create(nnx.Linear(8, 8, rngs=nnx.Rngs(0)), optax.adam(0.1))
        >>> state, _ = train.fit(state, loss_fn, x, epochs=1, batch_size=8, placement=placement, progress=False)
        >>> state.opt_state[0].mu["kernel"].sharding.spec
        P('data',)

    PyTorch: `DistributedDataParallel` with `SyncBatchNorm`; `fully_shard` for `fully_sharded`; `parallelize_module` for
    rules.
    """

    mesh: Mesh
    data: tuple[str, ...]
    fully_sharded: tuple[str, ...]
    rules: tuple[tuple[str, PartitionSpec], ...]
    min_size: int

    def __init__(
        self,
        mesh: Mesh | Mapping[str, int] | None = None,
        *,
        data: Axes = "data",
        fully_sharded: Axes = None,
        rules: Mapping[str, PartitionSpec] | None = None,
        min_size: int = 2**16,
    ) -> None:
        set_field = object.__setattr__  # the dataclass is frozen
        set_field(self, "mesh", mesh_of(mesh))
        set_field(self, "data", self._axes("data", data))
        set_field(self, "fully_sharded", self._axes("fully_sharded", fully_sharded))
        set_field(self, "rules", _rules({} if rules is None else rules))
        set_field(self, "min_size", check_integer("Placement", "min_size", min_size, 0))
        if self.fully_sharded and self._is_explicit:
            raise ValueError(
                "Placement: expected a mesh with automatic axes for fully_sharded, got explicit ones, where the model "
                "itself would have to gather each parameter; pass the sizes of the axes in place of the mesh: "
                f"{dict(self.mesh.shape)}"
            )

    def shardings(self, state: TrainState) -> TrainState:
        """Where each leaf of a state is to lie.

        Args:
            state: a state, or its shapes as `jax.eval_shape` gives them.

        Returns:
            The state with a `jax.sharding.NamedSharding` for every leaf.

        Raises:
            TypeError: if it is not a `TrainState`.
            ValueError: if a dimension cannot be divided as a rule wants, or a rule matches nothing.
        """
        if not isinstance(state, TrainState):
            raise TypeError(
                f"Placement: expected a TrainState, got {type(state).__name__}; make one with "
                "TrainState.create(model, optimizer)"
            )
        annotated, rules = annotations(state), dict(self.rules)
        trained, others = (dict(leaves_by_path(tree)) for tree in (state.params, state.model_state))
        names = ["/".join(map(str, path)) for path in [*trained, *others]]
        for pattern in rules:
            if not any(re.search(pattern, name) for name in names):
                raise ValueError(
                    f"Placement: expected rules that match a variable, got {pattern!r}; there are {', '.join(names)}"
                )
        known = {}
        for path, leaf in {**trained, **others}.items():
            spec = by_rule(path, rules, annotated)
            check_fits("/".join(map(str, path)), leaf.shape, spec, self.mesh)
            known[path] = (leaf.shape, spec)

        params = {path: known[path] for path in trained}

        def of_variables(path: Any, leaf: Any) -> NamedSharding:
            return self._sharding(leaf, known[path][1])

        def of_optimizer(path: Any, leaf: Any) -> NamedSharding:
            return self._sharding(leaf, of_moments(path, leaf.shape, params))

        def of_average(path: Any, leaf: Any) -> NamedSharding:
            return self._sharding(leaf, of_moments(path, leaf.shape, known))

        whole = self._sharding(state.step, PartitionSpec())
        return dataclasses.replace(
            state,
            step=whole,
            key=whole,
            params=_mapped(of_variables, state.params),
            model_state=_mapped(of_variables, state.model_state),
            opt_state=_mapped(of_optimizer, state.opt_state),
            average=_mapped(of_average, state.average),
            scaler=jax.tree.map(lambda _: whole, state.scaler),
        )

    def put(self, state: TrainState) -> TrainState:
        """Place a state. Leaves that lie there already are not copied.

        Args:
            state: the state; in a run of several processes, the same one in each.

        Raises:
            ValueError: as `shardings`.
        """
        return jax.tree.map(_global, state, self.shardings(state))

    def create(self, function: Callable[[], TrainState]) -> TrainState:
        """Make a state where it is to lie, no part of it anywhere else: for models larger than a device.

        Args:
            function: makes module, optimizer and state. It is traced, with this mesh as context.

        Returns:
            The state that `function` returns, placed.

        Raises:
            TypeError: if `function` is not a function, or returns something else.
            ValueError: as `shardings`.

        Example:
            >>> import optax
            >>> from flax import nnx
            >>> from jaxtrain import train
            >>> def new():
            ...     return train.TrainState.create(nnx.Linear(8, 8, rngs=nnx.Rngs(0)), optax.adam(0.1))
            >>> state = train.Placement(fully_sharded="data", min_size=1).create(new)
            >>> state.params["kernel"].sharding.spec
            P('data',)

        PyTorch: `with torch.device("meta")`, `fully_shard`, `to_empty` and `init_weights`, one after another.
        """
        if not callable(function):
            raise TypeError(
                f"Placement.create: expected a function that makes a state, got {type(function).__name__}; "
                "place an existing state with put"
            )
        with jax.set_mesh(self.mesh):
            shapes = jax.eval_shape(function)
            where, structure = jax.tree.flatten(self.shardings(shapes))
            # A module made again may get another blueprint: only its leaves come out.
            leaves = jax.jit(lambda: jax.tree.leaves(function()), out_shardings=where)()
        return jax.tree.unflatten(structure, leaves)

    def put_batch(self, batch: PyTree) -> PyTree:
        """Place a batch, its rows split over the axes of the data.

        Args:
            batch: a pytree of arrays with a common number of rows. In a run of several processes, each passes its part:
                as many rows as any other, in the order of the processes. Where only parameters are split over
                processes, each passes all rows.

        Returns:
            The batch as global arrays. One whose rows do not divide lies on every device as a whole.

        Raises:
            ValueError: if the rows of a process do not divide by its devices.
        """
        if jax.process_count() == 1:
            return self.put_whole_batch(batch)
        return jax.tree.map(self._part, batch)

    def put_whole_batch(self, batch: PyTree) -> PyTree:
        """`put_batch` where every process has all rows of the batch, and sends its devices those that they need."""
        return jax.tree.map(lambda leaf: _global(leaf, self._rows(np.shape(leaf))), batch)

    def put_everywhere(self, arrays: PyTree) -> PyTree:
        """Arrays as a whole on every device."""
        return jax.tree.map(lambda leaf: _global(leaf, NamedSharding(self.mesh, PartitionSpec())), arrays)

    def check_rows(self, where: str, rows: int) -> None:
        """Raise unless a batch of this many rows can be split."""
        if rows % self._data_parts:
            raise ValueError(
                f"{where}: expected a multiple of {self._data_parts}, the devices along {' and '.join(self.data)!r}, "
                f"got {rows}"
            )

    def constrained(self, node: TrainState | PyTree) -> Any:
        """Inside a program: a state that lies as `put` places it, or a batch whose rows are split."""
        where = self.shardings(node) if isinstance(node, TrainState) else self._rows_of(node)
        # With automatic axes a wish for the compiler, with explicit ones a part of the type.
        return (jax.sharding.reshard if self._is_explicit else jax.lax.with_sharding_constraint)(node, where)

    @property
    def _is_explicit(self) -> bool:
        return AxisType.Explicit in self.mesh.axis_types

    @property
    def _data_parts(self) -> int:
        return parts(self.mesh, self.data)

    def _axes(self, name: str, axes: Axes) -> tuple[str, ...]:
        if not isinstance(axes, str | tuple | list | None):
            raise TypeError(
                f"Placement: {name} must be the name of an axis, several names or None, got {axes!r}; the mesh has "
                f"{self.mesh.axis_names}"
            )
        found = axes_of(axes)
        if (unknown := set(found) - set(self.mesh.axis_names)) or len(set(found)) < len(found):
            raise ValueError(
                f"Placement: expected {name} to name axes of the mesh, {self.mesh.axis_names}, each once, got "
                f"{sorted(unknown, key=str) or found}; pass {name}= with one of them, or give the mesh this axis"
            )
        return found

    def _sharding(self, leaf: Any, spec: PartitionSpec) -> NamedSharding:
        """The sharding of a leaf with the given spec, split further if the state is fully sharded."""
        if self.fully_sharded and leaf.size >= self.min_size:
            spec = fully_split(leaf.shape, spec, self.mesh, self.fully_sharded)
        spec = trimmed(spec)
        if self._is_explicit:
            # The type of what a step returns names every dimension; the type of what it gets must not differ.
            spec = PartitionSpec(*spec, *[None] * (leaf.ndim - len(spec)))
        return NamedSharding(self.mesh, spec)

    def _rows(self, shape: tuple[int, ...]) -> NamedSharding:
        """The sharding of an array of a batch: whole if its rows do not divide."""
        divides = bool(self.data) and bool(shape) and shape[0] % self._data_parts == 0
        return NamedSharding(self.mesh, PartitionSpec(entry_of(self.data)) if divides else PartitionSpec())

    def _rows_of(self, batch: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: self._rows(np.shape(leaf)), batch)

    def _part(self, leaf: Any) -> jax.Array:
        """The global array of which `leaf` is the part of this process."""
        if not np.ndim(leaf) or not self.data:
            return _global(leaf, NamedSharding(self.mesh, PartitionSpec()))
        sharding = NamedSharding(self.mesh, PartitionSpec(entry_of(self.data)))
        here = len({str(rows) for rows in sharding.addressable_devices_indices_map((self._data_parts,)).values()})
        if len(leaf) % here:
            raise ValueError(
                f"put_batch: expected a part of a batch whose rows divide by {here}, the devices of this process, got "
                f"{len(leaf)} rows; choose another batch size, or leave out a smaller last batch"
            )
        return jax.make_array_from_process_local_data(sharding, np.asarray(leaf))


def check_placement(where: str, placement: Any) -> None:
    """Raise unless it is a placement, or None."""
    if not isinstance(placement, Placement | None):
        raise TypeError(
            f"{where}: placement must be a train.Placement or None, got {type(placement).__name__}; pass "
            "Placement(), or Placement(mesh) for a mesh of yours"
        )


def placed(step: Callable[[TrainState, PyTree], Any], placement: Placement | None) -> Callable[..., Any]:
    """A step with its batch split over the devices, and with the state that it returns, if it does, in its place."""
    if placement is None:
        return step

    @wraps(step)
    def on_the_mesh(state: TrainState, batch: PyTree) -> Any:
        with jax.sharding.use_abstract_mesh(placement.mesh.abstract_mesh):
            result = step(state, placement.constrained(batch))
            if isinstance(result, tuple):
                after, metrics = result
                return placement.constrained(after), metrics
            return result

    vars(on_the_mesh)["placement"] = placement
    return on_the_mesh


def placement_of(step: Any) -> Placement | None:
    """The placement with which a step was made."""
    return getattr(getattr(step, "__wrapped__", None), "placement", None)


def check_parts(where: str, state: TrainState, placement: Placement | None, way_out: str) -> None:
    """Raise if several processes each have a part of a batch, and no placement joins the parts."""
    if placement is None and not state.step.is_fully_addressable:
        raise ValueError(
            f"{where}: expected a placement for batches of which each of {jax.process_count()} processes has a part, "
            f"got none; {way_out}, or pass all rows as arrays in each process"
        )


def _mapped(function: Callable[[Any, Any], Any], tree: PyTree) -> PyTree:
    results = [function(path, leaf) for path, leaf in leaves_by_path(tree)]
    return jax.tree.unflatten(jax.tree.structure(tree), results)


def _global(leaf: Any, sharding: NamedSharding) -> jax.Array:
    """An array that every process has, with a sharding over the devices of all."""
    if jax.process_count() == 1 or (isinstance(leaf, jax.Array) and not leaf.is_fully_addressable):
        return jax.device_put(leaf, sharding)
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(_global(jax.random.key_data(leaf), sharding), impl=jax.random.key_impl(leaf))
    array = np.asarray(leaf)
    return jax.make_array_from_callback(array.shape, sharding, array.__getitem__)


def _rules(rules: Mapping[str, PartitionSpec]) -> tuple[tuple[str, PartitionSpec], ...]:
    if not isinstance(rules, Mapping) or not all(isinstance(spec, PartitionSpec) for spec in rules.values()):
        raise TypeError(
            f"Placement: expected rules to be a dict with a jax.sharding.PartitionSpec by pattern, got {rules!r}"
        )
    for pattern in rules:
        try:
            re.compile(pattern)
        except (re.error, TypeError):
            raise ValueError(f"Placement: expected regular expressions in rules, got {pattern!r}") from None
    return tuple(rules.items())
