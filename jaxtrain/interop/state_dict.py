"""The weights and statistics of a module, from and to PyTorch's `state_dict`."""

import dataclasses
import warnings
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import numpy as np
from flax import nnx

from jaxtrain._ground.checks import check_flag
from jaxtrain.interop._arrays import as_numpy, check_mapping, misfit, placed
from jaxtrain.interop._entries import Entry, by_name, entries, module_of, packed
from jaxtrain.interop._explanations import explained, other_shape
from jaxtrain.interop._patterns import any_matches, check_used, patterns
from jaxtrain.train.state import TrainState

COUNTER = "num_batches_tracked"
"""Of batch norms: Flax's do not have it, and states saved by PyTorch before 0.4.1 do not either."""

Target = TypeVar("Target", nnx.Module, TrainState)


def load_state_dict(
    target: Target,
    state_dict: Mapping[str, Any],
    *,
    names: Mapping[str, str] | None = None,
    as_is: Collection[str] = (),
    ignore: Collection[str] = (),
    strict: bool = True,
) -> Target:
    """Load PyTorch's weights and running statistics into a module or a train state.

    Layers are recognised by their type: a kernel is PyTorch's weight transposed, convolutions have their channels last,
    norms of Flax call their weight `scale`, and `nnx.MultiHeadAttention` finds its parts in PyTorch's packed
    projections, which `nn.MultiheadAttention` has as they are. A variable is looked up under its path in the module,
    with the layers of an `nnx.Sequential` numbered as in PyTorch. Nothing is loaded unless everything fits.

    Args:
        target: an NNX module, which is changed in place, or a `TrainState`, which stays as it is.
        state_dict: PyTorch tensors, NumPy or JAX arrays by PyTorch's names.
        names: where names differ: what `re.sub` puts in place of each regular expression, rule after rule, to make
            PyTorch's name from ours, such as `{r"^blocks\\.": "transformer.h."}`. Default None: no rules.
        as_is: regular expressions of PyTorch's names whose arrays have our order of axes already, such as the weights
            of the `Conv1D` layers in the GPT-2 of transformers. Default (): none.
        ignore: regular expressions of PyTorch's names to leave alone: arrays that have no place in the module, and
            variables that keep their values, such as a new head. Default (): none.
        strict: whether a missing or unexpected name is an error. If False, it is a warning. Default True.

    Returns:
        The module itself, or a new `TrainState`. Each variable keeps its dtype, as in PyTorch.

    Raises:
        TypeError: if something is not a state_dict, or holds floats where the module has integers.
        ValueError: if names are missing or unexpected, or shapes do not fit: the message lists all of them, with the
            likely match. Also if a regular expression matches nothing, or rules give two variables one name.

    Example:
        >>> import numpy as np
        >>> from flax import nnx
        >>> from jaxtrain import interop, nn
        >>> model = nnx.Sequential(nn.Linear(2, 3, rngs=nnx.Rngs(0)), nn.BatchNorm(3))
        >>> weights = interop.state_dict(model) | {"0.weight": np.arange(6.0).reshape(3, 2)}
        >>> interop.load_state_dict(model, weights).layers[0].kernel[...].tolist()
        [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]

    PyTorch: `Module.load_state_dict`, which works in place and returns the missing and unexpected names.
    """
    where = "load_state_dict"
    module = _module(where, target)
    check_flag(where, "strict", strict)
    left = patterns(where, "ignore", ignore)
    check_mapping(where, state_dict, left)
    wanted = entries(where, module, names, as_is)
    known = {entry.name: entry for entry in wanted}
    check_used(where, "ignore", left, [*known, *state_dict])
    given = {name: as_numpy(where, name, value) for name, value in state_dict.items() if not any_matches(left, name)}
    # PyTorch's file may hold a tied weight once.
    present = {id(entry.variable) for entry in wanted if entry.name in given}
    missing = [
        name
        for name, entry in known.items()
        if not (id(entry.variable) in present or name.endswith(COUNTER) or any_matches(left, name))
    ]
    unexpected = [name for name in given if name not in known and not name.endswith(COUNTER)]
    values, problems = _fitted(wanted, given)
    lines = explained(known, missing, unexpected, given)
    if problems or (strict and lines):
        raise ValueError(
            "\n  ".join([f"{where}: the state_dict does not fit the module:", *dict.fromkeys(problems), *lines])
        )
    if lines:
        warnings.warn("\n  ".join([f"{where}: not everything was loaded:", *lines]), stacklevel=2)
    for variable, value in values:
        variable.set_value(value)
    if isinstance(target, TrainState):
        params, model_state = target.blueprint.values(module)
        return dataclasses.replace(target, params=params, model_state=model_state)
    return target


def state_dict(
    source: nnx.Module | TrainState, *, names: Mapping[str, str] | None = None, as_is: Collection[str] = ()
) -> dict[str, np.ndarray]:
    """The weights and running statistics of a module or a train state, under PyTorch's names and in its layout.

    Args:
        source: an NNX module or a `TrainState`.
        names: rules from our names to PyTorch's, see `load_state_dict`. Default None: no rules.
        as_is: names of arrays that keep our order of axes, see `load_state_dict`. Default (): none.

    Returns:
        NumPy arrays by name. PyTorch's `load_state_dict` accepts `{name: torch.from_numpy(array)}` of them, and every
        bit comes back. Counters are int64, as in PyTorch.

    Raises:
        TypeError: if `source` is neither a module nor a train state.
        ValueError: if the rules give two variables the same name.

    Example:
        >>> from flax import nnx
        >>> from jaxtrain import interop, nn
        >>> weights = interop.state_dict(nn.Conv(3, 8, (5, 5), rngs=nnx.Rngs(0)))
        >>> {name: array.shape for name, array in weights.items()}
        {'weight': (8, 3, 5, 5), 'bias': (8,)}

    PyTorch: `Module.state_dict`.
    """
    where = "state_dict"
    found = by_name(entries(where, _module(where, source), names, as_is))
    return {name: packed(where, name, group, [_value(entry) for entry in group]) for name, group in found.items()}


def _module(where: str, source: Any) -> nnx.Module:
    if isinstance(source, TrainState):
        return module_of(where, source)
    if isinstance(source, nnx.Module):
        return source
    raise TypeError(f"{where}: expected an nnx.Module or a TrainState, got {type(source).__name__}")


def _value(entry: Entry) -> np.ndarray:
    array = np.asarray(entry.variable.get_value())
    return array.astype(np.int64) if np.issubdtype(array.dtype, np.integer) else array


def _fitted(wanted: list[Entry], given: Mapping[str, np.ndarray]) -> tuple[list[tuple[nnx.Variable, Any]], list[str]]:
    """The new value of every variable that has one, and what does not fit."""
    values, problems, loaded = [], [], {}
    for entry in wanted:
        if entry.name not in given:
            continue
        old, array = entry.variable.get_value(), given[entry.name]
        if array.shape != entry.shape(old.shape):
            problems.append(other_shape(entry, old.shape, array.shape))
        elif wrong := misfit(array, old.dtype):
            problems.append(f"{entry.name}: {wrong}")
        else:
            value = entry.from_torch(array)
            known = loaded.setdefault(id(entry.variable), (entry.name, value))
            if not np.array_equal(known[1], value, equal_nan=True):
                problems.append(f"{entry.name}: expected the values of {known[0]!r}, as the module shares the variable")
            values.append((entry.variable, placed(value, old)))
    return values, problems
