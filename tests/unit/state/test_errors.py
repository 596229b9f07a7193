"""A message names what was wrong and the next step, and is no longer than it has to be."""

from src.state.errors import MalformedVersion, Overloaded, ReadOnly


def test_endless_token_is_shown_by_its_beginning() -> None:
    said = str(MalformedVersion("x" * 64 + "y"))
    assert "'" + "x" * 64 + "'" in said


def test_overload_without_a_time_means_a_second() -> None:
    error = Overloaded("too much waits")
    assert (error.retry_after_s, str(error)) == (1.0, "too much waits; try again in 1 s")


def test_reason_for_which_nothing_can_be_changed_is_given_where_there_is_one() -> None:
    said = "PostgreSQL is away, so n cannot be changed now"
    assert str(ReadOnly("n")) == said
    assert str(ReadOnly("n", "its disk is full")) == f"{said}: its disk is full"
