"""The changes that are tried on one module: cosmic-ray's, one per idea."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256

import msgspec
from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names
from msgspec.structs import replace

from tests.mutation.places import rows_around

# One replacement per idea: a bitwise operator is a type's `|` here, and of the comparisons only
# those that are off by one or the other way round say something about a test.
LEFT_OUT = (
    "core/ReplaceBinaryOperator_BitOr",
    "core/ReplaceBinaryOperator_BitAnd",
    "core/ReplaceBinaryOperator_Mul_",
    "core/ReplaceBinaryOperator_Pow",
    "core/RemoveDecorator",
    "core/ReplaceUnaryOperator_USub",
)
KEPT_PAIRS = (
    "Add_Sub", "Sub_Add", "Div_Mul", "FloorDiv_Mul", "Mod_Add", "LShift_RShift",
    "Eq_NotEq", "NotEq_Eq", "Is_IsNot", "IsNot_Is", "In_NotIn", "NotIn_In",
    "Lt_LtE", "Lt_GtE", "LtE_Lt", "LtE_Gt", "Gt_GtE", "Gt_LtE", "GtE_Gt", "GtE_Lt",
)  # fmt: skip
# Held by mypy and by the collector's work, not by what a test sees.
ARGUMENTS_LEFT_OUT = ("frozen=", "gc=", "slots=", "strict=")


class Mutant(msgspec.Struct, frozen=True):
    """The operator's n-th place in the text; rows count from 1, columns from 0.

    `name` is that of the same change in every text that has this function or statement.
    """

    operator: str
    occurrence: int
    row: int
    column: int
    end_row: int
    end_column: int
    name: str = ""


def mutants(text: str) -> Sequence[Mutant]:
    """Return the changes worth trying on a module's text, from its top to its end."""
    tree, lines = get_ast(text), text.splitlines()
    nodes = list(ast_nodes(tree))
    found = (
        mutant for operator in filter(_kept, operator_names()) for mutant in _at(operator, nodes)
    )
    telling = sorted(
        (one for one in found if _tells(one, lines)),
        key=lambda one: (one.row, one.column, one.operator, one.occurrence),
    )
    return _named(telling, text)


def _named(found: Sequence[Mutant], text: str) -> Sequence[Mutant]:
    """Name each after what it stands in, so that a change elsewhere leaves its outcome alone."""
    lines, counts = text.splitlines(), Counter[str]()
    named = []
    for one in found:
        rows = rows_around(text, one.row)
        around = "\n".join(lines[row - 1] for row in rows)
        name = f"{one.operator}:{sha256(around.encode()).hexdigest()[:12]}"
        named.append(replace(one, name=f"{name}:{counts[name]}"))
        counts[name] += 1
    return named


def mutated(text: str, mutant: Mutant) -> str:
    """Return the text with the change."""
    changed = mutate_code(text, get_operator(mutant.operator)(), mutant.occurrence)
    assert changed is not None, f"{mutant} does not fit the text it was made for"
    return str(changed)


def _kept(operator: str) -> bool:
    if operator.startswith(LEFT_OUT) or get_operator(operator).arguments():
        return False
    pair = operator.partition("Operator_")[2]
    return not pair or "Unary" in operator or pair in KEPT_PAIRS


def _at(name: str, nodes: Sequence[object]) -> Iterator[Mutant]:
    operator = get_operator(name)()
    places = (place for node in nodes for place in operator.mutation_positions(node))
    for occurrence, (start, end) in enumerate(places):
        yield Mutant(name, occurrence, *start, *end)


def _tells(mutant: Mutant, lines: Sequence[str]) -> bool:
    """Whether it is none of those left out, nor one that another operator makes as well."""
    line = lines[mutant.row - 1]
    if line[: mutant.column].endswith(ARGUMENTS_LEFT_OUT):
        return False
    if mutant.operator == "core/NumberReplacer":
        return mutant.occurrence % 2 == 0  # Up by one; down by one is the same idea.
    if mutant.operator == "core/AddNot" and mutant.row == mutant.end_row:
        return not _turned_by_another(line[mutant.column : mutant.end_column])
    return True


def _turned_by_another(condition: str) -> bool:
    """A single comparison or a `not`: what turns these round is in the list already."""
    match ast.parse(condition.strip(), mode="eval").body:
        case ast.Compare(ops=[_]) | ast.UnaryOp(op=ast.Not()):
            return True
    return False
