"""Tried again until it is answered, and told of less and less often."""

import pytest
from structlog.testing import capture_logs

from src.state.errors import Refused, TierUnavailable
from src.state.ladder.retrying import insist
from tests.support.clock import VirtualClock, virtual_time


class Trips:
    """Trips of which the first so many are not answered."""

    def __init__(self, unanswered: int) -> None:
        self.unanswered, self.made = unanswered, 0

    async def __call__(self) -> None:
        self.made += 1
        if self.made <= self.unanswered:
            raise TierUnavailable(f"no answer {self.made}")


@virtual_time
async def test_trip_is_made_until_it_is_answered_and_not_once_more() -> None:
    for unanswered in (0, 1, 2, 20):
        trips = Trips(unanswered)
        await insist(trips, "log.unanswered")
        assert trips.made == unanswered + 1


@virtual_time
async def test_first_failures_are_told_then_every_time_their_number_has_doubled() -> None:
    with capture_logs() as logs:
        await insist(Trips(18), "log.unanswered")
    assert [(line["event"], line["attempt"]) for line in logs] == [
        ("log.unanswered", attempt) for attempt in (1, 2, 4, 8, 16)
    ]
    assert logs[0]["error"] == "no answer 2"


@virtual_time
async def test_between_two_tries_passes_a_second_at_most() -> None:
    began = VirtualClock().monotonic()
    await insist(Trips(100), "log.unanswered")
    assert 10 < VirtualClock().monotonic() - began < 100


@virtual_time
async def test_what_is_an_answer_ends_it() -> None:
    async def refused() -> None:
        raise Refused("no", "an answer")

    with pytest.raises(Refused):
        await insist(refused, "log.unanswered")
