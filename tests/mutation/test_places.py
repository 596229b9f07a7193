"""A mutant is tried by the tests that run its statement."""

from tests.mutation.places import lines_of, lines_of_functions, rows_around

TEXT = """\
LIMIT = 5

class Buffer:
    size: int = 3

    def put(
        self,
        count: int = 1,
    ) -> None:
        if count:
            self.kept(
                count,
                more=5 * 60,
            )
        try:
            pass
        except OSError:
            return
"""


def _row(text: str) -> int:
    return next(n for n, line in enumerate(TEXT.splitlines(), 1) if text in line)


def test_what_runs_at_import_belongs_to_no_line() -> None:
    assert lines_of(TEXT, _row("LIMIT")) is None
    assert lines_of(TEXT, _row("size: int")) is None


def test_a_statement_has_all_its_lines() -> None:
    assert lines_of(TEXT, _row("5 * 60")) == range(_row("self.kept"), _row("5 * 60") + 2)


def test_a_condition_is_its_own_line_not_what_it_guards() -> None:
    assert lines_of(TEXT, _row("if count")) == range(_row("if count"), _row("if count") + 1)
    assert lines_of(TEXT, _row("except")) == range(_row("except"), _row("except") + 1)


def test_a_default_is_tried_by_who_calls_the_function() -> None:
    body = range(_row("if count"), _row("return") + 1)
    assert lines_of(TEXT, _row("count: int")) == body
    assert lines_of_functions(TEXT) == set(body)


def test_what_is_around_a_row_is_its_function_or_else_its_statement() -> None:
    assert rows_around(TEXT, _row("5 * 60")) == range(_row("def put"), _row("return") + 1)
    assert rows_around(TEXT, _row("size: int")) == range(_row("size: int"), _row("size: int") + 1)
    assert rows_around(TEXT, _row("LIMIT")) == range(_row("LIMIT"), _row("LIMIT") + 1)
