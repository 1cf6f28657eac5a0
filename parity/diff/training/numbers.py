"""Other numbers than PyTorch's in the optimizer."""

from collections.abc import Iterator
from typing import Any

from parity.diff.recipe import Recipe, Training
from parity.diff.training.mistake import TrainingMistake, with_options


def mistakes(recipe: Recipe, started: Training) -> Iterator[TrainingMistake]:
    groups = started.optimizer.param_groups
    given = groups[0]
    candidates: dict[str, tuple[Any, ...]] = {
        "eps": (1e-8, 1e-7, 1e-6, 1e-5, 1e-3, 1e-12, 1e-10),
        "betas": ((0.9, 0.999), (0.9, 0.95), (0.9, 0.98), (0.99, 0.999)),
        "momentum": (0.0, 0.9, 0.99),
        "alpha": (0.9, 0.99),
        "nesterov": (True, False),
        "dampening": (0.0, given.get("momentum", 0.0)),
        "amsgrad": (True, False),
        "centered": (True, False),
        "maximize": (True, False),
        "lr_decay": (0.0,),
        "rho": (0.9, 0.95),
        "lr": tuple(given["lr"] * factor for factor in (10.0, 0.1, 2.0, 0.5)),
    }
    for name, values in candidates.items():
        for value in values:
            if name in given and given[name] != value and not (name == "nesterov" and not given["momentum"]):
                yield TrainingMistake(
                    f"{name} is {value}, PyTorch's is {given[name]}",
                    f"pass {name}={given[name]}",
                    with_options(recipe, **{name: value}),
                )
    if len({group["lr"] for group in groups}) > 1:
        for value in sorted({group["lr"] for group in groups}):
            yield TrainingMistake(
                f"all parameters have the learning rate {value}, PyTorch's groups differ",
                "use optim.param_groups",
                with_options(recipe, lr=value, initial_lr=value),
            )
