"""Name the first place where a port differs from PyTorch's model, and why.

Both sides are recorded in the order of computation: parameters, inputs and outputs of layers, loss, gradients, running
statistics, updates. What is lined up is judged twice.

- *As it runs*: each side goes its own way. The first quantity that exceeds what rounding allows is the first
  difference; all that follows inherits it.
- *Layer by layer*: each JAX layer is fed PyTorch's inputs and output gradients, children before their parents. A child
  that is wrong is replaced by what PyTorch computed before its parent is judged. So every wrong layer is found at once,
  and a parent is named only for what it does between its children. The loss is judged on PyTorch's output, and the
  optimizer on PyTorch's gradients.

What rounding allows is measured: PyTorch runs in float32, too, and its distance from float64 is the floor of each
quantity. The floor scales with the precision, so one run serves both.

The cause is found by experiment. A layer of PyTorch is run again while one of its function calls is changed into a
known mistake (`mistakes`): another ε, a flipped kernel, a missing scale. The mistake that makes the difference vanish,
in the output and in all gradients, is the cause.

    comparison.py   the two judgements            lining.py, lined_variables.py   which layer and which array is which
    torch_side.py   record and replay PyTorch     intercept.py    change PyTorch's function calls
    jax_side.py     record a port                 mistakes/       the known mistakes
    jax_replay.py, forced.py, jax_arrays.py       run single layers of a port again
    ports/          NNX, Linen, Equinox, functions
    walk.py         the calls of one run          causes.py, residual.py, scaled.py   try them
    layerwise.py, judge.py, losswise.py           report.py, html.py, command.py
    training/       the optimizer's mistakes      golden.py       PyTorch's side in a file
    bench/          planted mistakes in ports of small models
"""

from typing import TYPE_CHECKING, Any

from parity.diff.golden import check as check
from parity.diff.marks import mark as mark
from parity.diff.report import Report as Report

if TYPE_CHECKING:
    from parity.diff.comparison import compare as compare
    from parity.diff.recipe import Recipe as Recipe
    from parity.diff.recording import record as record

NEED_TORCH = {"compare": "parity.diff.comparison", "Recipe": "parity.diff.recipe", "record": "parity.diff.recording"}


def __getattr__(name: str) -> Any:
    # Goldens are checked where PyTorch is not installed.
    if name in NEED_TORCH:
        from importlib import import_module

        return getattr(import_module(NEED_TORCH[name]), name)
    raise AttributeError(f"module 'parity.diff' has no attribute {name!r}")
