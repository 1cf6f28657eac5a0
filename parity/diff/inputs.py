"""What a diff is given besides the batch: checked before it runs, and named where the user's code fails in it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

OUR_BATCH = "pass jax_batch= if the port takes another layout, such as images with channels last"


def check_module(module: Any, who: str, place: str) -> None:
    """Raise unless a model is an instance of a PyTorch module, on the CPU.

    Args:
        module: what was given.
        who: the function that it was given to, for errors.
        place: where it is expected, likewise.
    """
    import torch  # Goldens are checked where PyTorch is not installed.

    if not isinstance(module, torch.nn.Module):
        raise TypeError(f"{who}: expected PyTorch's module {place}, got {described(module)}")
    for name, tensor in module.state_dict().items():
        if tensor.device.type != "cpu":
            fix = "give it its weights" if tensor.device.type == "meta" else "call module.cpu()"
            raise ValueError(f"{who}: expected PyTorch's module on the CPU, got {name!r} on {tensor.device}; {fix}")


def described(value: Any) -> str:
    """What a value is, in words: a class that should be an instance, or an object of some library."""
    if isinstance(value, type):
        return f"the class {value.__name__}; make an instance of it"
    kind = type(value)
    library = kind.__module__.partition(".")[0]
    return kind.__name__ if library == "builtins" else f"{kind.__name__} of {library}"


def pair_of(name: str, given: Any, ours: str) -> tuple[Any, Any]:
    """PyTorch's and our counterpart; None and None if there are none.

    Args:
        name: of the argument, for errors.
        given: the pair, or None.
        ours: what ours is, in words.
    """
    if given is None:
        return None, None
    if not isinstance(given, tuple) or len(given) != 2:
        raise TypeError(
            f"diff: expected {name} to be a pair, PyTorch's and ours, got {type(given).__name__}; pass "
            f"{name}=(PyTorch's, {ours})"
        )
    return given


def check_loss(theirs: Any, ours: Any) -> None:
    """Raise unless both losses are functions."""
    for whose, function in (("PyTorch's", theirs), ("our", ours)):
        if function is not None and not callable(function):
            given = type(function).__name__
            raise TypeError(f"diff: expected {whose} loss to be a function of the model and the batch, got {given}")


def check_transformation(ours: Any) -> None:
    """Raise unless our optimizer is an Optax transformation."""
    if ours is not None and not (hasattr(ours, "init") and hasattr(ours, "update")):
        raise TypeError(
            f"diff: expected our optimizer to be an Optax transformation, got {type(ours).__name__}; pass "
            "optimizer=(PyTorch's, ours) in this order"
        )


def check_weights(state: Mapping[str, np.ndarray]) -> None:
    """Raise if a weight is NaN: NaN equals NaN, so a diff of a diverged model would find nothing wrong."""
    bad = [name for name, array in state.items() if np.isnan(array).any()]
    if bad:
        more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise ValueError(
            f"diff: expected PyTorch's weights to be numbers, got NaN in {bad[0]!r}{more}; load a checkpoint from "
            "before training diverged"
        )


@contextmanager
def named_failures(whose: str, batch: tuple[Any, ...], way_out: str) -> Iterator[None]:
    """Say which side failed on which batch, where the code of the user raises."""
    try:
        yield
    except Exception as error:
        if str(error).startswith(("diff: ", "Recipe: ")):
            raise
        shapes = ", ".join(f"{np.asarray(array).dtype}{list(np.shape(array))}" for array in batch)
        raise RuntimeError(
            f"diff: {whose} failed on the batch ({shapes}): {type(error).__name__}: {error}; {way_out}"
        ) from error
