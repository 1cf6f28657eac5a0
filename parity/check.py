"""The comparisons of this package, for your own code.

Each function runs an implementation and its PyTorch counterpart side by side: in float64 for the formula, and in
float32 for the precision, there with several draws of the inputs. A draw multiplies each number by a factor from 3/4 to
1, except zeros, ones and other numbers of few bits. If the two disagree, an `AssertionError` names the place.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
import torch
from flax import nnx

from parity import _arguments as arguments
from parity.case import Case
from parity.diff.inputs import described
from parity.subjects.layer import LayerCase, Variables, flax_names, same_layout
from parity.subjects.loss import Inputs, LossCase
from parity.subjects.optimizer import STEPS, Leaf, OptimizerCase, live_leaves
from parity.subjects.schedule import ScheduleCase
from parity.verdicts import Measurement


def check_optimizer(
    ours: optax.GradientTransformation,
    reference: Callable[[list[torch.Tensor]], torch.optim.Optimizer],
    *,
    steps: int = STEPS,
    leaves: Mapping[str, Leaf] | None = None,
) -> Measurement:
    """Compare an Optax transformation with a PyTorch optimizer: the parameters after every step.

    Args:
        ours: the transformation.
        reference: makes the PyTorch optimizer on a list of parameters.
        steps: number of steps of the default trajectory.
        leaves: parameters and gradients of your own; by default a scalar and a matrix whose gradients hold zeros, sign
            flips, tiny and huge values. Their norm is about 1e6 at every step, so an optimizer that clips needs others:
            those of `parity.subjects.optimizer.live_leaves(scale=1e-6)` have norms from 0.9 to 5.3.

    Returns:
        The errors found, relative to the distance travelled.

    Raises:
        AssertionError: if a verdict fails; it names the step, the parameter, both values and how many ulp lie between
            them.
        TypeError: if an argument is of another kind, or the optimizer needs a closure.
        ValueError: if `steps` is not a whole number of at least 1, or a parameter of `leaves` lacks a gradient for a
            step.

    Example:
        >>> import parity
        >>> import optax, torch
        >>> found = parity.check_optimizer(optax.sgd(0.1), lambda parameters: torch.optim.SGD(parameters, 0.1))
        >>> found.formula < 1e-12
        True
        >>> parity.check_optimizer(optax.rmsprop(0.1), lambda parameters: torch.optim.RMSprop(parameters, 0.1))
        Traceback (most recent call last):
        ...
        AssertionError: parameter 'scalar' at step 0: ours ...
    """
    where = "check_optimizer"
    if not (hasattr(ours, "init") and hasattr(ours, "update")):
        raise TypeError(
            f"{where}: expected ours to be an Optax transformation, got {described(ours)}; the first argument is ours, "
            "the second makes PyTorch's"
        )
    way_out = "one that makes the optimizer, such as lambda parameters: torch.optim.SGD(parameters, 0.1)"
    arguments.check_function(where, "reference", reference, way_out)
    if leaves is None:
        arguments.check_steps(where, steps)
        leaves = live_leaves(steps)
    arguments.check_leaves(where, leaves)
    made = reference([torch.nn.Parameter(torch.tensor(leaf.initial, dtype=torch.float32)) for leaf in leaves.values()])
    arguments.check_made(where, "reference", made, torch.optim.Optimizer, "a PyTorch optimizer")
    if isinstance(made, torch.optim.LBFGS):
        raise TypeError(f"{where}: expected an optimizer whose step takes no closure, got LBFGS")
    return _checked(
        OptimizerCase(
            component="optimizer", ours=partial(_itself, ours), reference=reference, leaves=leaves, states=False
        )
    )


def check_loss(
    ours: Callable[..., jax.Array],
    reference: Callable[..., torch.Tensor],
    *inputs: Inputs,
    wrt: tuple[int, ...] = (0,),
) -> Measurement:
    """Compare a function with its PyTorch counterpart, by value and gradient.

    Args:
        ours: called with JAX arrays.
        reference: called with tensors.
        *inputs: sets of inputs, each a tuple of NumPy arrays. Floating ones are cast to float64 and to float32.
        wrt: positions of the inputs with respect to which gradients are compared.

    Returns:
        The errors found, relative to the largest magnitude of each result.

    Raises:
        AssertionError: if a verdict fails; it names the value or gradient, its index, both numbers and how many ulp lie
            between them.
        TypeError: if an argument is of another kind, or a function returns no array.
        ValueError: if `wrt` names no floating input, or PyTorch's result has no gradient.

    Example:
        >>> import parity
        >>> import numpy as np, optax, torch
        >>> logits, classes = np.array([[2.0, -1.0, 0.5]]), np.array([2])
        >>> found = parity.check_loss(
        ...     lambda x, y: optax.softmax_cross_entropy_with_integer_labels(x, y).mean(),
        ...     torch.nn.functional.cross_entropy,
        ...     (logits, classes),
        ... )
        >>> found.passed
        True
    """
    where = "check_loss"
    arguments.check_function(where, "ours", ours, "one of JAX arrays")
    arguments.check_function(where, "reference", reference, "one of tensors")
    arguments.check_sets(where, inputs, wrt)
    arguments.check_results(where, ours, reference, inputs[0], wrt)
    return _checked(
        LossCase(component="loss", ours=ours, reference=reference, inputs=inputs, wrt=wrt, right_is_enough=True)
    )


def check_schedule(
    ours: Callable[[jax.Array], jax.Array],
    reference: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler],
    *,
    lr: float = 0.1,
    steps: int = 1000,
    read: Callable[[dict[str, Any]], float] = lambda group: group["lr"],
) -> Measurement:
    """Compare a schedule with what a PyTorch scheduler writes into its optimizer.

    Args:
        ours: a function of the count.
        reference: makes the scheduler on an optimizer with learning rate `lr`.
        lr: that learning rate.
        steps: how many values are compared, the first before any step of the scheduler.
        read: what of a parameter group the schedule is; the learning rate by default.

    Returns:
        The errors found, relative to each value.

    Raises:
        AssertionError: if a verdict fails; it names the step, both values and how many ulp lie between them.
        TypeError: if an argument is of another kind, or the rate is not a function of the count.
        ValueError: if `steps` is not a whole number of at least 1.

    Example:
        >>> import parity
        >>> import torch
        >>> from jaxtrain.schedules import step_lr
        >>> torch_step_lr = lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 30)
        >>> found = parity.check_schedule(step_lr(0.1, 30), torch_step_lr)
        >>> found.passed
        True
    """
    where = "check_schedule"
    arguments.check_function(where, "ours", ours, "one of the count")
    way_out = "one that makes the scheduler, such as lambda optimizer: StepLR(optimizer, 30)"
    arguments.check_function(where, "reference", reference, way_out)
    arguments.check_steps(where, steps)
    made = reference(torch.optim.SGD([torch.nn.Parameter(torch.zeros(()))], lr))
    arguments.check_made(where, "reference", made, torch.optim.lr_scheduler.LRScheduler, "a PyTorch scheduler")
    if isinstance(made, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise TypeError(f"{where}: expected a scheduler that is a function of the count, got ReduceLROnPlateau")
    return _checked(ScheduleCase(component="schedule", ours=ours, reference=reference, lr=lr, steps=steps, read=read))


def check_layer(
    ours: Callable[[nnx.Rngs], nnx.Module],
    reference: Callable[[], torch.nn.Module],
    *inputs: np.ndarray,
    variables: Callable[[Variables], Variables] = flax_names,
    to_torch: Callable[[np.ndarray], np.ndarray] = same_layout,
    from_torch: Callable[[np.ndarray], np.ndarray] = same_layout,
) -> Measurement:
    """Compare an NNX module with a `torch.nn` module that has the same variables.

    Args:
        ours: makes the module.
        reference: makes the PyTorch module, whose variables ours takes over.
        *inputs: one array a training step; the last one is also seen in evaluation mode.
        variables: from PyTorch's variables by name to ours by path (dots between its parts). By default a matrix
            `weight` is our transposed `kernel`, and every other name stays.
        to_torch: from our layout of inputs and outputs to PyTorch's.
        from_torch: the way back.

    Returns:
        The errors found in outputs, gradients and running statistics, relative to the largest magnitude of each.

    Raises:
        AssertionError: if a verdict fails; it names the array, the index, both values and how many ulp lie between
            them.
        TypeError: if an argument is of another kind.
        ValueError: if a variable of ours has no value of its shape among PyTorch's, under the names that `variables`
            gives them, or the inputs hold NaN.

    Example:
        >>> import parity
        >>> import numpy as np, torch
        >>> from flax import nnx
        >>> found = parity.check_layer(
        ...     lambda rngs: nnx.Linear(3, 2, rngs=rngs),
        ...     lambda: torch.nn.Linear(3, 2),
        ...     np.array([[1.0, -2.0, 0.5]]),
        ... )
        >>> found.passed
        True
    """
    where = "check_layer"
    arguments.check_function(where, "ours", ours, "one that makes the module, such as lambda rngs: Net(rngs=rngs)")
    arguments.check_function(where, "reference", reference, "one that makes the module, such as lambda: Net()")
    arguments.check_made(where, "reference", reference(), torch.nn.Module, "a PyTorch module")
    arguments.check_made(where, "ours", ours(nnx.Rngs(0)), nnx.Module, "an NNX module")
    arguments.check_arrays(where, inputs)
    return _checked(
        LayerCase(
            component="layer",
            ours=ours,
            reference=reference,
            inputs=inputs,
            variables=variables,
            to_torch=to_torch,
            from_torch=from_torch,
            centre=0.0,
            right_is_enough=True,
        )
    )


def _itself(transformation: optax.GradientTransformation) -> optax.GradientTransformation:
    """The transformation. Within a `partial` of it, a later check finds the program of an earlier one."""
    return transformation


def _checked(case: Case) -> Measurement:
    if case.measurement.difference:
        raise AssertionError(str(case.measurement.difference))
    return case.measurement
