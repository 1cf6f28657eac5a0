"""The source with one small change."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from parity.mutants.changes import Node, first_statement
from parity.mutants.targets import Target, targets


class Key(NamedTuple):
    """What tells one mutant from all others, and no longer fits when the changed statement is rewritten.

    Attributes:
        module: the dotted name of the changed module.
        function: the function or method, `Class.method`.
        before: the first line of the statement as it stands.
        after: the first line of the changed statement.
    """

    module: str
    function: str
    before: str
    after: str


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Attributes:
        module: the dotted name of the changed module.
        kind: one of `KINDS`.
        lines: the first and the last line of the changed statement, without the blocks inside it.
        before: the expression or statement as it stands, in one line.
        after: what takes its place.
        key: the changed statement, before and after.
        source: the module as it stands.
        place: which target is changed, and which of its changes this is; None if nothing is.
    """

    module: str
    kind: str
    lines: tuple[int, int]
    before: str
    after: str
    key: Key
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
        target = list(targets(tree))[number]
        _, replacement = list(target.changes(target.node))[change]
        _replace(tree, _place(target.node), replacement)
        return ast.fix_missing_locations(tree)


def mutants_of(module: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a module's functions and methods; messages, annotations and defaults are left alone."""
    for number, target in enumerate(list(targets(ast.parse(source)))):
        for change, (kind, replacement) in enumerate(target.changes(target.node)):
            before, after = _shown(target.node, replacement)
            lines, key = _lines(target.statement), Key(module, target.function, *_statements(target, replacement))
            yield Mutant(module, kind, lines, before, after, key, source, (number, change))


def unchanged(module: str, source: str) -> Mutant:
    """A mutant in which nothing is changed."""
    return Mutant(module, "none", (1, 1), "nothing", "nothing", Key(module, "", "", ""), source, None)


def _place(target: Node) -> Node:
    """Where the changes of a target take place: for a function, in front of its first statement."""
    return first_statement(target) if isinstance(target, ast.FunctionDef) else target


def _shown(target: Node, replacement: Node | list[ast.stmt]) -> tuple[str, str]:
    """The change in two short texts."""
    if isinstance(target, ast.FunctionDef) and isinstance(replacement, list):
        return f"{target.name}(...)", f"{target.name} with {ast.unparse(ast.fix_missing_locations(replacement[0]))}"
    before = ast.unparse(target).splitlines()[0]
    return before, f"without `{before}`" if isinstance(replacement, list) else ast.unparse(replacement).splitlines()[0]


def _statements(target: Target, replacement: Node | list[ast.stmt]) -> tuple[str, str]:
    """The first line of the changed statement, before and after; the change is undone again."""
    if isinstance(replacement, list) or isinstance(target.node, ast.stmt):
        return _shown(target.node, replacement)
    before = ast.unparse(target.statement).splitlines()[0]
    _replace(target.statement, target.node, replacement)
    after = ast.unparse(ast.fix_missing_locations(target.statement)).splitlines()[0]
    _replace(target.statement, replacement, target.node)
    return before, after


def _lines(statement: ast.stmt) -> tuple[int, int]:
    body = getattr(statement, "body", None)
    last = body[0].lineno - 1 if body else statement.end_lineno
    return statement.lineno, max(statement.lineno, last or 0)


def _replace(tree: ast.AST, target: Any, replacement: Any) -> None:
    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return replacement if node is target else super().visit(node)

    Replace().visit(tree)
