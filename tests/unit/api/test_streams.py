"""Places of streams: so many for each caller, given back whatever ended them."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from src.api.auth.principals import Role, principal
from src.api.errors import TooManyStreams
from src.api.middleware import Traffic
from src.api.streams import Streams
from tests.unit.api.given import caller


def test_streams_and_sessions_of_a_caller_share_its_places() -> None:
    traffic = Traffic()
    streams = Streams(traffic, 2)
    with streams.stream(caller("zoe")), streams.session(caller("zoe")):
        for one_more in (streams.stream, streams.session):
            with pytest.raises(TooManyStreams, match="SWARMSTATE_API_STREAMS_PER_CALLER"):
                one_more(caller("zoe")).__enter__()
        with streams.stream(caller("yan")):
            assert (traffic.streams, traffic.live_sessions, traffic.streams_refused) == (2, 1, 2)

    assert (traffic.streams, traffic.live_sessions) == (0, 0)


def test_a_place_is_free_again_after_a_failure() -> None:
    streams = Streams(Traffic(), 1)
    for _ in range(3):
        with pytest.raises(OSError, match="went away"), streams.stream(caller("zoe")):
            raise OSError("went away")


@pytest.mark.parametrize("role", [Role.ADMIN, Role.SERVICE])
def test_bots_and_workers_may_follow_any_number(role: Role) -> None:
    traffic = Traffic()
    streams = Streams(traffic, 1)
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(streams.stream(principal("worker", [role], 0.0)))
        assert traffic.streams == 5
