"""Which lines a mutant's statement has: the tests that ran one of them may notice the change."""

from __future__ import annotations

import ast
from collections.abc import Iterator

Node = ast.stmt | ast.excepthandler | ast.match_case | ast.Module


def lines_of(text: str, row: int) -> range | None:
    """Return the lines that run when the statement at `row` does; None: it runs at import.

    Of a function's head, where defaults stand, these are the lines of its body.
    """
    node: Node = ast.parse(text)
    inside = False
    while True:
        inner = next((one for one in _inner(node) if row in _rows(one)), None)
        if inner is None:
            break
        inside = inside or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        node = inner
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return range(node.body[0].lineno, _rows(node).stop)
    if not inside or isinstance(node, ast.Module):
        return None
    body = getattr(node, "body", None)
    rows = _rows(node)
    return range(rows.start, max(rows.start + 1, body[0].lineno)) if body else rows


def lines_of_functions(text: str) -> frozenset[int]:
    """Return the lines inside of functions: those that no import runs."""
    return frozenset(
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for line in range(node.body[0].lineno, _rows(node).stop)
    )


def _inner(node: ast.AST) -> Iterator[ast.stmt | ast.excepthandler | ast.match_case]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield child


def _rows(node: ast.stmt | ast.excepthandler | ast.match_case) -> range:
    if isinstance(node, ast.match_case):
        return range(node.pattern.lineno, (node.body[-1].end_lineno or 0) + 1)
    decorators = getattr(node, "decorator_list", ())
    first = min([node.lineno, *(one.lineno for one in decorators)])
    return range(first, (node.end_lineno or node.lineno) + 1)
