"""What a kind says of its aggregates."""

import pytest

from src.state.models import Entry
from src.state.protocols import ReadModel


def row(_: Entry[str]) -> tuple[object, ...]:
    raise AssertionError("rows are given here")


DATED = ReadModel(
    "t", ("id", "seq", "live", "live_seq"), row, live=("live", True), live_seq="live_seq"
)


@pytest.mark.parametrize(
    ("live", "given"),
    [
        (True, ("n", 3, True, 3)),
        (False, ("n", 3, False, 3)),
        (True, ("n", 3, False, 2)),
        (True, ("n", 3, False, None)),
    ],
    ids=["live", "quiet", "written over by who does not know", "never said"],
)
def test_row_that_does_not_say_for_certain_that_it_is_quiet_counts_as_live(
    live: bool, given: tuple[object, ...]
) -> None:
    assert DATED.shows_live(given) is live


def test_row_of_a_model_that_knows_no_live_ones_is_quiet() -> None:
    assert not ReadModel("t", ("id", "seq"), row).shows_live(("n", 3))
