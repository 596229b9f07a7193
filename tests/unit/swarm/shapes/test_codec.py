"""One JSON form: exact, strict with bytes from outside, and nothing to edit in what is read."""

from __future__ import annotations

import gc
from enum import Enum
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from src.state.errors import Refused, Undecodable
from src.state.models import Durability
from src.swarm.errors import InvalidCommand
from src.swarm.shapes.codec import (
    decode_command,
    decode_event,
    decode_state,
    describe,
    encode_command,
    encode_event,
    encode_state,
)
from src.swarm.shapes.commands import (
    Command,
    CountUsage,
    NoteSpeech,
    PassBaton,
    PatchConfig,
    PostMessage,
    SetParticipantState,
    SetTools,
    Speaker,
)
from src.swarm.shapes.config import Config
from src.swarm.shapes.events import ConversationEvent, Created
from src.swarm.shapes.limits import Limits
from src.swarm.shapes.models import SCHEMA, Tool, ToolUse
from src.swarm.shapes.work import EditBlackboard, RequestToolCall, SetSubtask
from tests.unit.swarm.given import START, Story, raw

FAST = settings(max_examples=100, deadline=None)


def busy() -> Story:
    """A conversation with something in every part of it."""
    story = Story(Config(goal="Learn.", event_subscriptions=raw({"swarm/#": ["scout"]})))
    for who in ("ada", "scout"):
        story.says(who)
    story.tell(
        PostMessage(
            Speaker("bot", "tutor"),
            "Look.",
            metrics=raw({"ttft_ms": 200}),
            tool_calls=(ToolUse("u", "look", raw({"at": "sky"}), raw(["blue"])),),
        )
    )
    story.tell(EditBlackboard(set=decode_assignments(b'[{"id":"a","value":{"b":[1]}}]')))
    story.tell(SetSubtask("plan", "Plan.", assignee="scout"))
    story.tell(SetTools((Tool("look", "Looks.", raw({"type": "object"})),)))
    story.tell(RequestToolCall("look", "scout", raw({"at": "sea"})))
    story.tell(PassBaton("tutor"))
    story.tell(NoteSpeech("s:0", "scout", "Well. Now", 5, START, story.state.messages[0].id, 2))
    return story


def decode_assignments(body: bytes) -> Any:
    command = decode_command(b'{"type":"blackboard","set":' + body + b"}")
    assert isinstance(command, EditBlackboard)
    return command.set


def reachable(value: object) -> list[object]:
    """Everything inside a value."""
    inside: list[object] = [value]
    if isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            inside += reachable(getattr(value, name))
    elif isinstance(value, tuple | list | set | frozenset | dict):
        for part in value:
            inside += reachable(part)
    return inside


def test_a_state_shows_every_part_of_the_design_under_its_wire_name() -> None:
    shown = msgspec.json.decode(encode_state(Story().state))

    assert set(shown) == {
        "id",
        "version",
        "schema",
        "started_seq",
        "status",
        "config",
        "participants",
        "available_tools",
        "team",
        "messages",
        "speech",
        "blackboard",
        "subtasks",
        "pending_tool_calls",
        "stats",
        "baton",
        "ephemeral",
        "window_bytes",
        "created_at",
        "updated_at",
        "created_by",
    }
    assert shown["version"] == {"epoch": 1, "seq": 1}
    assert shown["ephemeral"] == {}
    assert shown["config"]["model_config"] == {"model": "", "fallback": [], "options": {}}


def test_maps_are_objects_and_free_values_are_themselves_on_the_wire() -> None:
    shown = msgspec.json.decode(encode_state(busy().state))

    assert shown["config"]["event_subscriptions"] == {"swarm/#": ["scout"]}
    assert shown["blackboard"][0]["value"] == {"b": [1]}
    assert shown["messages"][2]["metrics"] == {"ttft_ms": 200}
    assert shown["messages"][2]["tool_calls"][0]["result"] == ["blue"]


def test_a_reader_finds_nothing_that_it_could_change() -> None:
    for part in reachable(decode_state(encode_state(busy().state))):
        assert (
            isinstance(part, msgspec.Struct | tuple | str | int | float | bool | None | Raw)
            or part.__class__.__module__ == "datetime"
        )
        if isinstance(part, msgspec.Struct):
            assert part.__struct_config__.frozen
            for name in part.__struct_fields__:
                with pytest.raises(AttributeError):
                    setattr(part, name, None)
        if isinstance(part, Raw):
            with pytest.raises(TypeError):
                memoryview(part)[0] = 0


def test_the_collector_has_nothing_to_visit_in_a_state() -> None:
    state = decode_state(encode_state(busy().state))
    # Tuples are let go by the first collection that finds nothing in them to visit.
    gc.collect()

    tracked = [
        part
        for part in reachable(state)
        if gc.is_tracked(part) and not isinstance(part, Enum) and part != ()
    ]

    assert tracked == []


@pytest.mark.parametrize("kind", get_args(ConversationEvent))
def test_every_event_has_a_type_of_its_own_and_a_schema(kind: Any) -> None:
    tags = [other.__struct_config__.tag for other in get_args(ConversationEvent)]

    assert tags.count(kind.__struct_config__.tag) == 1
    assert kind.SCHEMA >= 1
    assert kind.__struct_config__.frozen


def test_an_event_is_described_by_its_type_and_schema() -> None:
    (event,) = busy().tell(PassBaton(None))

    assert describe(event) == ("baton_passed", 1)
    assert encode_event(event) == b'{"type":"baton_passed","to":null}'


def test_a_config_of_the_first_schema_says_what_it_always_said() -> None:
    """It wrote every default out, so nothing of it is inherited; only limits ever were."""
    scheduling = (
        b'{"default_delay_ms":0,"tool_delays":{},"requires_approval":"none",'
        b'"approval_timeout_s":600.0,"auto_reject_on_timeout":true}'
    )
    body = b'{"type":"created","id":"c","config":{"limits":{},"scheduling":' + scheduling + b"}}"

    created = decode_event("created", 1, body)

    assert isinstance(created, Created)
    assert created.config.scheduling.requires_approval == "none"
    assert created.config.scheduling.default_delay_ms == 0
    assert created.config.limits == Limits()


def test_a_state_of_an_older_release_is_one_of_this_release_when_it_is_written_back() -> None:
    older = msgspec.json.decode(encode_state(Story().state)) | {"schema": 1}

    assert decode_state(msgspec.json.encode(older)).schema == SCHEMA


def test_a_state_that_was_written_before_speeches_were_noted_has_none() -> None:
    older = msgspec.json.decode(encode_state(busy().state)) | {"schema": 2}
    del older["speech"]

    state = decode_state(msgspec.json.encode(older))

    assert (state.schema, state.speech) == (SCHEMA, None)
    assert [turn.cut_off for turn in state.messages] == [False] * 3


@pytest.mark.parametrize(
    ("event_type", "schema", "body"),
    [
        ("invented_later", 1, b"{}"),
        ("baton_passed", 2, b'{"type":"baton_passed","to":null}'),
        ("baton_passed", 1, b'{"type":"message_added"}'),
        ("baton_passed", 1, b'{"type":"baton_passed"}'),
        ("baton_passed", 1, b""),
        ("baton_passed", 1, b"\xff"),
    ],
)
def test_an_event_that_this_release_cannot_read_is_undecodable(
    event_type: str, schema: int, body: bytes
) -> None:
    with pytest.raises(Undecodable):
        decode_event(event_type, schema, body)


def test_a_state_of_a_newer_release_is_undecodable_and_says_so() -> None:
    newer = msgspec.json.decode(encode_state(Story().state))
    newer |= {"schema": SCHEMA + 1}

    with pytest.raises(Undecodable, match=f"schema {SCHEMA + 1}"):
        decode_state(msgspec.json.encode(newer))
    with pytest.raises(Undecodable, match=f"schema {SCHEMA + 1}"):
        decode_state(msgspec.json.encode(newer | {"participants": "moved elsewhere"}))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"[]", None),
        (b'{"type":"explode"}', "type"),
        (b'{"id":"x"}', "type"),
        (b'{"type":"delete","really":true}', "really"),
        (b'{"type":"pass_baton"}', "to"),
        (b'{"type":"pass_baton","to":"two words"}', "to"),
        (b'{"type":"pass_baton","to":"line\\n"}', "to"),
        (b'{"type":"pass_baton","to":""}', "to"),
        (b'{"type":"create","id":"x","participants":[{"id":"a","kind":"cat","name":"A"}]}',
         "participants[0].kind"),
        (b'{"type":"create","id":"x","config":{"limits":{"credits":-1}}}',
         "config.limits.credits"),
        (b'{"type":"create","id":"x","config":{"limits":{"wishes":3}}}', "config.limits.wishes"),
        (b'{"type":"post_message","author":{"kind":"bot","id":"a"},"text":""}', "text"),
        (b'{"type":"post_message","author":{"kind":"bot","id":"a"}}', "text"),
        (b'{"type":"post_message","started_at":"2026-01-01T00:00:00"}', "started_at"),
        (b'{"type":"count","tool_calls":-1}', "tool_calls"),
        (b'{"type":"count","credits":1e3}', "credits"),
        (b'{"type":"blackboard","set":[{"id":"a"}]}', "set[0].value"),
        (b'{"type":"set_subtask","id":"a","description":"","status":"maybe"}', "status"),
        (b'{"type":"lifecycle","action":"jump"}', "action"),
        (b'{"type":"post_message","author":{"kind":"bot","id":"a"},"text":"\\u0000"}', None),
    ],
)  # fmt: skip
def test_a_bad_command_is_refused_at_its_place(body: bytes, field: str | None) -> None:
    with pytest.raises(InvalidCommand) as refused:
        decode_command(body)

    assert (refused.value.code, refused.value.field) == ("invalid", field)


BOUNDS: list[tuple[str, Any, str]] = [
    ("post_message", {"author": {"kind": "bot", "id": "a"}, "text": "x" * 32_769}, "text"),
    ("post_message", {"author": {"kind": "bot", "id": "a" * 129}, "text": "x"}, "author.id"),
    ("save_turn", {"user_message": "x" * 32_769, "assistant_message": "x"}, "user_message"),
    ("add_participant", {"participant": {"id": "a", "kind": "bot", "name": "x" * 201}},
     "participant.name"),
    ("create", {"id": "a", "participants": [{"id": "a", "kind": "bot", "name": "x"}] * 201},
     "participants"),
    ("create", {"id": "a", "config": {"goal": "x" * 32_769}}, "config.goal"),
    ("blackboard", {"delete": ["a"] * 257}, "delete"),
    ("blackboard", {"set": [{"id": "a", "value": 1}] * 257}, "set"),
    ("set_tools", {"tools": [{"name": "a"}] * 201}, "tools"),
    ("set_subtask", {"id": "a", "description": "x" * 2_001}, "description"),
    ("set_subtask", {"id": "a", "description": "", "depends_on": ["a"] * 51}, "depends_on"),
    ("lifecycle", {"action": "stop", "reason": "x" * 2_001}, "reason"),
    ("report_config_version", {"bot": "a", "version": 2**53}, "version"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "fields", "field"), BOUNDS)
def test_what_is_too_long_or_too_many_is_refused_at_its_place(
    kind: str, fields: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidCommand) as refused:
        decode_command(msgspec.json.encode({"type": kind, **fields}))

    assert refused.value.field == field


def test_only_cheap_changes_are_buffered() -> None:
    buffered = {kind for kind in get_args(Command) if kind.durability is Durability.BUFFERED}

    assert buffered == {CountUsage, SetParticipantState}


def test_a_command_says_its_type_first() -> None:
    assert encode_command(PatchConfig(raw({"goal": "x"}))) == (
        b'{"type":"patch_config","patch":{"goal":"x"}}'
    )


@FAST
@given(st.binary(max_size=200))
def test_no_bytes_crash_a_decoder(body: bytes) -> None:
    for decode in (decode_command, decode_state, lambda b: decode_event("created", 1, b)):
        with pytest.raises((InvalidCommand, Undecodable)):
            decode(body)


STATE = encode_state(busy().state)
COMMAND = encode_command(
    PostMessage(
        Speaker("bot", "scout", "Scout"),
        "Look at \u00e9 and \U0001f600.",
        metrics=raw({"a": [1.5]}),
        tool_calls=(ToolUse("u", "look", raw({"at": "sky"}), raw(["blue"])),),
    )
)


@FAST
@given(st.data())
def test_no_damage_to_bytes_crashes_a_decoder(data: st.DataObject) -> None:
    for body, decode in ((STATE, decode_state), (COMMAND, decode_command)):
        place = data.draw(st.integers(0, len(body) - 1))
        junk = data.draw(st.binary(max_size=4) | st.sampled_from([b"null", b"[" * 2_000, b"1e999"]))
        damaged = body[:place] + junk + body[place + data.draw(st.integers(0, 3)) :]
        try:
            value = decode(damaged)
        except (Refused, Undecodable):
            continue
        assert isinstance(value, msgspec.Struct)
