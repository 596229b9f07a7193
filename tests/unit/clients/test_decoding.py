"""What a class names has to be there and of its type; all else is of a newer server."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from swarmstate_client import Conversation, NotUnderstood
from swarmstate_client.answers import ToolUse
from swarmstate_client.decoding import read
from swarmstate_client.versions import Versions

from tests.unit.clients.test_transport import STATE

MESSAGE = {
    "id": "m-1",
    "author": {"kind": "bot", "id": "ada", "name": "Ada", "mood": "new"},
    "role": "assistant",
    "text": "hello",
    "started_at": "2026-01-02T03:04:05.678Z",
    "ended_at": "2026-01-02T03:04:06+00:00",
    "tool_calls": [{"id": "t-1", "name": "look", "result": [1, None]}],
}


def test_fields_of_a_newer_server_are_ignored_and_left_out_ones_have_their_default() -> None:
    state = read(Conversation, {**STATE, "messages": [MESSAGE], "invented_later": {"a": 1}})
    (message,) = state.messages
    assert message.started_at == datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC)
    assert message.tool_calls == (ToolUse(id="t-1", name="look", result=[1, None]),)
    assert (state.baton, state.status, message.author.id) == (None, "ready", "ada")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"id": 7}, r"answer\.id is int, not str"),
        ({"version": {"epoch": 1}}, r"answer\.version\.seq is missing"),
        ({"version": {"epoch": 1, "seq": True}}, r"answer\.version\.seq is bool, not int"),
        ({"created_at": "yesterday"}, r"answer\.created_at is str, not time"),
        ({"messages": {}}, r"answer\.messages is dict, not list"),
        ({"messages": [MESSAGE, []]}, r"answer\.messages\[1\] is list, not object"),
        ({"config": None}, r"answer\.config is NoneType, not object"),
    ],
)
def test_what_is_of_another_type_is_named_with_its_place(
    change: dict[str, object], named: str
) -> None:
    with pytest.raises(NotUnderstood, match=named):
        read(Conversation, {**STATE, **change})


def test_versions_never_go_back_and_are_kept_for_what_was_used_last() -> None:
    versions = Versions(remembered=2)
    versions.saw("a", "1.9")
    versions.saw("a", "1.10")
    versions.saw("a", "1.2")
    versions.saw("b", "2.1")
    assert (versions.last("a"), versions.last("b"), versions.last("c")) == ("1.10", "2.1", None)
    versions.saw("c", "1.1")
    assert versions.last("a") is None
