"""Goldens: what PyTorch computed, in a file, so that a machine without PyTorch can check a port."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from zipfile import BadZipFile

import jax
import numpy as np
import optax

from parity.diff.batches import batches_of
from parity.diff.float32 import float32_casts
from parity.diff.floors import Floors
from parity.diff.inputs import OUR_BATCH, check_loss, check_transformation, named_failures
from parity.diff.jax_side import JaxSide
from parity.diff.lining import kinds_of, line_up
from parity.diff.ports import port_of
from parity.diff.records import Call, Step
from parity.diff.report import Report
from parity.diff.running import as_it_runs

FORMAT = 2
RECORD = "record it with diff.record, or with pytest --record-goldens"


@dataclass
class Golden:
    """PyTorch's side of a diff.

    Attributes:
        start: the variables before the first step.
        batches: one a step.
        exact: the steps in float64.
        floors: how far the steps in float32 are from these, which shows what rounding does.
        training: whether the module was in training mode.
    """

    start: dict[str, np.ndarray]
    batches: list[tuple[np.ndarray, ...]]
    exact: list[Step]
    floors: list[Floors]
    training: bool


def save(golden: Golden, path: Path) -> None:
    """Write a golden: one compressed file of NumPy arrays."""
    arrays: dict[str, np.ndarray] = {f"start/{name}": array for name, array in golden.start.items()}
    for at, batch in enumerate(golden.batches):
        arrays |= {f"batch/{at}/{index}": np.asarray(array) for index, array in enumerate(batch)}
    calls = []
    for at, step in enumerate(golden.exact):
        arrays[f"{at}/loss"] = np.asarray(step.loss)
        for kind in ("gradients", "buffers", "parameters"):
            arrays |= {f"{at}/{kind}/{name}": array for name, array in getattr(step, kind).items()}
        calls.append([[call.path, call.number, call.kind, len(call.outputs)] for call in step.calls])
        for index, call in enumerate(step.calls):
            for number, (output, gradient) in enumerate(zip(call.outputs, call.output_gradients, strict=True)):
                arrays[f"{at}/output/{index}/{number}"] = output
                if gradient is not None:
                    arrays[f"{at}/gradient/{index}/{number}"] = gradient
    floors = [asdict(each) for each in golden.floors]
    about = {"format": FORMAT, "training": golden.training, "calls": calls, "floors": floors}
    np.savez_compressed(path, about=np.asarray(json.dumps(about)), **arrays)  # type: ignore[arg-type]


def load(path: Path) -> Golden:
    """Read a golden."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = dict(file)
        about = json.loads(str(arrays.pop("about")))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"diff.check: expected a golden at {path}, found none; {RECORD}") from error
    except (OSError, ValueError, TypeError, KeyError, BadZipFile) as error:
        raise ValueError(
            f"diff.check: expected {path} to be a golden, got another or a damaged file; {RECORD}"
        ) from error
    if about.get("format") != FORMAT:
        raise ValueError(
            f"diff.check: expected a golden of format {FORMAT}, got {about.get('format')} in {path}, which another "
            f"version of parity wrote; {RECORD}"
        )

    def under(prefix: str) -> dict[str, np.ndarray]:
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    def step(at: int) -> Step:
        calls = []
        for index, (name, number, kind, count) in enumerate(about["calls"][at]):
            outputs = [arrays[f"{at}/output/{index}/{output}"] for output in range(count)]
            gradients = [arrays.get(f"{at}/gradient/{index}/{output}") for output in range(count)]
            calls.append(Call(name, number, kind, None, [], outputs, gradients))
        gradients, buffers, parameters = (under(f"{at}/{kind}/") for kind in ("gradients", "buffers", "parameters"))
        return Step(calls, float(arrays[f"{at}/loss"]), gradients, buffers, parameters)

    steps = range(len(about["calls"]))
    batches = [tuple(under(f"batch/{at}/")[str(index)] for index in range(len(under(f"batch/{at}/")))) for at in steps]
    floors = [Floors(**each) for each in about["floors"]]
    return Golden(under("start/"), batches, [step(at) for at in steps], floors, about["training"])


def check(
    path: str | Path,
    model: Any,
    *,
    loss: Callable[..., jax.Array] | None = None,
    optimizer: optax.GradientTransformation | None = None,
    names: Mapping[str, str] | None = None,
    as_is: Collection[str] = (),
    layers: Mapping[str, str] | None = None,
    jax_batch: tuple[Any, ...] | Sequence[tuple[Any, ...]] | None = None,
    precision: Literal["float64", "float32"] = "float64",
) -> Report:
    """Compare a port with what PyTorch computed when `diff.record` ran; PyTorch is not needed.

    The weights are taken from the golden. Both sides are compared as they run; to judge layer by layer and to find
    causes, PyTorch must be there (`diff.compare`).

    Args:
        path: the file.
        model: the port, see `diff.compare`; it stays as it is.
        loss: our loss, called with the model and the arrays of a batch. Default None: the one of `diff.compare`.
        optimizer: our optimizer, if PyTorch's was recorded. Default None: none.
        names: rules from our names to PyTorch's, see `diff.compare`.
        as_is: PyTorch's names of arrays with our order of axes.
        layers: PyTorch's path for some of our layers.
        jax_batch: the batch in the layout of the port, or one a step. Default None: as they were recorded.
        precision: of JAX. Default "float64".

    Returns:
        What was found.

    Raises:
        FileNotFoundError: if there is no golden.
        TypeError: if an argument is of the wrong type.
        ValueError: if the file is not a golden, or one of another model or recipe.
        RuntimeError: if the port or its loss fails on the batch.
    """
    golden = load(Path(path))
    check_loss(None, loss)
    check_transformation(optimizer)
    trained = bool(golden.exact[0].parameters)
    if trained != (optimizer is not None):
        had, given = ("with", "none") if trained else ("without", "one")
        raise ValueError(
            f"diff.check: expected `optimizer` as in the golden, which was recorded {had} an optimizer, got {given}"
        )
    with jax.enable_x64(precision == "float64"), jax.default_matmul_precision("highest"):
        port = port_of(model, precision, names=names, as_is=as_is, known=golden.start)
        side = JaxSide(port, loss, dtype=precision, silent=golden.training)
        batches = golden.batches if jax_batch is None else batches_of("jax_batch", jax_batch, len(golden.batches))
        if len(batches) != len(golden.batches):
            raise ValueError(
                f"diff.check: expected as many batches in jax_batch as the golden has, got {len(batches)} for "
                f"{len(golden.batches)}"
            )
        known = kinds_of(golden.exact[0].calls)
        with named_failures("the port or its loss", batches[0], OUR_BATCH):
            called = kinds_of(side.called(batches[0]))
        lines = line_up(called, known, side.arrays(), golden.start, names=names, layers=layers)
        _check_shapes(path, lines.in_torch(side.arrays()), golden.start)
        side.load(lines.to_ours(golden.start))
        with named_failures("the port or its loss", batches[0], OUR_BATCH):
            steps = side.recorded(batches, optimizer)
        report = Report(precision=precision, unmatched=lines.unmatched)
        rounded = bool(float32_casts(side, optimizer))
        report.running = as_it_runs(lines, steps, golden.exact, golden.floors, golden.start, precision, rounded)
    return report


def _check_shapes(path: str | Path, ours: Mapping[str, np.ndarray], golden: Mapping[str, np.ndarray]) -> None:
    if golden and not ours:
        raise ValueError(
            f"diff.check: expected {path} to be a golden of this model, got one with other variables "
            f"({', '.join(sorted(golden)[:3])}, ...); pass names=, or record it with the right model"
        )
    for name, array in ours.items():
        if array.shape != golden[name].shape:
            raise ValueError(
                f"diff.check: expected {path} to be a golden of this model, got {name!r} with shape "
                f"{golden[name].shape}, ours has {array.shape}; make the model as it was recorded, or record it again"
            )
