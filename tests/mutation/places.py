"""Which lines a mutant's statement has: the tests that ran one of them may notice the change."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from functools import cache

Node = ast.stmt | ast.excepthandler | ast.match_case
Function = ast.FunctionDef | ast.AsyncFunctionDef


def lines_of(text: str, row: int) -> range | None:
    """Return the lines that run when the statement at `row` does; None: it runs at import.

    Of a function's head, where defaults stand, these are the lines of its body.
    """
    nodes = _around(text, row)
    node = nodes[-1] if nodes else None
    if isinstance(node, Function):
        return range(node.body[0].lineno, _rows(node).stop)
    if node is None or not any(isinstance(one, Function) for one in nodes):
        return None
    body = getattr(node, "body", None)
    rows = _rows(node)
    return range(rows.start, max(rows.start + 1, body[0].lineno)) if body else rows


def rows_around(text: str, row: int) -> range:
    """Return the rows of the function, else of the statement, that the row is in."""
    nodes = _around(text, row)
    function = next((one for one in nodes if isinstance(one, Function)), None)
    return _rows(function or nodes[-1]) if nodes else range(row, row + 1)


def lines_of_functions(text: str) -> frozenset[int]:
    """Return the lines inside of functions: those that no import runs."""
    return frozenset(
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, Function)
        for line in range(node.body[0].lineno, _rows(node).stop)
    )


def _around(text: str, row: int) -> Sequence[Node]:
    """Return what has this row, from the outermost on."""
    found: list[Node] = []
    inner: ast.AST | None = _parsed(text)
    while inner is not None:
        children = (one for one in ast.iter_child_nodes(inner) if isinstance(one, Node))
        inner = next((one for one in children if row in _rows(one)), None)
        if isinstance(inner, Node):
            found.append(inner)
    return found


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _rows(node: Node) -> range:
    if isinstance(node, ast.match_case):
        return range(node.pattern.lineno, (node.body[-1].end_lineno or 0) + 1)
    decorators = getattr(node, "decorator_list", ())
    first = min([node.lineno, *(one.lineno for one in decorators)])
    return range(first, (node.end_lineno or node.lineno) + 1)
