"""What a room is told: the form of the streams, without what only members may read."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
import pytest
from msgspec.structs import replace

from src.agents.news import PACKET_BYTES, packet
from src.api.event_stream import frame
from src.state.models import Event, Version
from src.swarm.pending import PendingEvent
from src.swarm.shapes.codec import describe, encode_event
from src.swarm.shapes.events import (
    BatonPassed,
    ConversationEvent,
    MessageAdded,
    ParticipantRemoved,
    ParticipantStateChanged,
    SpeechHeard,
    StatusChanged,
)
from src.swarm.shapes.models import Author, Message, Role, ToolUse
from tests.unit.swarm.given import raw

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TURN = Message("m-1", Author("bot", "scout", "Scout"), "assistant", "Good morning.", AT, AT, 7)
OPEN = {
    "message_added",
    "speech_heard",
    "participant_added",
    "participant_updated",
    "participant_removed",
    "participant_state_changed",
    "status_changed",
    "baton_passed",
}


def logged(typed: ConversationEvent) -> Event:
    name, schema = describe(typed)
    return Event("c", Version(1, 7), "e-7", name, schema, encode_event(typed), "scout", AT)


def told(one: Event | PendingEvent) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(packet(one))
    return decoded


@pytest.mark.parametrize(
    "typed",
    [
        MessageAdded(TURN),
        SpeechHeard("m-2", "scout", "Well, ", 5, AT),
        ParticipantRemoved("zoe"),
        ParticipantStateChanged("zoe", "left"),
        StatusChanged("paused", "lunch"),
        BatonPassed("tutor"),
    ],
    ids=lambda typed: describe(typed)[0],
)
def test_event_is_told_as_the_streams_of_the_api_send_it(typed: ConversationEvent) -> None:
    event = logged(typed)
    assert frame(event).endswith(b"\ndata: %s\n\n" % packet(event))
    pending = PendingEvent(1, event)
    assert frame(pending).endswith(b"\ndata: %s\n\n" % packet(pending))
    assert told(pending).keys() == told(event).keys() - {"seq", "version"}


@pytest.mark.parametrize(
    "type",
    [
        *(str(kind.__struct_config__.tag) for kind in get_args(ConversationEvent)),
        "a_type_of_the_next_release",
    ],
)
def test_only_what_is_heard_or_seen_in_the_room_is_told_whole(type: str) -> None:
    body = encode_event(MessageAdded(TURN)) if type == "message_added" else b'{"secret":1}'
    event = Event("c", Version(1, 7), "e-7", type, 1, body, "ada", AT)
    assert told(event) == {
        "conversation_id": "c",
        "seq": 7,
        "version": "1.7",
        "id": "e-7",
        "type": type,
        "schema": 1,
        "actor": "ada",
        "at": "2026-01-02T03:04:05Z",
        "data": msgspec.json.decode(body) if type in OPEN else None,
    }


def test_turn_is_told_without_what_its_tools_did_and_what_it_cost() -> None:
    calls = (ToolUse("t-1", "look_up", raw({"of": "Zoe"}), raw({"grade": "D"})),)
    whole = replace(TURN, tool_calls=calls, metrics=raw({"total_tokens": 99}))
    assert packet(logged(MessageAdded(whole))) == packet(logged(MessageAdded(TURN)))


@pytest.mark.parametrize("role", ["system", "tool"])
def test_notes_and_results_of_tools_are_announced_only(role: Role) -> None:
    assert told(logged(MessageAdded(replace(TURN, role=role))))["data"] is None


def test_what_does_not_fit_into_a_packet_is_announced_only() -> None:
    empty = len(packet(logged(MessageAdded(replace(TURN, text="")))))
    fits, too_long = (
        logged(MessageAdded(replace(TURN, text="x" * (PACKET_BYTES - empty + more))))
        for more in (0, 1)
    )
    assert len(packet(fits)) == PACKET_BYTES
    assert told(fits)["data"] is not None
    assert told(too_long) == told(fits) | {"data": None}
