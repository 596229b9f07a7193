"""Marks never go down, and a lost mark is noticed."""

from hypothesis import given
from hypothesis import strategies as st

from src.state.models import ZERO, Version
from src.state.reads.watermarks import Watermarks

versions = st.builds(Version, st.integers(0, 5), st.integers(0, 5))


def test_nothing_heard_is_zero() -> None:
    assert Watermarks().of("n") == ZERO


@given(st.lists(versions, min_size=1))
def test_mark_is_the_highest_version_heard(heard: list[Version]) -> None:
    marks = Watermarks()
    for version in heard:
        marks.raise_to("n", version)
    assert marks.of("n") == max(heard)
    assert marks.generation == 0


def test_marks_are_bounded_and_a_lost_one_moves_the_generation() -> None:
    marks = Watermarks(max_entries=3)
    for id in "abc":
        marks.raise_to(id, Version(1, 1))
    assert marks.generation == 0
    marks.raise_to("a", Version(1, 2))
    assert marks.generation == 0
    marks.raise_to("d", Version(1, 1))
    assert (len(marks), marks.generation) == (3, 1)
    assert marks.of("b") == ZERO
    assert marks.of("a") == Version(1, 2)


def test_mark_of_an_earlier_timeline_is_given_back_when_it_is_replaced() -> None:
    marks = Watermarks()
    old, new = Version(1 << 32, 105), Version(2 << 32, 101)
    assert marks.raise_to("n", old) is None
    assert marks.raise_to("n", new) == old
    assert marks.raise_to("n", Version(2 << 32, 102)) is None
    assert marks.all() == [("n", Version(2 << 32, 102))]


def test_cleared_marks_are_gone_and_move_the_generation() -> None:
    marks = Watermarks()
    marks.raise_to("n", Version(1, 1))
    marks.clear()
    assert (marks.all(), marks.generation) == ([], 1)
