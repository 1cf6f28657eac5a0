"""Numerical parity with PyTorch, proven by executing it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from parity.check import check_layer as check_layer
    from parity.check import check_loss as check_loss
    from parity.check import check_optimizer as check_optimizer
    from parity.check import check_schedule as check_schedule


def __getattr__(name: str) -> Any:
    # PyTorch is imported only by what executes it: `parity.speed` also runs where it is not installed.
    if name in {"check_layer", "check_loss", "check_optimizer", "check_schedule"}:
        try:
            from parity import check
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise ModuleNotFoundError(
                f"{name}: expected PyTorch to be installed, found none; install it with: pip install '.[parity]'",
                name="torch",
            ) from error
        return getattr(check, name)
    raise AttributeError(f"module 'parity' has no attribute {name!r}")
