"""The states of optimizers, from and to the `state_dict` of PyTorch's."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxtrain._ground.checks import check_integer
from jaxtrain.interop import _lbfgs
from jaxtrain.interop._entries import Entry, entries, module_of
from jaxtrain.interop._kinds import foreign
from jaxtrain.interop._nodes import filled, nodes_of, paths_of, replaced, states_of
from jaxtrain.interop._patterns import prefix_of
from jaxtrain.interop._saved import MOST, Saved, by_path, merged, saved_by_name
from jaxtrain.train.state import TrainState


def load_optimizer(
    state: TrainState,
    optimizer_state_dict: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    parameters: Iterable[str] | Sequence[Sequence[str]] | None = None,
    *,
    count: int | None = None,
    names: Mapping[str, str] | None = None,
    as_is: Collection[str] = (),
) -> TrainState:
    """Load the state of PyTorch's optimizer into a train state whose optimizer is the same one of this package.

    Momentum buffers, moments and step numbers are found wherever the optimizer's state lies: behind
    `optim.param_groups`, in `optax.chain`, `optax.masked`, `optax.partition`, `optax.inject_hyperparams` or
    `optax.MultiSteps`. Hyper-parameters are not loaded: give the optimizer the same ones. All counts that schedules see
    become the largest step number, and so does `state.step`.

    Args:
        state: a train state made with the optimizer to fill.
        optimizer_state_dict: what `state_dict()` of PyTorch's optimizer returned. A list of them, if several optimizers
            share the parameters, as Muon and AdamW do; `parameters` is then a list of lists.
        parameters: PyTorch's names of the parameters in the order in which the optimizer received them, or the
            model's `state_dict` as PyTorch made it, which lists them in the order of `model.parameters()`. Default
            None: the names that PyTorch saved, if its optimizer was given named parameters.
        count: number of updates so far. Default None: the largest step number; SGD, Muon and LBFGS save none.
        names: rules from our names to PyTorch's, see `load_state_dict`. Default None: no rules.
        as_is: names of arrays that have our order of axes, see `load_state_dict`. Default (): none.

    Returns:
        A new train state with PyTorch's optimizer state, `count` and `step`. Parameters do not change.

    Raises:
        TypeError: if the optimizer is not one of this package, or an argument has the wrong type.
        ValueError: if parameters, buffers or shapes do not fit, for instance because one side has `amsgrad`: the
            message lists all that do not. Also if the names are sorted, or the state was consumed by a step.

    Example:
        >>> import numpy as np
        >>> from flax import nnx
        >>> from jaxtrain import interop, nn, optim, train
        >>> state = train.TrainState.create(nn.Linear(2, 1, bias=False, rngs=nnx.Rngs(0)), optim.adam(1e-3))
        >>> moments = {"step": 7, "exp_avg": np.ones((1, 2)), "exp_avg_sq": np.ones((1, 2))}
        >>> saved = {"state": {0: moments}, "param_groups": [{"lr": 1e-3, "params": [0]}]}
        >>> state = interop.load_optimizer(state, saved, ["weight"])
        >>> int(state.step), state.opt_state.exp_avg["kernel"].tolist()
        (7, [[1.0], [1.0]])

    PyTorch: `Optimizer.load_state_dict`, which also replaces the hyper-parameters.
    """
    where = "load_optimizer"
    own = _parameters(where, state, names, as_is)
    if _lbfgs.states(state.opt_state):
        return _lbfgs.load(where, state, optimizer_state_dict, parameters, own, count)
    nodes, problems = _nodes(where, state), []
    saved = saved_by_name(where, *merged(where, optimizer_state_dict, parameters), own)
    known = by_path(own, saved)
    count = _largest_step(where, saved) if count is None else check_integer(where, "count", count, 0, MOST)
    opt_state = replaced(state.opt_state, count, lambda node: filled(node, known, saved, count, problems))
    places = {known[path].name for node in nodes for path in paths_of(node)}
    begun = [name for name, own in saved.states.items() if own]
    if places:
        problems += [f"{name}: has no place in the optimizer's state" for name in begun if name not in places]
        if count and not begun:
            problems.append("the optimizer has buffers here, PyTorch's has none: give it the same options")
    elif saved.fields:
        problems.append(f"the optimizer has no buffers here, PyTorch's has {saved.fields}: give it the same options")
    if prefix := prefix_of([entry.name for entry in own], list(saved.numbers)):
        problems = [f"PyTorch's names begin with {prefix!r}: pass names={{'^': {prefix!r}}}"]
    if problems:
        lines = dict.fromkeys(problems)
        raise ValueError("\n  ".join([f"{where}: the state_dict does not fit the optimizer:", *lines]))
    return dataclasses.replace(state, opt_state=opt_state, step=jnp.asarray(count, jnp.int32))


def optimizer_state_dict(
    state: TrainState,
    like: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    parameters: Iterable[str] | Sequence[Sequence[str]] | None = None,
    *,
    names: Mapping[str, str] | None = None,
    as_is: Collection[str] = (),
    **changes: Any,
) -> Any:
    """The state of the optimizer in PyTorch's form, to go on there.

    Args:
        state: the train state.
        like: the `state_dict()` of the optimizer in PyTorch that will go on, fresh or not. Its parameter groups, with
            their hyper-parameters, are returned as they are. A list of them for several optimizers.
        parameters: PyTorch's names of its parameters in order, see `load_optimizer`. Default None: those in `like`.
        names: rules from our names to PyTorch's, see `load_state_dict`. Default None: no rules.
        as_is: names of arrays that keep our order of axes, see `load_state_dict`. Default (): none.
        **changes: hyper-parameters to set in the parameter groups, such as the current `lr` where a scheduler drives
            it. A list gives each group its own. Not for several optimizers.

    Returns:
        A dict with "state", NumPy arrays by the number of the parameter, and "param_groups". For PyTorch's
        `load_state_dict`, convert the first with `jax.tree.map(torch.as_tensor, ...)`. A list for a list.

    Raises:
        TypeError: if the optimizer is not one of this package, or an argument has the wrong type.
        ValueError: if a parameter is not among PyTorch's, or a change not among its hyper-parameters.

    Example:
        >>> from flax import nnx
        >>> from jaxtrain import interop, nn, optim, train
        >>> state = train.TrainState.create(nn.Linear(2, 1, bias=False, rngs=nnx.Rngs(0)), optim.adagrad(0.1))
        >>> like = {"state": {}, "param_groups": [{"lr": 0.1, "params": [0]}]}
        >>> interop.optimizer_state_dict(state, like, ["weight"])["param_groups"]
        [{'lr': 0.1, 'params': [0]}]

    PyTorch: `Optimizer.state_dict`.
    """
    where = "optimizer_state_dict"
    own = _parameters(where, state, names, as_is)
    if _lbfgs.states(state.opt_state):
        return _changed(where, _lbfgs.state_dict(where, state, like, parameters, own), changes)
    nodes = _nodes(where, state)
    saved = saved_by_name(where, *merged(where, like, parameters), own)
    known = by_path(own, saved)
    for node in nodes:
        if wrong := foreign(node, saved.groups_of(known[path].name for path in paths_of(node))):
            raise ValueError(f"{where}: {wrong}")
    found = states_of(where, nodes, known)
    missing = found.keys() - saved.numbers.keys()
    if missing:
        raise ValueError(f"{where}: expected {sorted(missing)} among PyTorch's parameters, got {list(saved.numbers)}")
    states = {saved.numbers[name]: found[name] for name in saved.numbers if name in found}
    if isinstance(like, Mapping):
        return _changed(where, {"state": states, "param_groups": like["param_groups"]}, changes)
    if changes:
        raise TypeError(
            f"{where}: expected one optimizer with changes, got {len(like)}; set {list(changes)} afterwards"
        )
    return [
        {
            "state": {number: one for (place, number), one in states.items() if place == index},
            "param_groups": own["param_groups"],
        }
        for index, own in enumerate(like)
    ]


def _changed(where: str, saved: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The state_dict with other hyper-parameters in its groups."""
    groups = [dict(group) for group in saved["param_groups"]]
    for name, value in changes.items():
        if not all(name in group for group in groups):
            raise ValueError(f"{where}: expected a hyper-parameter of PyTorch's groups, got {name!r}")
        values = value if isinstance(value, list) else [value] * len(groups)
        if len(values) != len(groups):
            raise ValueError(f"{where}: expected {len(groups)} elements in {name}, one for each group, got {value}")
        for group, own in zip(groups, values, strict=True):
            group[name] = own
    return saved | {"param_groups": groups}


def _nodes(where: str, state: TrainState) -> list[Any]:
    nodes = nodes_of(state.opt_state)
    if not nodes:
        got = type(state.opt_state).__name__
        raise TypeError(f"{where}: expected an optimizer of jaxtrain.optim, got a state of {got}")
    return nodes


def _parameters(where: str, state: Any, names: Mapping[str, str] | None, as_is: Collection[str]) -> list[Entry]:
    if not isinstance(state, TrainState):
        raise TypeError(f"{where}: state must be a TrainState, got {type(state).__name__}")
    found = entries(where, module_of(where, state), names, as_is)
    return [entry for entry in found if isinstance(entry.variable, nnx.Param)]


def _largest_step(where: str, saved: Saved) -> int:
    steps = [int(np.max(own["step"])) for own in saved.states.values() if "step" in own]
    if not steps:
        raise ValueError(
            f"{where}: the state has no step numbers, which nothing has before its first step, and SGD and Muon never; "
            "give `count`, the number of updates so far"
        )
    return max(steps)
