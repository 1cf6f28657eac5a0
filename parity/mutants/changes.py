"""The small bugs that one expression or statement can have.

Numbers: a sign, an operator, a constant, a comparison, a function for another, epsilon moved out of the root or into
it, the count off by one. Meaning: an intermediate in the dtype of the data, the wrong axis, a slice without one of its
bounds, a condition the other way round, an argument that is ignored or taken for its neighbour, a state that is not
kept, a check that is missing or off by one.
"""

import ast
from collections.abc import Iterator
from itertools import pairwise

Node = ast.expr | ast.stmt
Change = tuple[str, Node | list[ast.stmt]]
"""A kind, and what takes the place of an expression or statement."""

KINDS = (
    *("epsilon", "sign", "constant", "count", "comparison", "operator", "function"),
    *("dtype", "axis", "range", "condition", "argument", "state", "check"),
)
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
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
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


def changes(node: Node) -> Iterator[Change]:
    """The replacements of an expression or statement that computes."""
    if isinstance(node, ast.stmt):
        yield from _of_statement(node)
        return
    if moved := _with_epsilon_moved(node):
        yield "epsilon", moved
    yield from _of_arithmetic(node)
    yield from _of_dtype(node)
    yield from _of_axis(node)
    yield from _of_range(node)
    if isinstance(node, ast.BoolOp):
        yield "condition", ast.BoolOp(ast.And() if isinstance(node.op, ast.Or) else ast.Or(), node.values)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "condition", node.operand
    if isinstance(node, ast.IfExp) and _is_plain(node.test):
        yield "condition", ast.IfExp(node.test, node.orelse, node.body)


def changes_of_constructor(node: Node) -> Iterator[Change]:
    """The same, but every attribute is set: an object without one fails at once."""
    return (change for change in changes(node) if change[0] != "state")


def changes_of_check(node: Node) -> Iterator[Change]:
    """The replacements of what only decides whether an error is raised."""
    if isinstance(node, ast.Expr):
        yield "check", [ast.Pass()]
    if isinstance(node, ast.Compare) and (changed := _with_other_comparison(node)):
        yield "check", changed
    if isinstance(node, ast.BoolOp):
        for left_out in node.values:
            kept = [value for value in node.values if value is not left_out]
            yield "check", ast.BoolOp(node.op, kept) if len(kept) > 1 else kept[0]
    if isinstance(node, ast.Call) and any((keyword.arg or "").startswith("open_") for keyword in node.keywords):
        closed = [keyword for keyword in node.keywords if not (keyword.arg or "").startswith("open_")]
        yield "check", ast.Call(node.func, node.args, closed)
    if more := _one_more(node):
        yield "check", more


def changes_of_function(node: ast.FunctionDef) -> Iterator[Change]:
    """The first statement of a function that ignores an argument with a default, or exchanges two that it requires.

    Only neighbours of the same type are exchanged: every call fails if others are.
    """
    parameters, defaults = node.args.posonlyargs + node.args.args, node.args.defaults
    required = parameters[: len(parameters) - len(defaults)]
    pairs = [*zip(parameters[len(required) :], defaults, strict=True)]
    pairs += [*zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)]
    for parameter, default in pairs:
        if default is not None:
            yield "argument", [ast.Assign([ast.Name(parameter.arg, ast.Store())], default), first_statement(node)]
    for one, other in pairwise(required):
        if one.annotation and other.annotation and ast.unparse(one.annotation) == ast.unparse(other.annotation):
            targets = ast.Tuple([ast.Name(one.arg, ast.Store()), ast.Name(other.arg, ast.Store())], ast.Store())
            values = ast.Tuple([ast.Name(other.arg, ast.Load()), ast.Name(one.arg, ast.Load())], ast.Load())
            yield "argument", [ast.Assign([targets], values), first_statement(node)]


def first_statement(node: ast.FunctionDef) -> ast.stmt:
    """The first statement of a function after its docstring."""
    return node.body[1 if ast.get_docstring(node) is not None and len(node.body) > 1 else 0]


def is_check(node: ast.AST) -> bool:
    """Whether this is a call of a function that raises unless its arguments are right."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1].startswith(("check", "_check"))


def _of_statement(node: ast.stmt) -> Iterator[Change]:
    """A state that is not kept, a branch that is taken if it should not be."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    if isinstance(node, ast.AnnAssign) and node.value:
        targets = [node.target]
    keeps = any(isinstance(target, ast.Attribute | ast.Subscript) for target in targets)
    calls = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
    if keeps or calls or isinstance(node, ast.AugAssign):
        yield "state", [ast.Pass()]
    if isinstance(node, ast.AugAssign) and (operator := OPERATORS.get(type(node.op))):
        yield "operator", ast.AugAssign(node.target, operator(), node.value)
    if isinstance(node, ast.If) and _is_plain(node.test):
        yield "condition", ast.If(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)


def _of_arithmetic(node: ast.expr) -> Iterator[Change]:
    if isinstance(node, ast.BinOp) and (operator := OPERATORS.get(type(node.op))):
        yield "operator", ast.BinOp(node.left, operator(), node.right)
    if isinstance(node, ast.Compare) and (changed := _with_other_comparison(node)):
        yield "comparison", changed
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "sign", node.operand
    if more := _one_more(node):
        yield "constant", more
    if isinstance(node, ast.Attribute) and node.attr in FUNCTIONS:
        yield "function", ast.Attribute(node.value, FUNCTIONS[node.attr], node.ctx)
    if isinstance(node, ast.Name) and node.id in COUNTS and isinstance(node.ctx, ast.Load):
        yield "count", ast.BinOp(node, ast.Add(), ast.Constant(1))


def _of_dtype(node: ast.expr) -> Iterator[Change]:
    """Arithmetic in the dtype of the data instead of float32, in float32 instead of float64."""
    match node:
        case ast.Call(ast.Name("at_least_float32"), [dtype], []) if not isinstance(dtype, ast.Starred):
            yield "dtype", dtype
        case ast.Call(ast.Attribute(array, "astype"), [_], []):
            yield "dtype", array
        case ast.Call(ast.Name("as_float64") as wide, [_], []):
            rounded = ast.Call(ast.Attribute(node, "astype", ast.Load()), [ast.Constant("float32")], [])
            yield "dtype", ast.Call(wide, [rounded], [])
        case ast.Call(function, arguments, keywords):
            kept = [keyword for keyword in keywords if keyword.arg not in ("dtype", "preferred_element_type")]
            if len(kept) < len(keywords):
                yield "dtype", ast.Call(function, arguments, kept)


def _of_axis(node: ast.expr) -> Iterator[Change]:
    """The last axis, or the first in its place."""
    match node:
        case ast.Name("axis", ast.Load()) | ast.Attribute(_, "axis", ast.Load()):
            yield "axis", ast.UnaryOp(ast.USub(), ast.Constant(1))
        case ast.Call(function, arguments, keywords):
            for keyword in keywords:
                is_last = isinstance(keyword.value, ast.UnaryOp)
                if keyword.arg == "axis" and (is_last or _one_more(keyword.value)):
                    other = ast.Constant(0) if is_last else ast.UnaryOp(ast.USub(), ast.Constant(1))
                    others = [ast.keyword("axis", other) if k is keyword else k for k in keywords]
                    yield "axis", ast.Call(function, arguments, others)


def _of_range(node: ast.expr) -> Iterator[Change]:
    """A slice without one of its bounds or its step, a range that ends one too early."""
    match node:
        case ast.Slice(lower, upper, step):
            for left_out in filter(None, (lower, upper, step)):
                yield "range", ast.Slice(*(None if part is left_out else part for part in (lower, upper, step)))
        case ast.Call(ast.Name("range") as function, [stop], []):
            yield "range", ast.Call(function, [_one_less(stop)], [])
        case ast.Call(ast.Name("range") as function, [start, stop, *step], []):
            yield "range", ast.Call(function, [start, _one_less(stop), *step], [])


def _one_less(node: ast.expr) -> ast.expr:
    return ast.BinOp(node, ast.Sub(), ast.Constant(1))


def _with_other_comparison(node: ast.Compare) -> ast.expr | None:
    comparison = COMPARISONS.get(type(node.ops[0])) if len(node.ops) == 1 else None
    return ast.Compare(node.left, [comparison()], node.comparators) if comparison else None


def _is_plain(test: ast.expr) -> bool:
    """Whether a condition has no comparison, `not`, `and` or `or` that is changed by itself."""
    return not isinstance(test, ast.Compare | ast.UnaryOp | ast.BoolOp)


def _one_more(node: ast.AST) -> ast.expr | None:
    """The number after this one; None for what is not a number."""
    match node:
        case ast.Constant(bool()):
            return None
        case ast.Constant(int() | float() as number):
            return ast.Constant(number + 1)
    return None


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
