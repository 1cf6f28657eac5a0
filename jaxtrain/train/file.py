"""A pytree of arrays in one file."""

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree
from numpy.lib.format import read_array, write_array

from jaxtrain._ground.paths import named_leaves
from jaxtrain.train._leaves import differences
from jaxtrain.train._whole_file import replaced

Tree = TypeVar("Tree")
_ABOUT, _FORMAT = "jaxtrain.json", 1


def save(path: str | os.PathLike[str], tree: PyTree) -> None:
    """Write a training state, or any pytree of arrays, into one file.

    The file is NumPy's format `.npz`: `numpy.load` finds each array under the path of its leaf, `params/kernel` for
    instance. A file of that name is replaced as a whole, or stays as it is if the new one cannot be written.

    Args:
        path: the file. Folders are made.
        tree: the state, or `state.params`. All arrays must be on this machine; `Checkpoints` save those that are not.

    Raises:
        TypeError: if a leaf is not an array or a number.
        ValueError: if the tree has no leaves, or an array is spread over several machines.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> def new_state(seed):
        ...     return train.TrainState.create(nnx.Linear(3, 2, rngs=nnx.Rngs(seed)), optax.sgd(0.1))
        >>> path, state = pathlib.Path(tempfile.mkdtemp()) / "state.npz", new_state(0)
        >>> train.save(path, state)
        >>> loaded = train.load(path, new_state(1))
        >>> bool((loaded.params["kernel"] == state.params["kernel"]).all()), np.load(path)["params/kernel"].shape
        (True, (3, 2))

    PyTorch: `torch.save(state, path)`.
    """
    leaves = named_leaves(tree)
    if not leaves:
        raise ValueError(f"save: expected a pytree with arrays, got {tree!r}")
    arrays = {name: _on_host(name, leaf) for name, leaf in leaves.items()}
    about = {"format": _FORMAT, "arrays": {name: _described(leaf) for name, leaf in leaves.items()}}
    path = Path(path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as draft, draft.open("wb") as file:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr(_ABOUT, json.dumps(about))
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    write_array(member, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())


def load(path: str | os.PathLike[str], like: Tree) -> Tree:
    """Read what `save` wrote.

    Args:
        path: the file.
        like: a pytree with the structure, shapes and dtypes of what was saved: a new state. It does not change.

    Returns:
        A tree like it, with the file's numbers, on the same devices.

    Raises:
        FileNotFoundError: if the file does not exist.
        ValueError: if the file is damaged, is not one of `save`, or holds other arrays; the first that differ are
            named.

    Example:
        >>> import pathlib, tempfile
        >>> import jax.numpy as jnp
        >>> from jaxtrain import train
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "weights.npz"
        >>> train.save(path, {"kernel": jnp.ones(3)})
        >>> train.load(path, {"kernel": jnp.zeros(3)})
        {'kernel': Array([1., 1., 1.], dtype=float32)}

    PyTorch: `torch.load(path)`, which needs no `like`, for it runs what the file says.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            about = json.loads(archive.read(_ABOUT))
            there = dict(about["arrays"])
            arrays = {name: read_array(io.BytesIO(archive.read(f"{name}.npy"))) for name in there}
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"load: expected a whole file of jaxtrain.train.save, got {path}, which cannot be read "
            f"({type(error).__name__}: {error})"
        ) from error
    if about["format"] != _FORMAT:
        raise ValueError(
            f"load: expected a file in format {_FORMAT}, got {path} in format {about['format']!r}; read it with the "
            "version of jaxtrain that wrote it"
        )
    templates = named_leaves(like)
    found = differences(there, {name: _described(leaf) for name, leaf in templates.items()}, "the file", "`like`")
    if found:
        raise ValueError(f"load: {path} does not fit: {found}; make `like` as what was saved was made")
    leaves = [_like(template, arrays[name]) for name, template in templates.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _described(leaf: Any) -> str:
    """Dtype and shape, `float32[3, 2]` for instance."""
    leaf = jnp.asarray(leaf)
    return f"{leaf.dtype.name}{list(leaf.shape)}"


def _on_host(name: str, leaf: Any) -> np.ndarray:
    """A leaf as NumPy stores it: keys as their numbers."""
    if not isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int):
        raise TypeError(f"save: expected arrays, got {leaf!r} as {name}")
    leaf = jnp.asarray(leaf)
    if not leaf.is_fully_addressable:
        raise ValueError(f"save: expected arrays on this machine, got {name} on several; use train.Checkpoints")
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _like(template: Any, array: np.ndarray) -> jax.Array:
    """The array that was a leaf like the template, on its devices."""
    template = jnp.asarray(template)
    if _is_key(template):
        new = jax.random.wrap_key_data(jnp.asarray(array), impl=jax.random.key_impl(template))
    else:
        # NumPy knows the bytes of a bfloat16, not its name.
        new = jnp.asarray(array.view(template.dtype) if array.dtype.kind == "V" else array)
    return jax.device_put(new, template.sharding) if template.committed else new


def _is_key(leaf: jax.Array) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
