"""Adafactor."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxtrain._ground.checks import check_length, check_scalar, is_zero
from jaxtrain.optim._per_parameter import Buffers, Hyperparameter, per_parameter


class AdafactorState(NamedTuple):
    """State of `adafactor`.

    Attributes:
        count: number of updates so far, the argument of schedules.
        step: number of steps so far; after a gradient was None, one number per parameter, in the order of the leaves.
        lr: learning rate of the last update.
        row_var: running mean of each parameter's squared gradients over the last axis, which has length 1 here; None
            for vectors and scalars.
        col_var: the same over the last axis but one.
        variance: running mean of the squared gradients of vectors and scalars; None for other parameters.
    """

    count: jax.Array
    step: jax.Array
    lr: jax.Array
    row_var: Any = None
    col_var: Any = None
    variance: Any = None


def adafactor(
    lr: Hyperparameter = 1e-2,
    beta2_decay: Hyperparameter = -0.8,
    eps: tuple[Hyperparameter | None, Hyperparameter] = (None, 1e-3),
    d: Hyperparameter = 1.0,
    weight_decay: Hyperparameter = 0.0,
    *,
    maximize: bool = False,
) -> optax.GradientTransformation:
    r"""Adafactor: second moments of a matrix from those of its rows and columns, steps relative to the parameter.

    With :math:`g \leftarrow \pm g`, and for vectors and scalars :math:`\hat v \leftarrow v \leftarrow v + t^\tau (g^2 -
    v)`:

    .. math::
        r \leftarrow r + t^\tau (\overline{g^2}_{\text{row}} - r), \quad
        c \leftarrow c + t^\tau (\overline{g^2}_{\text{column}} - c), \quad
        \hat v = \frac{r \, c}{\max(\bar r, \varepsilon_1)}, \\
        u = \frac{g}{\sqrt{\max(\hat v, \varepsilon_1^2)}}, \quad
        p \leftarrow p - \eta \lambda p - \max(\varepsilon_2, \mathrm{rms}(p)) \cdot \min(\eta, 1 / \sqrt t) \cdot
            \frac{u}{\max(1, \mathrm{rms}(u) / d)}

    Rows and columns are the last two axes; those before count a stack of matrices. The root mean squares are taken over
    the whole parameter, that of :math:`p` before it decays. A matrix and its transpose get the same update.

    Args:
        lr: largest relative step size :math:`\eta \ge 0`; a number, an array or a schedule, like all but the flag.
        beta2_decay: power :math:`\tau \le 0` by which the means slow down.
        eps: floor :math:`\varepsilon_1 \ge 0` of the root of the second moments, by default the spacing of the
            parameter's own dtype at 1, and floor :math:`\varepsilon_2 \ge 0` of the parameter's size.
        d: size :math:`d \ge 1` above which :math:`u` is scaled down.
        weight_decay: :math:`\lambda \ge 0`, decoupled, multiplied by `lr`.
        maximize: ascend instead of descend.

    Returns:
        An `optax.GradientTransformation` with an `AdafactorState`, which needs the parameters in `update`. Buffers
        have the dtype of their parameters.

    Raises:
        ValueError: if a hyper-parameter is out of range.

    Example:
        The first step is a hundredth of the parameter's root mean square, of which eight numbers remember the moments:

        >>> from jaxtrain import optim
        >>> import jax.numpy as jnp
        >>> optimizer = optim.adafactor()
        >>> parameter = jnp.full((3, 5), 2.0)
        >>> update, state = optimizer.update(jnp.full((3, 5), 7.0), optimizer.init(parameter), parameter)
        >>> round(float(update[0, 0]), 6)
        -0.02
        >>> state.row_var.shape, state.col_var.shape
        ((3, 1), (1, 5))

    PyTorch: `torch.optim.Adafactor`, which takes the default :math:`\varepsilon_1` of all parameters of a group from
    the dtype of the first one. Of a convolution, PyTorch factors the last axes of its layout, the window; here they are
    the channels in and out. `optax.adafactor` factors the two largest axes, from 128 on only, decays without the
    learning rate and adds 1e-30 in place of the floor :math:`\varepsilon_1`.

    Source: Shazeer & Stern, `Adafactor: Adaptive Learning Rates with Sublinear Memory Cost
    <https://arxiv.org/abs/1804.04235>`_, 2018.
    """
    eps1, eps2 = check_length("adafactor", "eps", eps, 2)
    check_scalar("adafactor", "lr", lr, 0.0)
    check_scalar("adafactor", "beta2_decay", beta2_decay, high=0.0)
    if eps1 is not None:
        check_scalar("adafactor", "eps[0]", eps1, 0.0)
    check_scalar("adafactor", "eps[1]", eps2, 0.0)
    check_scalar("adafactor", "d", d, 1.0)
    check_scalar("adafactor", "weight_decay", weight_decay, 0.0)
    decays = not is_zero(weight_decay)

    def buffers(parameter: jax.Array) -> Buffers:
        if parameter.ndim < 2:
            return {"variance": jnp.zeros_like(parameter)}
        *stack, rows, columns = parameter.shape
        return {
            "row_var": jnp.zeros((*stack, rows, 1), parameter.dtype),
            "col_var": jnp.zeros((*stack, 1, columns), parameter.dtype),
        }

    def scalars(step, lr, beta2_decay, eps2, d, weight_decay, eps1=None):
        return {
            "fresh": step**beta2_decay,
            "relative": jnp.minimum(lr, 1 / jnp.sqrt(step)),
            "eps2": eps2,
            "d": d,
            "decay": lr * weight_decay,
        } | ({} if eps1 is None else {"eps1": eps1})

    def update(
        gradient, parameter, *, fresh, relative, eps2, d, decay, eps1=None, row_var=None, col_var=None, variance=None
    ):
        if maximize:
            gradient = -gradient
        if eps1 is None:
            eps1 = jnp.finfo(parameter.dtype).eps.astype(gradient.dtype)
        square = gradient * gradient
        if variance is None:
            row_var = row_var + fresh * (square.mean(axis=-1, keepdims=True) - row_var)
            col_var = col_var + fresh * (square.mean(axis=-2, keepdims=True) - col_var)
            new = {"row_var": row_var, "col_var": col_var}
            estimate = row_var * col_var / jnp.maximum(row_var.mean(axis=-2, keepdims=True), eps1)
        else:
            estimate = variance + fresh * (square - variance)
            new = {"variance": estimate}
        direction = gradient / jnp.sqrt(jnp.maximum(estimate, eps1 * eps1))
        parameter = parameter.astype(gradient.dtype)
        step_size = jnp.maximum(eps2, _root_mean_square(parameter)) * relative
        change = -step_size / jnp.maximum(1, _root_mean_square(direction) / d) * direction
        return change - decay * parameter if decays else change, new

    hyperparameters = {"lr": lr, "beta2_decay": beta2_decay, "eps2": eps2, "d": d, "weight_decay": weight_decay}
    if eps1 is not None:
        hyperparameters["eps1"] = eps1
    return per_parameter(AdafactorState, hyperparameters, buffers, scalars, update, "adafactor")


def _root_mean_square(array: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(array * array))
