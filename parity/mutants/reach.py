"""Which components a file of the package can influence."""

import ast
import importlib
from functools import cache
from pathlib import Path

import jaxtrain

ROOMS = ("optim", "schedules", "losses")
COMBINING = {
    "optim": {"optim.param_groups"},
    "schedules": {"schedules.sequential_lr", "schedules.chained_scheduler", "schedules.per_epoch"},
}
"""By room, what is handed others of the room, and so depends on files that it does not import."""
ROOT = Path(jaxtrain.__file__).parent


def modules(name: str) -> list[str]:
    """The dotted names of the rooms' files whose path contains `name`."""
    files = sorted(path for room in ROOMS for path in (ROOT / room).glob("*.py") if name in path.as_posix())
    return [".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in files if path.stem != "__init__"]


def path_of(module: str) -> Path:
    """The file of a module."""
    return ROOT.parent / f"{module.replace('.', '/')}.py"


def components_of(module: str) -> set[str]:
    """The public names below `jaxtrain` that are defined in a module or in one that imports it, however indirectly, or
    that combine others.
    """
    found = set(COMBINING.get(module.split(".")[1], ()))
    for dependent in _dependents(module):
        _, room, *_ = dependent.split(".")
        public = vars(importlib.import_module(f"jaxtrain.{room}"))
        defined = {getattr(node, "name", "") for node in ast.parse(path_of(dependent).read_text()).body}
        imported = {name for name, value in public.items() if getattr(value, "__module__", "") == dependent}
        found |= {f"{room}.{name}" for name in defined & public.keys() | imported}
    return found


def _dependents(module: str) -> set[str]:
    importers = _importers()
    found, new = {module}, {module}
    while new:
        new = {name for name, imported in importers.items() if imported & new} - found
        found |= new
    return found


@cache
def _importers() -> dict[str, frozenset[str]]:
    """The modules of the rooms, and what each one imports."""
    return {
        module: frozenset(
            node.module
            for node in ast.walk(ast.parse(path_of(module).read_text()))
            if isinstance(node, ast.ImportFrom) and node.module
        )
        for module in modules("")
    }
