"""The tentative state of a room: decided and folded in order, numbered for followers, bounded."""

from datetime import timedelta

import pytest

from src.state.errors import ReadOnly, Refused
from src.state.models import Entry, Version
from src.state.writes.lane import Lane
from src.swarm.pending import Bounds, PendingRooms, RoomLane
from src.swarm.rules.conversations import CONVERSATIONS
from src.swarm.shapes.commands import PassBaton, PostMessage, Speaker
from tests.unit.swarm.given import START, Story

WIDE = Bounds(100, 100, 1 << 20)
EPOCH = 3


def lane() -> RoomLane:
    story = Story()
    entry = Entry("c-1", Version(EPOCH, len(story.log)), story.state)
    return Lane(CONVERSATIONS, "c-1", EPOCH, entry, 0.0)


def say(rooms: PendingRooms, held: RoomLane, text: str, *, after_s: float = 1.0) -> bool:
    command = PostMessage(Speaker("person", "ada"), text)
    return rooms.take(held, command, text, "ada", START + timedelta(seconds=after_s), 0.0)


def test_turns_are_folded_on_each_other_and_the_lane_stays_as_it_is() -> None:
    rooms, held = PendingRooms(CONVERSATIONS, WIDE), lane()
    assert say(rooms, held, "one")
    assert say(rooms, held, "two", after_s=2)
    room = rooms.find("c-1")
    assert room is not None
    assert [turn.text for turn in room.state.messages] == ["one", "two"]
    assert (held.tip, held.buffered, held.queue) == (held.state, [], type(held.queue)())


def test_pending_events_have_the_last_logged_version_and_a_number_of_their_own() -> None:
    rooms, held = PendingRooms(CONVERSATIONS, WIDE), lane()
    for text in ("one", "two", "three"):
        say(rooms, held, text)
    events = rooms.after("c-1", 0)
    assert [one.number for one in events] == [1, 2, 3]
    assert [one.event.event_id for one in events] == ["one:0", "two:0", "three:0"]
    assert {one.event.version for one in events} == {held.version}
    assert [one.number for one in rooms.after("c-1", 2)] == [3]
    assert rooms.after("c-1", 3) == rooms.after("elsewhere", 0) == []


def test_numbers_go_on_where_a_room_was_closed_and_opened_again() -> None:
    rooms, held = PendingRooms(CONVERSATIONS, WIDE), lane()
    say(rooms, held, "one")
    rooms.answered("c-1")
    assert "c-1" not in rooms
    assert (rooms.count, rooms.bytes) == (0, 0)
    say(rooms, held, "two")
    assert [one.number for one in rooms.after("c-1", 1)] == [2]


def test_turn_that_is_logged_later_keeps_the_time_when_it_was_said() -> None:
    rooms, held = PendingRooms(CONVERSATIONS, WIDE), lane()
    say(rooms, held, "one", after_s=60)
    room = rooms.find("c-1")
    assert room is not None
    command = room.waiting[0].command
    assert isinstance(command, PostMessage)
    assert command.started_at == command.ended_at == START + timedelta(seconds=60)


def test_key_that_is_pending_is_not_taken_again() -> None:
    rooms, held = PendingRooms(CONVERSATIONS, WIDE), lane()
    assert say(rooms, held, "one")
    assert not say(rooms, held, "one")
    assert rooms.pending("c-1") == 1


def test_refused_command_opens_no_room() -> None:
    rooms, held = PendingRooms(CONVERSATIONS, WIDE), lane()
    with pytest.raises(Refused):
        rooms.take(held, PassBaton("nobody there"), "k", "ada", START, 0.0)
    assert len(rooms) == rooms.count == rooms.bytes == 0


@pytest.mark.parametrize(
    "bounds", [Bounds(2, 100, 1 << 20), Bounds(100, 2, 1 << 20), Bounds(100, 100, 3_000)]
)
def test_bounds_hold_and_room_is_made_by_what_is_logged(bounds: Bounds) -> None:
    rooms, held = PendingRooms(CONVERSATIONS, bounds), lane()
    say(rooms, held, "one")
    say(rooms, held, "two")
    with pytest.raises(ReadOnly, match="SWARMSTATE_PENDING"):
        say(rooms, held, "three")
    assert (rooms.count, rooms.turned_away) == (2, 1)
    rooms.answered("c-1")
    assert say(rooms, held, "three")
