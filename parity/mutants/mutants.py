"""The source with one small change, and a draw of such mutants."""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

from parity.mutants.changes import (
    KINDS,
    Change,
    Node,
    changes,
    changes_of_check,
    changes_of_constructor,
    changes_of_function,
    first_statement,
    is_check,
)

Target = tuple[Node, ast.stmt, Callable[..., Iterator[Change]]]
"""An expression or statement, the statement that it is part of, and what makes its changes."""


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Attributes:
        module: the dotted name of the changed module.
        kind: one of `KINDS`.
        lines: the first and the last line of the changed statement, without the blocks inside it.
        before: the expression or statement as it stands, in one line.
        after: what takes its place.
        statement: the changed statement, its first line.
        source: the module as it stands.
        place: which target is changed, and which of its changes this is; None if nothing is.
    """

    module: str
    kind: str
    lines: tuple[int, int]
    before: str
    after: str
    statement: str
    source: str
    place: tuple[int, int] | None

    @property
    def name(self) -> str:
        return f"{self.module}:{self.lines[0]}: {self.before}  ->  {self.after}"

    @property
    def room(self) -> str:
        return self.module.split(".")[1]

    @property
    def tree(self) -> ast.Module:
        """The changed module."""
        tree = ast.parse(self.source)
        if self.place is None:
            return tree
        number, change = self.place
        target, _, changes_of = list(_targets(tree))[number]
        _, replacement = list(changes_of(target))[change]
        _replace(tree, _place(target), replacement)
        return ast.fix_missing_locations(tree)


def mutants_of(module: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a module's functions and methods; messages, annotations and defaults are left alone."""
    for number, (target, statement, changes_of) in enumerate(list(_targets(ast.parse(source)))):
        for change, (kind, replacement) in enumerate(changes_of(target)):
            before, after = _shown(target, replacement)
            changed = after if isinstance(target, ast.stmt) else _changed_statement(statement, target, replacement)
            yield Mutant(module, kind, _lines(statement), before, after, changed, source, (number, change))


def unchanged(module: str, source: str) -> Mutant:
    """A mutant in which nothing is changed."""
    return Mutant(module, "none", (1, 1), "nothing", "nothing", "", source, None)


def sample(mutants: list[Mutant], number: int, seed: int) -> list[Mutant]:
    """`number` of each room: from each module in turn, and in each module from each kind in turn, drawn by chance.

    The next module begins with the next kind, so that no kind is left out where there is one mutant a module only.
    """
    rooms: dict[str, dict[str, list[Mutant]]] = {}
    for mutant in Random(seed).sample(mutants, len(mutants)):
        rooms.setdefault(mutant.room, {}).setdefault(mutant.module, []).append(mutant)
    drawn = set()
    for modules in rooms.values():
        queues = [_kinds_in_turn(modules[name], first) for first, name in enumerate(sorted(modules))]
        drawn.update(_in_turn(queues)[:number])
    return [mutant for mutant in mutants if mutant in drawn]


def _kinds_in_turn(mutants: list[Mutant], first: int) -> list[Mutant]:
    kinds = [KINDS[(first + position) % len(KINDS)] for position in range(len(KINDS))]
    return _in_turn([[mutant for mutant in mutants if mutant.kind == kind] for kind in kinds])


def _in_turn(queues: list[list[Mutant]]) -> list[Mutant]:
    rounds = range(max(map(len, queues), default=0))
    return [queue[position] for position in rounds for queue in queues if position < len(queue)]


def _targets(tree: ast.Module) -> Iterator[Target]:
    """What can be changed inside functions, in order."""

    def walk(node: ast.AST, statement: ast.stmt, made: Callable[..., Iterator[Change]]) -> Iterator[Target]:
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert | ast.Subscript) or _is_text(node):
            return
        if isinstance(node, ast.stmt):
            statement = node
        if isinstance(node, ast.FunctionDef):
            yield node, first_statement(node), changes_of_function
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            is_constructor = isinstance(node, ast.FunctionDef) and node.name == "__init__"
            for child in node.body if isinstance(node, ast.FunctionDef) else [node.body]:
                yield from walk(child, statement, changes_of_constructor if is_constructor else made)
            return
        raises = isinstance(node, ast.If) and any(isinstance(child, ast.Raise) for child in node.body)
        if is_check(node) or raises or (isinstance(node, ast.Expr) and is_check(node.value)):
            made = changes_of_check
        if isinstance(node, ast.expr | ast.stmt) and not raises:
            yield node, statement, made
        for name, field in ast.iter_fields(node):
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, ast.AST):
                    yield from walk(child, statement, changes if raises and name != "test" else made)

    for definition in tree.body:
        if isinstance(definition, ast.FunctionDef | ast.ClassDef):
            yield from walk(definition, definition, changes)


def _is_text(node: ast.AST) -> bool:
    """Whether this only makes a part of a message, or logs one."""
    match node:
        case ast.Assign([ast.Name(name)]):
            return name in ("where", "way_out", "message", "shown")
        case ast.Expr(ast.Call(ast.Attribute(ast.Name("_log")))):
            return True
    return False


def _place(target: Node) -> Node:
    """Where the changes of a target take place: for a function, in front of its first statement."""
    return first_statement(target) if isinstance(target, ast.FunctionDef) else target


def _shown(target: Node, replacement: Node | list[ast.stmt]) -> tuple[str, str]:
    """The change in two short texts."""
    if isinstance(target, ast.FunctionDef) and isinstance(replacement, list):
        return f"{target.name}(...)", f"{target.name} with {ast.unparse(ast.fix_missing_locations(replacement[0]))}"
    before = ast.unparse(target).splitlines()[0]
    return before, f"without `{before}`" if isinstance(replacement, list) else ast.unparse(replacement).splitlines()[0]


def _changed_statement(statement: ast.stmt, target: Node, replacement: Node | list[ast.stmt]) -> str:
    """The first line of a statement with a change, which is undone again."""
    _replace(statement, target, replacement)
    changed = ast.unparse(ast.fix_missing_locations(statement)).splitlines()[0]
    _replace(statement, replacement, target)
    return changed


def _lines(statement: ast.stmt) -> tuple[int, int]:
    body = getattr(statement, "body", None)
    last = body[0].lineno - 1 if body else statement.end_lineno
    return statement.lineno, max(statement.lineno, last or 0)


def _replace(tree: ast.AST, target: Any, replacement: Any) -> None:
    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return replacement if node is target else super().visit(node)

    Replace().visit(tree)
