"""The state of a training run: one pytree of plain arrays, and the module to which they belong."""

import dataclasses
from collections.abc import Callable
from typing import Any, Self, cast

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax.core import Tracer
from jaxtyping import Array, Float, Int, Key, PyTree

from jaxtrain._ground.checks import check_integer
from jaxtrain._ground.epochs import ANY, told
from jaxtrain.train._ingredients import as_key, check_ingredients, check_values
from jaxtrain.train._leaves import copied, in_dtypes_of, own, select
from jaxtrain.train._node import node
from jaxtrain.train.blueprint import Averaging, Blueprint, Options, Variables, check_trainable
from jaxtrain.train.grad_scaler import GradScalerState, all_finite, scaled, unscaled
from jaxtrain.train.precision import Precision
from jaxtrain.train.recomputation import check_remat


@node(static="blueprint")
@dataclasses.dataclass(frozen=True)
class TrainState:
    """Everything that a training run carries from one step to the next, as one pytree.

    The leaves are plain arrays in plain dicts, so a state can be mapped over, saved, sharded, donated and scanned like
    any pytree. `create` takes the NNX module apart, and the compiled step puts it together again.

    Random numbers, such as dropout masks, are not part of the state that changes: at every step the random streams of
    the module restart from `jax.random.split(jax.random.fold_in(key, step), number of streams)`. A run resumed at
    step k therefore draws what the uninterrupted run drew.

    Attributes:
        step: the number of updates so far, int32 scalar.
        params: the values of the module's `nnx.Param` variables, unless they are frozen.
        model_state: the values of all its other variables, running statistics for instance.
        opt_state: the state of the optimizer.
        key: the random key of the run. It never changes.
        average: the running average of the parameters; None if there is none.
        scaler: the `GradScalerState` of a loss that is scaled, otherwise None.
        blueprint: static; the structure of the module, and the optimizer.

    Example:
        >>> import jax
        >>> import jax.numpy as jnp
        >>> import optax
        >>> from flax import nnx
        >>> from jaxtrain import train
        >>> state = train.TrainState.create(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), optax.sgd(0.1), key=42)
        >>> jax.tree.map(jnp.shape, state.params)
        {'bias': (2,), 'kernel': (3, 2)}
        >>> state.model()(jnp.zeros((1, 3))).shape
        (1, 2)

    PyTorch: none; model, optimizer and the global generator each hold a part of it. The nearest is
    `{"model": model.state_dict(), "optimizer": optimizer.state_dict(), "rng": torch.get_rng_state()}`.
    """

    step: Int[Array, ""]
    params: Variables
    model_state: Variables
    opt_state: PyTree
    key: Key[Array, ""]
    average: Any
    scaler: GradScalerState | None
    blueprint: Blueprint = dataclasses.field(repr=False)

    @classmethod
    def create(
        cls,
        model: nnx.Module,
        optimizer: optax.GradientTransformation,
        key: int | Key[Array, ""] = 0,
        *,
        trainable: str | None = None,
        precision: Precision | None = None,
        average: Averaging | None = None,
        skip_non_finite: int = 0,
        remat: str | None = None,
    ) -> Self:
        """Take a module and an optimizer apart into the state before the first step.

        Every leaf is a copy with a separate buffer: the module stays usable when a step consumes the state, and two
        moments that the optimizer starts from the same zeros can both be donated.

        Args:
            model: the network. It does not change.
            optimizer: any Optax transformation.
            key: seed or key of all randomness during training. Default 0.
            trainable: a regular expression for the paths of the parameters to train; "^head/" matches `head/kernel`.
                The others are frozen: they have no gradient, no share in a norm, no moments, and live in `model_state`.
                Default None: all are trained.
            precision: the dtypes of parameters, arithmetic and output, see `Precision`. Default None: nothing is cast.
            average: a running average of the parameters, `jaxtrain.optim.averaged_model(...)` or an `AveragedEvery`,
                updated after every step. `fit` evaluates it. Default None: no average.
            skip_non_finite: at least 0. A step whose gradients are not finite leaves parameters, statistics and
                optimizer as they are, and `fit` ends the run after more than so many of them in a row. With a scaled
                loss they are always skipped, 100 in a row by default. Default 0: no step is skipped.
            remat: a regular expression for the paths of modules that compute their activations again in the backward
                pass instead of keeping them; "^blocks/" matches `blocks/0`. Default None: all are kept.

        Returns:
            The state at step 0.

        Raises:
            TypeError: if `model` is not an NNX module, `optimizer` not an Optax transformation, `key` neither a seed
                nor a key, a variable of the module not an array, or a parameter not a float array.
            ValueError: if `trainable` matches no parameter, `remat` no module, or one is not a regular expression.

        Example:
            >>> import optax
            >>> from flax import nnx
            >>> from jaxtrain import train
            >>> state = train.TrainState.create(nnx.BatchNorm(4, rngs=nnx.Rngs(0)), optax.adam(1e-3))
            >>> sorted(state.params), sorted(state.model_state), int(state.step)
            (['bias', 'scale'], ['mean', 'var'], 0)

        PyTorch: `model = Net(); optimizer = torch.optim.Adam(model.parameters())`.
        """
        check_ingredients(model, optimizer, average)
        check_trainable("TrainState.create", model, trainable)
        check_remat("TrainState.create", model, remat)
        check_integer("TrainState.create", "skip_non_finite", skip_non_finite, 0)
        if not isinstance(precision, Precision | None):
            raise TypeError(f"TrainState.create: precision must be a train.Precision, got {precision!r}")
        options = Options(trainable, precision, average, skip_non_finite, remat)
        blueprint, params, model_state = Blueprint.of(nnx.clone(model), optimizer, options)
        check_values(params, trained=True)
        check_values(model_state, trained=False)

        @jax.jit
        def start(params: Variables, model_state: Variables, key: Key[Array, ""]) -> tuple:
            averages = average.init(params, model_state) if average else None
            scaler = options.scaler.init() if options.scaler else None
            step = jnp.zeros((), jnp.int32)
            with told(steps=ANY) as blueprint.schedules:
                opt_state = optimizer.init(params)
            return own((step, params, model_state, opt_state, key, averages, scaler))

        return cls(*start(params, model_state, as_key(key)), blueprint=blueprint)

    def model(self, *, train: bool = False) -> nnx.Module:
        """Put the NNX module together again, with the values of this state.

        Args:
            train: True for training mode, False for evaluation mode. Default False.

        Returns:
            A module with copies of the values, which stay when a step consumes the state.

        Example:
            >>> import jax.numpy as jnp
            >>> import optax
            >>> from flax import nnx
            >>> from jaxtrain import train
            >>> state = train.TrainState.create(nnx.Dropout(0.5, rngs=nnx.Rngs(0)), optax.sgd(0.1))
            >>> state.model()(jnp.ones(3))
            Array([1., 1., 1.], dtype=float32)

        PyTorch: `model.eval()`, or `model.train()`.
        """
        check_state("TrainState.model", self)
        params, model_state = copied((self.params, self.model_state))
        return self.blueprint.module(params, model_state, self.key, self.step, train=train)

    def step_key(self) -> Key[Array, ""]:
        """A random key for this step, apart from those of the module's streams: what `loss_fn` gets as its `key`.

        Example:
            >>> import optax
            >>> from jaxtrain import nn, train
            >>> state = train.TrainState.create(nn.BatchNorm(1), optax.sgd(0.1), key=3)
            >>> bool((state.step_key() == state.step_key()).all())
            True

        PyTorch: none; draws change the state of a generator.
        """
        return jax.random.fold_in(jax.random.fold_in(self.key, self.step), _OF_LOSS)

    def gradients(self, loss_fn: Callable[..., Any], *args: Any) -> tuple[Variables, Float[Array, ""], Any, Self]:
        """The first half of a step: the gradients of a loss, which may be added, scaled or combined with others.

        Call it under `jax.jit`. Two calls at the same step draw the same random numbers.

        Args:
            loss_fn: `loss_fn(model, *args)` returns a scalar loss, or a loss and anything else: arrays, dicts, other
                states. `model` is the NNX module in training mode.
            *args: its other arguments.

        Returns:
            `gradients, loss, aux, state`: the gradients, like `params`; the loss; what `loss_fn` returned besides, or
            None; and the state with the new running statistics. Parameters and step are as before.

        Raises:
            TypeError: if the loss is not a float scalar.
            ValueError: if `loss_fn` adds variables to the module.

        Example:
            >>> import jax.numpy as jnp
            >>> import optax
            >>> from flax import nnx
            >>> from jaxtrain import train
            >>> state = train.TrainState.create(nnx.Linear(2, 1, rngs=nnx.Rngs(0)), optax.sgd(0.5))
            >>> gradients, loss, _, state = state.gradients(lambda model, x: model(x).sum(), jnp.ones((4, 2)))
            >>> state = state.apply_gradients(gradients)
            >>> gradients["bias"].tolist(), state.params["bias"].tolist(), int(state.step)
            ([4.0], [-2.0], 1)

        PyTorch: `loss.backward()`.
        """

        check_callable("gradients", "loss_fn", loss_fn)

        def loss_of(params: Variables) -> tuple[Float[Array, ""], tuple[Float[Array, ""], Any, Variables]]:
            model = self.blueprint.computing(params, self.model_state, self.key, self.step, train=True)
            result: Any = loss_fn(model, *args)
            loss: Any
            loss, aux = result if type(result) is tuple and len(result) == 2 else (result, None)
            check_loss("gradients: loss_fn", loss)
            model_state = self.blueprint.with_frozen_of(self.model_state, self._others(model))
            return scaled(loss, self.scaler), (loss, aux, model_state)

        gradients, (loss, aux, model_state) = jax.grad(loss_of, has_aux=True)(self.params)
        return unscaled(gradients, self.scaler), loss, aux, dataclasses.replace(self, model_state=model_state)

    def apply_gradients(self, gradients: Variables, **extra: Any) -> Self:
        """The second half of a step: let the optimizer update the parameters.

        Args:
            gradients: like `params`.
            **extra: what a transformation with extra arguments takes, `value=loss` for instance.

        Returns:
            The state after the update, one step later. With a scaled loss, or with `skip_non_finite`, gradients that
            are not finite change no parameters and no state of the optimizer.

        Raises:
            ValueError: if the gradients have another structure than the parameters.

        PyTorch: `optimizer.step()`.
        """
        return self.updated(gradients, **extra)[0]

    def updated(self, gradients: Variables, **extra: Any) -> tuple[Self, Variables]:
        """`apply_gradients`, and the updates that it added to the parameters."""
        if jax.tree.structure(gradients) != jax.tree.structure(self.params):
            raise ValueError(
                f"apply_gradients: expected gradients like the parameters, {jax.tree.map(jnp.shape, self.params)}, got "
                f"{jax.tree.map(jnp.shape, gradients)}; take them from TrainState.gradients"
            )
        options = self.blueprint.options
        with told(options.steps_per_epoch):
            updates, opt_state = self.blueprint.optimizer.update(gradients, self.opt_state, self.params, **extra)
        params: Any = optax.apply_updates(self.params, updates)
        new = {"params": params, "opt_state": in_dtypes_of(self.opt_state, opt_state)}
        if options.average is not None:
            averages = options.average.update_parameters(self.average, params, self.model_state)
            new["average"] = in_dtypes_of(self.average, averages)
        if options.most_skipped:
            finite = all_finite(gradients)
            new = {name: select(finite, tree, getattr(self, name)) for name, tree in new.items()}
            if options.scaler is not None and self.scaler is not None:
                new["scaler"] = options.scaler.update(self.scaler, finite)
        return dataclasses.replace(self, step=self.step + 1, **new), cast(Variables, updates)

    def averaged(self) -> Self:
        """The state with the running average in place of parameters and statistics, to evaluate or to keep.

        Returns:
            A state that shares the arrays of this one.

        Raises:
            ValueError: if the state has no average.

        Example:
            >>> import jax.numpy as jnp
            >>> import optax
            >>> from flax import nnx
            >>> from jaxtrain import optim, train
            >>> model, average = nnx.Linear(1, 1, rngs=nnx.Rngs(0)), optim.averaged_model()
            >>> state = train.TrainState.create(model, optax.sgd(1.0), average=average)
            >>> step = train.make_train_step(lambda model, x: model(x).mean())
            >>> for _ in range(3):
            ...     state, _ = step(state, jnp.zeros((4, 1)))
            >>> float(state.params["bias"][0]), float(state.averaged().params["bias"][0])
            (-3.0, -2.0)

        PyTorch: `torch.optim.swa_utils.AveragedModel(model).module`.
        """
        if self.average is None:
            raise ValueError(
                "averaged: expected a state with an average, got one without; make it with TrainState.create(model, "
                "optimizer, average=optim.averaged_model())"
            )
        return dataclasses.replace(self, params=self.average.module, model_state=self.average.buffers)

    def with_model(self, model: nnx.Module) -> Self:
        """The state with the values of a module: what `model()` returned and somebody changed.

        It brings back what a loss did to another module than its own, the statistics of a discriminator's batch norms
        for instance. Also under `jax.jit`.

        Args:
            model: a module with the variables of this state's module.

        Returns:
            The state with copies of the module's values. Step, key and the optimizer's state stay.

        Raises:
            ValueError: if the module has other variables.

        Example:
            >>> import jax.numpy as jnp
            >>> import optax
            >>> from jaxtrain import nn, train
            >>> state = train.TrainState.create(nn.BatchNorm(1), optax.sgd(0.1))
            >>> model = state.model(train=True)
            >>> _ = model(jnp.array([[1.0], [3.0]]))
            >>> print(state.with_model(model).model_state["running_mean"])
            [0.2]

        PyTorch: none; modules change in place.
        """
        params, _ = self.blueprint.values(model)
        if jax.tree.map(jnp.shape, params) != jax.tree.map(jnp.shape, self.params):
            raise ValueError(
                f"with_model: expected a module with the parameters {jax.tree.map(jnp.shape, self.params)}, got "
                f"{jax.tree.map(jnp.shape, params)}"
            )
        values = {"params": in_dtypes_of(self.params, params), "model_state": self._others(model)}
        return dataclasses.replace(self, **copied(values))

    def _others(self, model: nnx.Module) -> Variables:
        """The new values of the module's variables that are not trained."""
        _, new = self.blueprint.values(model)
        old = self.model_state
        if jax.tree.structure(new) != jax.tree.structure(old):
            raise ValueError(
                f"loss_fn changed which variables the module has, from {jax.tree.map(jnp.shape, old)} to "
                f"{jax.tree.map(jnp.shape, new)}; create them all in __init__"
            )
        return in_dtypes_of(old, new)


_OF_LOSS = 0x6C6F7373
"""Sets the key of a loss apart from those of the random streams, which are the first numbers."""


def check_callable(where: str, name: str, function: Any) -> None:
    """Raise unless `function` can be called."""
    if not callable(function):
        raise TypeError(f"{where}: {name} must be a function, got {function!r}")


def check_loss(where: str, loss: Any) -> None:
    """Raise unless `loss` can be minimized; `where` begins the error with the function that returned it."""
    if not isinstance(loss, jax.Array) or loss.shape or not jnp.issubdtype(loss.dtype, jnp.floating):
        shown = jax.typeof(loss).str_short() if isinstance(loss, jax.Array) else repr(loss)
        raise TypeError(f"{where} must return a float scalar array, got {shown}; reduce it, with reduction='mean'")


def check_state(where: str, state: Any) -> None:
    """Raise unless `state` is a training state whose arrays are still there."""
    if not isinstance(state, TrainState):
        raise TypeError(f"{where}: state must be a TrainState, see TrainState.create, got {state!r}")
    arrays = [leaf for leaf in jax.tree.leaves(state) if isinstance(leaf, jax.Array)]
    if any(array.is_deleted() for array in arrays if not isinstance(array, Tracer)):
        raise ValueError(
            f"{where}: expected a state whose arrays exist, got one that a train step has consumed (donated); continue "
            "with the state that the step returned, or give the step a copy, jax.tree.map(jnp.copy, state)"
        )
