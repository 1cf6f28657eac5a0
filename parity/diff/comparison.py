"""Compare a port with PyTorch's model: as it runs, and layer by layer."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
import optax
import torch
from torch.utils import _pytree as pytree

from parity.diff.batches import batches_of, examples_of
from parity.diff.dropping import judge_dropout
from parity.diff.float32 import float32_casts
from parity.diff.floors import floors_of
from parity.diff.inputs import (
    OUR_BATCH,
    check_loss,
    check_module,
    check_transformation,
    check_weights,
    named_failures,
    pair_of,
)
from parity.diff.jax_side import JaxSide
from parity.diff.layerwise import judge_layers
from parity.diff.lining import Lines, kinds_of, line_up
from parity.diff.losswise import judge_loss
from parity.diff.memory import give_back
from parity.diff.optimizers import judge_optimizer
from parity.diff.parameters import judge_parameters
from parity.diff.ports import port_of
from parity.diff.recipe import Recipe
from parity.diff.records import Step
from parity.diff.report import Report
from parity.diff.running import as_it_runs
from parity.diff.torch_side import copied, recorded

TorchOptimizer = Recipe | Callable[[torch.nn.Module], torch.optim.Optimizer]


def compare(
    module: torch.nn.Module,
    model: Any,
    batch: tuple[Any, ...] | Sequence[tuple[Any, ...]],
    *,
    loss: tuple[Callable[..., torch.Tensor], Callable[..., jax.Array]] | None = None,
    optimizer: tuple[TorchOptimizer, optax.GradientTransformation] | None = None,
    steps: int = 1,
    names: Mapping[str, str] | None = None,
    as_is: Collection[str] = (),
    layers: Mapping[str, str] | None = None,
    jax_batch: tuple[Any, ...] | Sequence[tuple[Any, ...]] | None = None,
    precision: Literal["float64", "float32"] = "float64",
) -> Report:
    """Name the parts of a port that differ from PyTorch's model, and why.

    Both models must have the same weights, see `jaxtrain.interop.load_state_dict`, and be in the same mode, training or
    evaluation. They stay as they are. Dropout that is active in PyTorch is switched off on both sides.

    Args:
        module: PyTorch's model.
        model: the port: an NNX module; `(module, variables)` of Linen, or `(module, variables, keywords)` with keywords
            of each call; an Equinox module, or `(module, state)`; or `(function, parameters)`, where the function
            marks its intermediate values with `diff.mark` and is called with the parameters and the batch.
        batch: NumPy arrays, or a list of such tuples, one a step.
        loss: PyTorch's function and ours, each called with the model and the arrays of a batch. Default None: a fixed
            function of the output, and every array of the batch is an input.
        optimizer: PyTorch's, as a function of the module or as a `Recipe` with clipping and schedule, and the Optax
            transformation. Default None: no updates are compared.
        steps: number of steps, on the same batch unless there are several. Default 1.
        names: rules from our names to PyTorch's, as `load_state_dict` takes them. Default None: no rules.
        as_is: PyTorch's names of arrays with our order of axes, see `load_state_dict`. Default (): none.
        layers: PyTorch's path for some of our paths of layers, where names and parameters do not tell. Default None.
        jax_batch: the batch in the layout of the port, such as images with channels last. Default None: the same.
        precision: of JAX. In float64, the sharper judge, float32 variables are converted. Default "float64".

    Returns:
        What was found.

    Raises:
        TypeError: if an argument is of the wrong type.
        ValueError: if an argument does not fit, weights or batch hold NaN, or PyTorch's or our loss is not a scalar.
        RuntimeError: if one of the models or losses fails on the batch.

    Example:
        >>> import numpy as np, torch
        >>> from flax import nnx
        >>> from jaxtrain import interop
        >>> from parity import diff
        >>> theirs = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.LayerNorm(3))
        >>> ours = nnx.Sequential(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), nnx.LayerNorm(3, rngs=nnx.Rngs(0)))
        >>> ours = interop.load_state_dict(ours, theirs.state_dict())
        >>> report = diff.compare(theirs, ours, (np.random.default_rng(0).normal(size=(5, 4)),))
        >>> report.findings[0].name, report.findings[0].cause.says
        ('1', "ε of the norm is 1e-06, PyTorch's is 1e-05")
    """
    check_module(module, "diff", "first")
    if precision not in ("float64", "float32"):
        raise ValueError(f'diff: expected precision "float64" or "float32", got {precision!r}')
    batches = batches_of("batch", batch, steps)
    ours = batches if jax_batch is None else batches_of("jax_batch", jax_batch, steps)
    if len(ours) != len(batches):
        raise ValueError(f"diff: expected as many batches in jax_batch, got {len(ours)} for {len(batches)}")
    torch_loss, jax_loss = pair_of("loss", loss, "our function")
    check_loss(torch_loss, jax_loss)
    torch_loss = torch_loss or mean_sine
    given, transformation = pair_of("optimizer", optimizer, "the Optax transformation")
    check_transformation(transformation)
    recipe = as_recipe(given)
    state = state_of(module)
    check_weights(state)
    with jax.enable_x64(precision == "float64"):
        port = port_of(model, precision, names=names, as_is=as_is, known=state)
    with named_failures("PyTorch's model or loss", batches[0], "pass in batch what they are called with"):
        theirs = recorded(module, torch_loss, batches, recipe, "float64")
        low = recorded(module, torch_loss, batches, recipe, "float32")
    floors = [floors_of(rough, exact) for rough, exact in zip(low, theirs, strict=True)]
    del low  # A large model has no memory for what is not needed any more.
    give_back()
    with jax.enable_x64(precision == "float64"), jax.default_matmul_precision("highest"):
        side = JaxSide(port, jax_loss, dtype=precision, silent=module.training)
        with named_failures("the port or its loss", ours[0], OUR_BATCH):
            steps_of_ours = side.recorded(ours, transformation)
        report = Report(precision=precision, notes=_notes_on_nan(theirs[0]))
        if jax.default_backend() != "cpu":
            report.notes.append("products ran at the highest precision; JAX's default here is lower (TF32 or bfloat16)")
        give_back()
        lines = _lined(side, steps_of_ours, state, theirs, names, layers)
        report.unmatched = lines.unmatched
        report.findings = judge_parameters(lines.in_torch(side.arrays()), state, precision)
        casts = float32_casts(side, transformation)
        report.running = as_it_runs(lines, steps_of_ours, theirs, floors, state, precision, rounded=bool(casts))
        for step in steps_of_ours:
            step.gradients.clear()
        for step in theirs if recipe is None else ():
            step.gradients.clear()
        side.load(lines.to_ours(state))
        give_back()
        report.findings += judge_dropout(side, lines, steps_of_ours[0], module)
        found, rounds = judge_layers(side, lines, steps_of_ours[0], theirs[0], module, precision, report.notes)
        report.findings += found
        if rounds:  # Then nothing as it runs is more exact than that.
            report.running = [each.in_float32() for each in report.running]
        if loss:
            report.findings += judge_loss(
                side, steps_of_ours[0], theirs[0], module, torch_loss, batches[0], ours[0], precision
            )
        if recipe and transformation:
            examples = [examples_of(each) for each in batches]
            report.findings += judge_optimizer(
                side,
                lines,
                theirs,
                copied(module, "float64"),
                recipe,
                transformation,
                examples,
                precision,
                casts,
                report.notes,
            )
    return report


def _notes_on_nan(step: Step) -> list[str]:
    for call in step.calls:
        if any(np.issubdtype(y.dtype, np.floating) and np.isnan(y).any() for y in call.outputs):
            return [f"PyTorch computes NaN in {call.path or 'the model'}, which hides every difference behind it"]
    return []


def as_recipe(optimizer: TorchOptimizer | None) -> Recipe | None:
    """A function that makes an optimizer, as a recipe."""
    return optimizer if isinstance(optimizer, Recipe) or optimizer is None else Recipe(optimizer)


def state_of(module: torch.nn.Module) -> dict[str, np.ndarray]:
    """The floating variables: where they lie, or in float64 if NumPy does not know their dtype."""
    state = {name: value for name, value in module.state_dict().items() if value.is_floating_point()}
    return {
        name: (value if value.dtype in (torch.float32, torch.float64) else value.double()).numpy()
        for name, value in state.items()
    }


def mean_sine(module: torch.nn.Module, *batch: torch.Tensor) -> torch.Tensor:
    """The loss where none is given: a function of the output that depends on no layout and tells all values apart."""
    output = module(*batch)
    leaves = pytree.tree_leaves(output)
    first = next((leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and leaf.is_floating_point()), None)
    if first is None:
        raise ValueError(f"diff: expected PyTorch's model to return a tensor of floats, got {type(output).__name__}")
    return torch.sin(first).mean()


def _lined(side: JaxSide, ours: Any, state: Any, theirs: Any, names: Any, layers: Any) -> Lines:
    called, known = kinds_of(ours[0].calls), kinds_of(theirs[0].calls)
    return line_up(called, known, side.arrays(), state, names=names, layers=layers)
