"""Which components a file of the package can influence."""

import ast
import importlib
from functools import cache
from pathlib import Path

import jaxtrain

ROOMS = ("losses", "optim", "schedules", "regularization", "nn", "train", "interop", "tune")
"""The rooms whose files are changed."""

COMBINING = {
    "optim": ("optim.param_groups",),
    "schedules": ("schedules.sequential_lr", "schedules.chained_scheduler", "schedules.per_epoch"),
}
"""By room, the components that take others as arguments, and so depend on files that they do not import."""
ROOT = Path(jaxtrain.__file__).parent


def modules() -> list[str]:
    """The dotted names of the rooms' files."""
    files = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
    return [".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in files if path.stem != "__init__"]


def path_of(module: str) -> Path:
    """The file of a module."""
    return ROOT.parent / f"{module.replace('.', '/')}.py"


@cache
def components_of(module: str) -> list[str]:
    """The components that a module can influence: defined in it, in a module that imports it, however indirectly, or
    combining others. Its own come first, then those of its room.
    """
    own_room = module.split(".")[1]
    found: dict[str, None] = {}
    for dependent in sorted(_dependents(module), key=lambda name: (name != module, f".{own_room}." not in name, name)):
        _, room, *_ = dependent.split(".")
        public = vars(importlib.import_module(f"jaxtrain.{room}"))
        defined = {getattr(node, "name", "") for node in ast.parse(path_of(dependent).read_text()).body}
        imported = {name for name, value in public.items() if getattr(value, "__module__", "") == dependent}
        found |= {f"{room}.{name}": None for name in sorted(defined & public.keys() | imported)}
    return [*dict.fromkeys([*found, *COMBINING.get(own_room, ())])]


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
        for module in modules()
    }
