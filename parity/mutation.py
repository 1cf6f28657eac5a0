"""`python -m parity.mutation`: how many small bugs in the source would the cases catch?

Planted defects show that a case catches the bugs that its author thought of. Here the source of `jaxtrain/optim`,
`schedules` and `losses` is changed in one place at a time (a sign, an operator, a constant, a comparison, a maximum
for a minimum, a count off by one), and the cases of the components in that file run on the changed package. A mutant
that fails a case is caught; one that survives needs a new case, or an explanation why it changes nothing.
"""

import argparse
import ast
import copy
import importlib
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType

import jaxtrain

ROOMS = ("optim", "schedules", "losses")
ROOT = Path(jaxtrain.__file__).parent

EQUIVALENT: dict[str, str] = {}
"""Mutants that change nothing that can be observed, by their name, and why."""

OPERATORS: dict[type[ast.operator | ast.cmpop], type[ast.operator | ast.cmpop]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
FUNCTIONS = {
    "maximum": "minimum",
    "minimum": "maximum",
    "sqrt": "square",
    "exp": "expm1",
    "floor": "ceil",
    "log": "log1p",
}
COUNTS = ("step", "count")


@dataclass(frozen=True)
class Mutant:
    """One change of one file.

    Attributes:
        module: the dotted name of the changed module.
        line: where.
        before: the expression as it stands.
        after: the expression that takes its place.
        tree: the changed module.
    """

    module: str
    line: int
    before: str
    after: str
    tree: ast.Module

    @property
    def name(self) -> str:
        return f"{self.module}:{self.line}: {self.before}  ->  {self.after}"


def mutants_of(module: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a module's functions; checks of arguments, annotations and defaults are left alone."""
    tree = ast.parse(source)
    for index, node in enumerate(_computing(tree)):
        for change in _changes(node):
            changed = copy.deepcopy(tree)
            target = list(_computing(changed))[index]
            before = ast.unparse(target)
            replacement = change(target)
            changed = ast.fix_missing_locations(_Replace(target, replacement).visit(changed))
            yield Mutant(module, node.lineno, before, ast.unparse(replacement), changed)


def _computing(tree: ast.Module) -> Iterator[ast.expr]:
    """The expressions inside functions, in order, but those of checks, raises, strings, annotations and defaults."""

    def walk(node: ast.AST) -> Iterator[ast.expr]:
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert | ast.Subscript):
            return
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1].startswith(("check", "_check")):
            return
        if isinstance(node, ast.If) and any(isinstance(child, ast.Raise) for child in node.body):
            return
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            for child in node.body if isinstance(node, ast.FunctionDef) else [node.body]:
                yield from walk(child)
            return
        if isinstance(node, ast.expr):
            yield node
        for child in ast.iter_child_nodes(node):
            yield from walk(child)

    for function in tree.body:
        if isinstance(function, ast.FunctionDef | ast.ClassDef):
            yield from walk(function)


def _changes(node: ast.expr) -> list:
    """What can be done to an expression: functions from it (or its copy) to another."""
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return [lambda n: ast.BinOp(n.left, OPERATORS[type(n.op)](), n.right)]
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in OPERATORS:
        return [lambda n: ast.Compare(n.left, [OPERATORS[type(n.ops[0])]()], n.comparators)]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return [lambda n: n.operand]
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return [lambda n: ast.Constant(n.value + 1)]
    if isinstance(node, ast.Attribute) and node.attr in FUNCTIONS:
        return [lambda n: ast.Attribute(n.value, FUNCTIONS[n.attr], n.ctx)]
    if isinstance(node, ast.Name) and node.id in COUNTS and isinstance(node.ctx, ast.Load):
        return [lambda n: ast.BinOp(n, ast.Add(), ast.Constant(1))]
    return []


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self.target, self.replacement = target, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return self.replacement if node is self.target else super().visit(node)


class _Importer(MetaPathFinder, SourceLoader):
    """Imports one module from a changed tree."""

    def __init__(self, mutant: Mutant) -> None:
        self.mutant = mutant

    def find_spec(self, name: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        return spec_from_loader(name, self) if name == self.mutant.module else None

    def get_filename(self, fullname: str) -> str:
        return str(ROOT.parent / f"{fullname.replace('.', '/')}.py")

    def get_data(self, path: object) -> bytes:
        return b""

    def get_code(self, fullname: str):
        return compile(self.mutant.tree, self.get_filename(fullname), "exec")


def components_of(module: str) -> set[str]:
    """The public names that a file's cases go by; for a private helper, those of its whole room."""
    _, room, file = module.split(".")
    public = vars(importlib.import_module(f"jaxtrain.{room}"))
    own = {f"{room}.{name}" for name, value in public.items() if getattr(value, "__module__", "") == module}
    functions = {f"{room}.{node.name}" for node in ast.parse(_path(module).read_text()).body if hasattr(node, "name")}
    named = {name for name in own | functions if name.partition(".")[2] in public}
    return named if named and not file.startswith("_") else {f"{room}.{name}" for name in public}


def caught_by(mutant: Mutant, components: set[str]) -> str | None:
    """The name of the first case that fails on the changed package; None if all pass."""
    importer = _Importer(mutant)
    sys.meta_path.insert(0, importer)
    originals = _forgotten()
    try:
        for case in importlib.import_module("parity.cases").all_cases():
            if case.component in components and not case.measurement.passed:
                return case.name
    except Exception as error:  # A mutant that cannot even run is noticed by every user of the component.
        return type(error).__name__
    finally:
        sys.meta_path.remove(importer)
        _forgotten()
        for name, module in originals.items():
            sys.modules[name] = module
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)
    return None


def _forgotten() -> dict[str, ModuleType]:
    """Make the next import load this package and its cases anew; the modules as they were."""
    prefixes = ("jaxtrain", "parity.cases", "parity.kinds", "parity.check")
    names = [name for name in sys.modules if any(name == p or name.startswith(f"{p}.") for p in prefixes)]
    return {name: sys.modules.pop(name) for name in sorted(names)}


def _path(module: str) -> Path:
    return ROOT.parent / f"{module.replace('.', '/')}.py"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m parity.mutation", description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", default="", help="only mutants of files whose path contains this")
    parser.add_argument("--number", type=int, default=60, help="how many mutants, drawn at random; 0 for all")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    options = parser.parse_args(arguments)

    files = sorted(path for room in ROOMS for path in (ROOT / room).glob("*.py") if options.name in path.as_posix())
    modules = [".".join(path.relative_to(ROOT.parent).with_suffix("").parts) for path in files]
    everything = [mutant for module in modules for mutant in mutants_of(module, _path(module).read_text())]
    drawn = everything
    if options.number:
        drawn = random.Random(options.seed).sample(everything, min(options.number, len(everything)))
        drawn.sort(key=lambda mutant: (mutant.module, mutant.line))
    known = {module: components_of(module) for module in modules}

    survivors = []
    for number, mutant in enumerate(drawn, 1):
        start = time.perf_counter()
        found = caught_by(mutant, known[mutant.module])
        verdict = f"caught by {found}" if found else f"SURVIVED {EQUIVALENT.get(mutant.name, '')}"
        print(f"{number}/{len(drawn)} {mutant.name}: {verdict} ({time.perf_counter() - start:.1f} s)", flush=True)
        if not found:
            survivors.append(mutant)
    unexplained = [mutant for mutant in survivors if mutant.name not in EQUIVALENT]
    print(
        f"{len(drawn) - len(survivors)} of {len(drawn)} mutants caught (of {len(everything)} possible), "
        f"{len(survivors) - len(unexplained)} explained as equivalent, {len(unexplained)} unexplained"
    )
    return 1 if unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
