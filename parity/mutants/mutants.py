"""Small bugs made from source: a sign, an operator, a constant, a comparison, a function for another, epsilon moved out
of the root or into it, the count off by one.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
}
COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
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
KINDS = ("epsilon", "sign", "constant", "count", "comparison", "operator", "function")


@dataclass(frozen=True)
class Mutant:
    """One change of one module.

    Attributes:
        module: the dotted name of the changed module.
        kind: one of `KINDS`.
        line: where.
        before: the expression as it stands.
        after: the expression that takes its place.
        statement: the changed statement, its first line.
        source: the module as it stands.
        place: which expression that computes is changed, and which of its changes this is.
    """

    module: str
    kind: str
    line: int
    before: str
    after: str
    statement: str
    source: str
    place: tuple[int, int]

    @property
    def name(self) -> str:
        return f"{self.module}:{self.line}: {self.before}  ->  {self.after}"

    @property
    def tree(self) -> ast.Module:
        """The changed module."""
        tree = ast.parse(self.source)
        expression, change = self.place
        target, _ = list(_computing(tree))[expression]
        _, replacement = list(_changes(target))[change]
        _Replace(target, replacement).visit(tree)
        return ast.fix_missing_locations(tree)


def mutants_of(module: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a module's functions; checks of arguments, annotations and defaults are left alone."""
    for expression, (node, statement) in enumerate(list(_computing(ast.parse(source)))):
        for change, (kind, replacement) in enumerate(_changes(node)):
            before, after = ast.unparse(node), ast.unparse(replacement)
            _Replace(node, replacement).visit(statement)
            changed = ast.unparse(ast.fix_missing_locations(statement)).splitlines()[0]
            _Replace(replacement, node).visit(statement)
            yield Mutant(module, kind, node.lineno, before, after, changed, source, (expression, change))


def spread(mutants: list[Mutant], number: int) -> list[Mutant]:
    """`number` of them, from each module in turn, and in each module from each kind in turn, first those in front.

    The next module begins with the next kind, so that no kind is left out where there is one mutant a module only.
    """
    by_module: dict[str, list[Mutant]] = {}
    for mutant in mutants:
        by_module.setdefault(mutant.module, []).append(mutant)
    queues = [_kinds_in_turn(own, first) for first, own in enumerate(by_module.values())]
    drawn = _in_turn(queues)[:number]
    return [mutant for mutant in mutants if mutant in drawn]


def _kinds_in_turn(mutants: list[Mutant], first: int) -> list[Mutant]:
    kinds = [KINDS[(first + position) % len(KINDS)] for position in range(len(KINDS))]
    return _in_turn([[mutant for mutant in mutants if mutant.kind == kind] for kind in kinds])


def _in_turn(queues: list[list[Mutant]]) -> list[Mutant]:
    rounds = range(max(map(len, queues), default=0))
    return [queue[position] for position in rounds for queue in queues if position < len(queue)]


def _computing(tree: ast.Module) -> Iterator[tuple[ast.expr, ast.stmt]]:
    """The expressions inside functions, in order, each with its statement; without checks, raises, strings, annotations
    and defaults.
    """

    def walk(node: ast.AST, statement: ast.stmt) -> Iterator[tuple[ast.expr, ast.stmt]]:
        if isinstance(node, ast.Raise | ast.JoinedStr | ast.Assert | ast.Subscript):
            return
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1].startswith(("check", "_check")):
            return
        if isinstance(node, ast.If) and any(isinstance(child, ast.Raise) for child in node.body):
            return
        if isinstance(node, ast.stmt):
            statement = node
        if isinstance(node, ast.FunctionDef | ast.Lambda):
            for child in node.body if isinstance(node, ast.FunctionDef) else [node.body]:
                yield from walk(child, statement)
            return
        if isinstance(node, ast.expr):
            yield node, statement
        for child in ast.iter_child_nodes(node):
            yield from walk(child, statement)

    for definition in tree.body:
        if isinstance(definition, ast.FunctionDef | ast.ClassDef):
            yield from walk(definition, definition)


def _changes(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """The replacements of an expression, each with its kind."""
    if moved := _with_epsilon_moved(node):
        yield "epsilon", moved
    if isinstance(node, ast.BinOp) and (operator := OPERATORS.get(type(node.op))):
        yield "operator", ast.BinOp(node.left, operator(), node.right)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and (comparison := COMPARISONS.get(type(node.ops[0]))):
        yield "comparison", ast.Compare(node.left, [comparison()], node.comparators)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "sign", node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        yield "constant", ast.Constant(node.value + 1)
    if isinstance(node, ast.Attribute) and node.attr in FUNCTIONS:
        yield "function", ast.Attribute(node.value, FUNCTIONS[node.attr], node.ctx)
    if isinstance(node, ast.Name) and node.id in COUNTS and isinstance(node.ctx, ast.Load):
        yield "count", ast.BinOp(node, ast.Add(), ast.Constant(1))


def _with_epsilon_moved(node: ast.expr) -> ast.expr | None:
    """`f(x) + eps` from `f(x + eps)` and the other way round, `(x + eps) / y` from `x / y + eps`; None for the rest."""
    match node:
        case ast.BinOp(ast.Call(function, [inner], []), ast.Add(), eps) if _is_epsilon(eps):
            return ast.Call(function, [ast.BinOp(inner, ast.Add(), eps)], [])
        case ast.BinOp(ast.BinOp(left, ast.Div(), right), ast.Add(), eps) if _is_epsilon(eps):
            return ast.BinOp(ast.BinOp(left, ast.Add(), eps), ast.Div(), right)
        case ast.Call(function, [ast.BinOp(inner, ast.Add(), eps)], []) if _is_epsilon(eps):
            return ast.BinOp(ast.Call(function, [inner], []), ast.Add(), eps)
    return None


def _is_epsilon(node: ast.expr) -> bool:
    """Whether this is a hyper-parameter whose name says epsilon: `eps`, `eps1`, `h.eps`."""
    name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
    return name.startswith("eps")


class _Replace(ast.NodeTransformer):
    def __init__(self, target: ast.AST, replacement: ast.AST) -> None:
        self.target, self.replacement = target, replacement

    def visit(self, node: ast.AST) -> ast.AST:
        return self.replacement if node is self.target else super().visit(node)
