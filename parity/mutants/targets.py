"""Which expressions and statements of a module can be changed, and by what."""

import ast
from collections.abc import Callable, Iterator
from typing import NamedTuple

from parity.mutants.changes import (
    Change,
    Node,
    changes,
    changes_of_check,
    changes_of_constructor,
    changes_of_function,
    first_statement,
    is_check,
)


class Target(NamedTuple):
    """An expression or statement that can be changed.

    Attributes:
        node: the expression or statement.
        statement: the statement that it is part of.
        function: the function or method that this is in, `Class.method`.
        changes: what makes its changes.
    """

    node: Node
    statement: ast.stmt
    function: str
    changes: Callable[..., Iterator[Change]]


def targets(tree: ast.Module) -> Iterator[Target]:
    """What can be changed inside functions, in order."""

    def walk(node: ast.AST, within: Target) -> Iterator[Target]:
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert) or _is_text(node):
            return
        here = within._replace(node=node, statement=node if isinstance(node, ast.stmt) else within.statement)
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            here = here._replace(function=f"{within.function}.{node.name}".removeprefix("."))
        if isinstance(node, ast.FunctionDef):
            yield here._replace(statement=first_statement(node), changes=changes_of_function)
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            is_constructor = isinstance(node, ast.FunctionDef) and node.name == "__init__"
            inside = here._replace(changes=changes_of_constructor) if is_constructor else here
            for child in node.body if isinstance(node, ast.FunctionDef) else [node.body]:
                yield from walk(child, inside)
            return
        raises = isinstance(node, ast.If) and any(isinstance(child, ast.Raise) for child in node.body)
        if is_check(node) or raises or (isinstance(node, ast.Expr) and is_check(node.value)):
            here = here._replace(changes=changes_of_check)
        if isinstance(node, ast.expr | ast.stmt) and not raises:
            yield here
        for name, field in ast.iter_fields(node):
            for child in field if isinstance(field, list) else [field]:
                if isinstance(child, ast.AST) and name != "annotation":
                    yield from walk(child, here._replace(changes=changes) if raises and name != "test" else here)

    for definition in tree.body:
        if isinstance(definition, ast.FunctionDef | ast.ClassDef):
            yield from walk(definition, Target(definition, definition, "", changes))


def _is_text(node: ast.AST) -> bool:
    """Whether this only makes a part of a message, or logs one."""
    match node:
        case ast.Assign([ast.Name(name)]):
            return name in ("where", "way_out", "message", "shown")
        case ast.Expr(ast.Call(ast.Attribute(ast.Name("_log")))):
            return True
    return False
