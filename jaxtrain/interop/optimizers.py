"""The states of optimizers, from and to the `state_dict` of PyTorch's."""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxtrain._ground.checks import check_integer
from jaxtrain.interop import _buffers, _lbfgs
from jaxtrain.interop._entries import Entry, entries, module_of
from jaxtrain.interop._nodes import WITHOUT_STEP, filled, leaves_of, nodes_of, paths_of, replaced
from jaxtrain.interop._saved import Saved, merged, saved_by_name
from jaxtrain.optim._state import buffer_names, scalar_names
from jaxtrain.train.state import TrainState

WHOLE_STEP = ("SparseAdamState",)
"""States whose optimizers keep the number of steps as a Python int in PyTorch."""


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
        return _with_lbfgs(where, state, optimizer_state_dict, parameters, own, count)
    nodes, problems = _nodes(where, state), []
    saved = saved_by_name(where, *merged(where, optimizer_state_dict, parameters), own)
    known = _by_path(own, saved)
    count = _largest_step(where, saved) if count is None else check_integer(where, "count", count, 0)
    opt_state = replaced(state.opt_state, count, lambda node: filled(node, known, saved, count, problems))
    places = {known[path].name for node in nodes for path in paths_of(node)}
    begun = [name for name, own in saved.states.items() if own]
    if places:
        problems += [f"{name}: has no place in the optimizer's state" for name in begun if name not in places]
        if count and not begun:
            problems.append("the optimizer has buffers here, PyTorch's has none: give it the same options")
    elif saved.fields:
        problems.append(f"the optimizer has no buffers here, PyTorch's has {saved.fields}: give it the same options")
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
) -> Any:
    """The state of the optimizer in PyTorch's form, to go on there.

    Args:
        state: the train state.
        like: the `state_dict()` of the optimizer in PyTorch that will go on, fresh or not. Its parameter groups, with
            their hyper-parameters, are returned as they are. A list of them for several optimizers.
        parameters: PyTorch's names of its parameters in order, see `load_optimizer`.
        names: rules from our names to PyTorch's, see `load_state_dict`. Default None: no rules.
        as_is: names of arrays that keep our order of axes, see `load_state_dict`. Default (): none.

    Returns:
        A dict with "state", NumPy arrays by the number of the parameter, and "param_groups". For PyTorch's
        `load_state_dict`, convert the first with `jax.tree.map(torch.as_tensor, ...)`. A list for a list.

    Raises:
        TypeError: if the optimizer is not one of this package, or an argument has the wrong type.
        ValueError: if a parameter is not among PyTorch's.

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
    trained = _parameters(where, state, names, as_is)
    if lbfgs := _lbfgs.states(state.opt_state):
        return _of_lbfgs(where, state, lbfgs[0], like, parameters, trained)
    nodes = _nodes(where, state)
    saved = saved_by_name(where, *merged(where, like, parameters), trained)
    numbers, known = saved.numbers, _by_path(trained, saved)
    buffers: dict[str, dict[str, list[tuple[Entry, np.ndarray]]]] = {}
    states: dict[str, dict[str, Any]] = {}
    for node in nodes:
        paths, kind = paths_of(node), type(node).__name__
        for field in buffer_names(type(node)):
            for path, leaf in leaves_of(getattr(node, field)).items():
                if leaf is not None:
                    parts = buffers.setdefault(known[path].name, {}).setdefault(field, [])
                    parts.append((known[path], np.asarray(leaf)))
        scalars = {name: np.broadcast_to(np.asarray(getattr(node, name)), len(paths)) for name in _numbers(node)}
        for index, path in enumerate(paths):
            if scalars["step"][index]:
                own = {name: values[index].copy() for name, values in scalars.items()}
                if kind in WITHOUT_STEP:
                    del own["step"]
                else:
                    own["step"] = int(own["step"]) if kind in WHOLE_STEP else own["step"].astype(np.float32)
                states[known[path].name] = own
    missing = states.keys() - numbers.keys()
    if missing:
        raise ValueError(f"{where}: expected {sorted(missing)} among PyTorch's parameters, got {list(numbers)}")
    found = {numbers[name]: own | _buffers.to_torch(where, name, buffers[name]) for name, own in states.items()}
    found = dict(sorted(found.items()))
    if isinstance(like, Mapping):
        return {"state": found, "param_groups": like["param_groups"]}
    return [
        {
            "state": {number: own for (place, number), own in found.items() if place == index},
            "param_groups": one["param_groups"],
        }
        for index, one in enumerate(like)
    ]


def _with_lbfgs(
    where: str, state: TrainState, saved: Any, parameters: Any, own: list[Entry], count: int | None
) -> TrainState:
    numbers, ours = _whole(where, state, saved, parameters, own)
    if count is None:
        raise ValueError(f"{where}: L-BFGS does not save the number of updates; give `count`")
    steps = jnp.asarray(check_integer(where, "count", count, 0), jnp.int32)
    theirs = saved["state"].get(next(iter(numbers.values())), {})
    missing = [name for name in ("d", *_lbfgs.NUMBERS) if theirs.get(name) is None]
    if theirs and missing:
        raise ValueError(f"{where}: expected the state of LBFGS, got {sorted(theirs)} without {missing}")

    def new(node: Any) -> Any:
        if not _lbfgs.is_state(node):
            return node
        full = _lbfgs.from_torch(where, theirs, list(numbers), ours, node) if theirs else node
        return full._replace(count=steps, lr=jnp.asarray(saved["param_groups"][0]["lr"], node.lr.dtype))

    return dataclasses.replace(state, opt_state=jax.tree.map(new, state.opt_state, is_leaf=_lbfgs.is_state), step=steps)


def _of_lbfgs(
    where: str, state: TrainState, own: Any, like: Any, parameters: Any, trained: list[Entry]
) -> dict[str, Any]:
    numbers, ours = _whole(where, state, like, parameters, trained)
    begun = {next(iter(numbers.values())): _lbfgs.to_torch(where, own, list(numbers), ours)} if int(own.n_iter) else {}
    return {"state": begun, "param_groups": like["param_groups"]}


def _whole(
    where: str, state: TrainState, saved: Any, parameters: Any, own: list[Entry]
) -> tuple[Mapping[str, Any], list[tuple[Entry, tuple[int, ...]]]]:
    """The numbers of all parameters in PyTorch's order, and the variables with their shapes in ours."""
    without = {**saved, "state": {}} if isinstance(saved, Mapping) and "state" in saved else saved
    theirs = saved_by_name(where, without, parameters, own)
    known = _by_path(own, theirs)
    leaves = jax.tree.leaves_with_path(state.params)
    paths = [(jax.tree_util.keystr(path, simple=True, separator="/"), leaf.shape) for path, leaf in leaves]
    return theirs.numbers, [(known[path], shape) for path, shape in paths]


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


def _by_path(own: list[Entry], saved: Saved) -> dict[str, Entry]:
    """The parameters by path; a shared one under that of its names by which PyTorch's optimizer knows it."""
    theirs = {id(entry.variable): entry for entry in own if entry.name in saved.numbers}
    return {entry.path: theirs.get(id(entry.variable), entry) for entry in own}


def _largest_step(where: str, saved: Saved) -> int:
    steps = [int(np.max(own["step"])) for own in saved.states.values() if "step" in own]
    if not steps:
        raise ValueError(
            f"{where}: the state has no step numbers, which SGD and Muon do not save; give `count`, the number of "
            "updates so far"
        )
    return max(steps)


def _numbers(node: Any) -> tuple[str, ...]:
    return ("step", *scalar_names(type(node)))
