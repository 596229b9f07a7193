"""Conversations as ChatContexts, and turns that wait, are refused, or are too many."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp import web
from livekit.agents import AgentSession, ConversationItemAddedEvent, FunctionToolsExecutedEvent
from livekit.agents.llm import AgentHandoff, ChatMessage, FunctionCall, FunctionCallOutput
from swarmstate_client import Client, Message, ToolUse
from swarmstate_client.answers import Author
from swarmstate_client.livekit import TurnSaver, chat_of, load_chat

from tests.support.agents import readable
from tests.support.standing_in import Hasty, StandIn, breaks, refuses, says, standing_in

POSTED = {"id": "m", "conversation_id": "c-1", "version": "1.7", "durability": "logged"}
TAKEN = says(POSTED, 201)
AT = datetime(2026, 1, 2, tzinfo=UTC)


def message(number: int, kind: str, by: str, text: str, **fields: Any) -> Message:
    role = {"person": "user", "bot": "assistant"}.get(kind, kind)
    author = Author(kind=kind, id=by, name=by.title())
    return Message(
        id=f"m-{number}", author=author, role=role, text=text, started_at=AT, ended_at=AT, **fields
    )


def client(server: StandIn, attempts: int = 1) -> Client:
    return Client(server.url, "token-1", patience=Hasty(attempts=attempts))


def a_session() -> AgentSession[Any]:
    return AgentSession(vad=None, turn_handling={"turn_detection": None})


def saver(swarm: Client, session: AgentSession[Any], **more: Any) -> TurnSaver:
    return TurnSaver(swarm, "c-1", session, bot="ada", person="zoe", **more)


def say(session: AgentSession[Any], *texts: str) -> None:
    """Let the session add messages, a person's and a bot's by turns."""
    for number, text in enumerate(texts):
        role = ("user", "assistant")[number % 2]
        item = ChatMessage(id=f"item_{number}", role=role, content=[text])
        session.emit("conversation_item_added", ConversationItemAddedEvent(item=item))


def saved(server: StandIn) -> list[tuple[str, str]]:
    return [(asked.json["author"]["id"], asked.json["text"]) for asked in server.asked]


def test_a_context_keeps_ids_roles_and_what_was_heard() -> None:
    messages = [
        message(1, "person", "zoe", "Hello"),
        message(2, "bot", "ada", "Good morning", interrupted=True, spoken_until=4),
        message(3, "system", "host", "The room closes soon"),
    ]
    chat = chat_of(messages)
    assert readable(chat) == [
        ("user", "Hello"),
        ("assistant", "Good"),
        ("system", "The room closes soon"),
    ]
    assert [item.id for item in chat.items] == ["m-1", "m-2", "m-3"]
    assert {item.created_at for item in chat.items} == {AT.timestamp()}


def test_a_tool_call_comes_with_its_result_or_not_at_all() -> None:
    uses = (
        ToolUse(id="t-1", name="look", arguments={"at": 1}, result="seen"),
        ToolUse(id="t-2", name="look"),
        ToolUse(id="t-3", name="look", result={"error": "nothing there"}),
        ToolUse(id="t-4", name="look", result=[1, 2]),
    )
    chat = chat_of([message(1, "bot", "ada", "There.", tool_calls=uses)])
    assert readable(chat) == [
        ("function_call", 'look {"at": 1}'),
        ("function_call_output", "seen"),
        ("function_call", "look {}"),
        ("function_call_output", "nothing there"),
        ("function_call", "look {}"),
        ("function_call_output", "[1, 2]"),
        ("assistant", "There."),
    ]
    failed = [item for item in chat.items if isinstance(item, FunctionCallOutput) and item.is_error]
    assert [item.call_id for item in failed] == ["t-3"]


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ((), [("user", "Hello"), ("user", "[Bob] I know"), ("assistant", "So do I")]),
        (
            (message(4, "person", "yan", "Me too"),),
            [
                ("user", "[Zoe] Hello"),
                ("user", "[Bob] I know"),
                ("assistant", "So do I"),
                ("user", "[Yan] Me too"),
            ],
        ),
    ],
    ids=["one person", "two people"],
)
def test_to_a_bot_its_own_turns_are_its_own_and_all_others_are_named(
    others: Sequence[Message], expected: list[tuple[str, str]]
) -> None:
    uses = (ToolUse(id="t", name="look", result="seen"),)
    messages = [
        message(1, "person", "zoe", "Hello"),
        message(2, "bot", "bob", "I know", tool_calls=uses),
        message(3, "bot", "ada", "So do I"),
        *others,
    ]
    assert readable(chat_of(messages, bot="ada")) == expected


async def test_only_the_last_messages_are_asked_for() -> None:
    told = [
        {
            "id": f"m-{number}",
            "author": {"kind": "person", "id": "zoe", "name": "Zoe"},
            "role": "user",
            "text": f"turn {number}",
            "started_at": "2026-01-02T03:04:05Z",
            "ended_at": "2026-01-02T03:04:05Z",
        }
        for number in (9, 8, 7)
    ]
    page = says({"messages": told, "next_cursor": "7"})
    async with standing_in(page) as server, client(server) as swarm:
        chat = await load_chat(swarm, "c-1", last=3)
        assert readable(await load_chat(swarm, "c-1", last=0)) == []
    assert readable(chat) == [("user", "turn 7"), ("user", "turn 8"), ("user", "turn 9")]
    assert server.asked[0].query == {"limit": "3"}


async def test_turns_are_saved_in_order_under_their_own_ids() -> None:
    session = a_session()
    async with (
        standing_in(TAKEN, TAKEN) as server,
        client(server) as swarm,
        saver(swarm, session) as turns,
    ):
        say(session, "Hello", "Good morning")
        handoff = AgentHandoff(new_agent_id="other")
        session.emit("conversation_item_added", ConversationItemAddedEvent(item=handoff))
        assert turns.waiting == 2
        assert turns.oldest_s >= 0
        assert await turns.flush(10)
        assert (turns.waiting, turns.oldest_s, turns.lost) == (0, 0.0, 0)
    assert saved(server) == [("zoe", "Hello"), ("ada", "Good morning")]
    assert [asked.headers["Idempotency-Key"] for asked in server.asked] == ["item_0", "item_1"]
    assert [asked.json["id"] for asked in server.asked] == ["item_0", "item_1"]


async def test_while_no_server_answers_turns_wait_and_keep_their_order() -> None:
    session = a_session()
    answers = (breaks, refuses(503, "read_only"), TAKEN, TAKEN)
    async with standing_in(*answers) as server, client(server) as swarm:
        async with saver(swarm, session) as turns:
            say(session, "Hello", "Good morning")
        assert (turns.waiting, turns.lost) == (0, 0)
    assert saved(server) == [("zoe", "Hello")] * 3 + [("ada", "Good morning")]


async def test_a_turn_that_is_refused_is_counted_and_holds_nobody_up() -> None:
    session = a_session()
    async with (
        standing_in(refuses(409, "not_a_participant"), TAKEN) as server,
        client(server) as swarm,
    ):
        async with saver(swarm, session) as turns:
            say(session, "Hello", "Good morning")
        assert (turns.waiting, turns.lost) == (0, 1)
    assert saved(server)[-1] == ("ada", "Good morning")


async def test_a_full_queue_takes_no_more_and_its_end_is_waited_for_no_longer_than_said() -> None:
    session, ended = a_session(), asyncio.Event()

    async def silent(request: web.Request) -> web.Response:
        await ended.wait()
        return web.Response()

    async with standing_in(silent) as server, client(server) as swarm:
        async with saver(swarm, session, queue=2, flush_s=0.01) as turns:
            say(session, "one", "two", "three")
            assert (turns.waiting, turns.lost) == (2, 1)
        assert turns.lost == 3
        ended.set()
    say(session, "nobody listens any more")
    assert turns.waiting == 2


async def test_tools_are_saved_with_the_words_that_follow_them_as_far_as_they_fit() -> None:
    session = a_session()
    calls = [
        FunctionCall(call_id="too large", name="look", arguments="{}"),
        FunctionCall(call_id="t-2", name="look", arguments='{"at": 1}'),
        FunctionCall(call_id="t-3", name="look", arguments="no json"),
    ]
    outputs = [
        FunctionCallOutput(call_id="too large", output="x" * 40_000, is_error=False),
        FunctionCallOutput(call_id="t-2", output="seen", is_error=False),
        FunctionCallOutput(call_id="t-3", output="nothing there", is_error=True),
    ]
    executed = FunctionToolsExecutedEvent(function_calls=calls, function_call_outputs=outputs)
    async with (
        standing_in(TAKEN, TAKEN) as server,
        client(server) as swarm,
        saver(swarm, session),
    ):
        session.emit("function_tools_executed", executed)
        say(session, "Hello", "There.")
    assert server.asked[0].json.get("tool_calls", []) == []
    assert server.asked[1].json["tool_calls"] == [
        {"id": "t-2", "name": "look", "arguments": {"at": 1}, "result": "seen"},
        {"id": "t-3", "name": "look", "arguments": {}, "result": {"error": "nothing there"}},
    ]


async def test_what_servers_would_refuse_of_an_item_is_put_otherwise() -> None:
    session = a_session()
    spoken = ChatMessage(
        id="an id with spaces",
        role="assistant",
        content=["never\x00 mind"],
        interrupted=True,
        created_at=3.0,
        metrics={
            "started_speaking_at": 5.0,
            "stopped_speaking_at": 4.0,
            "e2e_latency": 0.5,
            "llm_metadata": {"model_name": "x"},
        },
    )
    async with standing_in(TAKEN) as server, client(server) as swarm, saver(swarm, session):
        session.emit("conversation_item_added", ConversationItemAddedEvent(item=spoken))
        silent = ChatMessage(role="user", content=[])
        session.emit("conversation_item_added", ConversationItemAddedEvent(item=silent))
    (asked,) = server.asked
    assert len(asked.json["id"]) == 64
    assert (asked.json["text"], asked.json["interrupted"]) == ("never mind", True)
    assert asked.json["started_at"] == asked.json["ended_at"] == "1970-01-01T00:00:05+00:00"
    assert json.dumps(asked.json["metrics"]).count(":") == 3
