"""The train steps of the scripts in `examples/`."""

import dataclasses
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec
from jaxtyping import PyTree

from jaxtrain.train import TrainState
from parity.compile.step import Step

FOLDER = Path(__file__).parents[2] / "examples"
_ROWS, _MIN_SIZE = 64, 2**10
_TEXT_RULES = {
    "(attend|widen)/kernel": PartitionSpec(None, "model"),
    "(attend|widen)/bias": PartitionSpec("model"),
    "(project|narrow)/kernel": PartitionSpec("model"),
}


def steps(folder: Path = FOLDER) -> list[Step]:
    """The step of each example, with the batch of the script on each device.

    Raises:
        RuntimeError: if the scripts are not there, or import what is not installed.
    """
    try:
        scripts = {name: runpy.run_path(str(folder / f"{name}.py")) for name in ("digits", "cnn", "text")}
    except FileNotFoundError as error:
        raise RuntimeError(f"examples: expected the scripts of a checkout in {folder}, got none") from error
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"examples: expected {error.name}, got a Python without it; install it: pip install '.[examples]'"
        ) from error
    digits, cnn, text = scripts["digits"], scripts["cnn"], scripts["text"]

    def of_digits(net: str) -> Step:
        def new() -> TrainState:
            return _told(TrainState.create(*digits["recipe"](net, seed=0, epochs=30)), steps=20)

        return _step(f"digits, {net}", new, digits["loss_fn"], _labelled(64))

    def of_cnn(bfloat16: bool) -> Step:
        def new() -> TrainState:
            lr = cnn["schedule"]("onecycle", 0.2, epochs=12)
            return _told(cnn["new_state"](3, (16, 32, 64), lr, bfloat16=bfloat16), steps=782)

        return _step("CNN" + ", bfloat16" * bfloat16, new, cnn["loss_fn"], _labelled(32, 32, 3))

    def tokens(rows: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((rows, text["CONTEXT"] + 1), jnp.int32)

    def of_text() -> TrainState:
        return _told(text["new_state"](64, 2, epochs=3), steps=132)

    return [
        of_digits("dropout"),
        of_digits("batchnorm"),
        of_cnn(False),
        of_cnn(True),
        _step("text", of_text, text["loss_fn"], tokens, rules=_TEXT_RULES, accumulate=2),
    ]


def _told(state: TrainState, steps: int) -> TrainState:
    """The state whose schedules know how many steps an epoch has, as `fit` tells them."""
    return dataclasses.replace(state, blueprint=state.blueprint.with_steps_per_epoch(steps))


def _step(name: str, new: Callable[[], TrainState], loss_fn: Any, batch: Callable[[int], PyTree], **more: Any) -> Step:
    return Step(name, new, loss_fn, batch, _ROWS, min_size=_MIN_SIZE, **more)


def _labelled(*shape: int) -> Callable[[int], PyTree]:
    def batch(rows: int) -> PyTree:
        return jax.ShapeDtypeStruct((rows, *shape), jnp.float32), jax.ShapeDtypeStruct((rows,), jnp.int32)

    return batch
