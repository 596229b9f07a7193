"""A real AgentSession, by text and without a room: its turns are saved, and remembered."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from livekit.agents import NOT_GIVEN, Agent, AgentSession, function_tool
from livekit.agents.llm import FunctionToolCall
from swarmstate_client import Client
from swarmstate_client.livekit import TurnSaver, load_chat

from src.api.auth.principals import Role
from tests.support.agents import Written
from tests.support.api import token

README = Path(__file__).parents[3] / "clients" / "python" / "README.md"
MEMBERS = [
    {"id": "zoe", "kind": "person", "name": "Zoe"},
    {"id": "ada", "kind": "bot", "name": "Ada"},
    {"id": "bob", "kind": "bot", "name": "Bob"},
]
LOOK_UP = FunctionToolCall(name="look_up", arguments='{"what": "venue"}', call_id="call-1")


@function_tool
async def look_up(what: str) -> str:
    """Look something up."""
    return f"the {what} is hall 3"


def session_of(model: Written) -> AgentSession[Any]:
    return AgentSession(llm=model, vad=None, turn_handling={"turn_detection": None})


def said(messages: Sequence[Any]) -> list[tuple[str, str]]:
    return [(message.author.id, message.text) for message in messages]


async def test_what_an_agent_hears_and_says_is_in_the_conversation_and_comes_back(
    swarm: Client, there: Client
) -> None:
    await swarm.conversations.get_or_create("room-1", participants=MEMBERS)
    session = session_of(Written("Good morning, Zoe.", LOOK_UP, "It is hall 3."))
    async with TurnSaver(swarm, "room-1", session, bot="ada", person="zoe") as saver:
        await session.start(Agent(instructions="Be brief.", tools=[look_up]))
        await session.run(user_input="Good morning!")
        await session.run(user_input="Where is it?")
        await session.aclose()
    assert (saver.waiting, saver.lost) == (0, 0)

    state = await there.conversations.get("room-1")
    assert said(state.messages) == [
        ("zoe", "Good morning!"),
        ("ada", "Good morning, Zoe."),
        ("zoe", "Where is it?"),
        ("ada", "It is hall 3."),
    ]
    (use,) = state.messages[-1].tool_calls
    assert (use.id, use.name, use.arguments) == ("call-1", "look_up", {"what": "venue"})
    assert use.result == "the venue is hall 3"

    await there.conversations.say("room-1", "Mind the step.", author={"kind": "bot", "id": "bob"})
    model = Written("Hall 3, mind the step.")
    again = session_of(model)
    chat = await load_chat(there, "room-1", last=4, bot="ada")
    await again.start(Agent(instructions="Be brief.", chat_ctx=chat, tools=[look_up]))
    await again.run(user_input="Once more?")
    await again.aclose()
    assert model.told == [
        [
            ("system", "Be brief."),
            ("assistant", "Good morning, Zoe."),
            ("user", "Where is it?"),
            ("function_call", 'look_up {"what": "venue"}'),
            ("function_call_output", "the venue is hall 3"),
            ("assistant", "It is hall 3."),
            ("user", "[Bob] Mind the step."),
            ("user", "Once more?"),
        ]
    ]


async def test_a_turn_that_is_saved_twice_is_there_once(swarm: Client, there: Client) -> None:
    await swarm.conversations.get_or_create("room-1", participants=MEMBERS)
    session = session_of(Written("Hello."))
    async with (
        TurnSaver(swarm, "room-1", session, bot="ada", person="zoe") as one,
        TurnSaver(there, "room-1", session, bot="ada", person="zoe") as other,
    ):
        await session.start(Agent(instructions="Be brief."))
        await session.run(user_input="Hi!")
        await session.aclose()
    assert (one.lost, other.lost) == (0, 0)
    state = await there.conversations.get("room-1")
    assert said(state.messages) == [("zoe", "Hi!"), ("ada", "Hello.")]


async def test_the_ten_lines_of_the_readme_do_what_they_say(
    swarm: Client, urls: Sequence[str]
) -> None:
    sessions: list[AgentSession[Any]] = []
    callbacks: list[Callable[[], Awaitable[None]]] = []
    (lines,) = (
        block
        for block in re.findall(r"(?s)```python\n(.*?)```", README.read_text())
        if "entrypoint" in block
    )
    zoe, ada, _ = MEMBERS
    names: dict[str, Any] = {
        "URLS": urls,
        "API_KEY": token("worker", Role.SERVICE),
        "ZOE": zoe,
        "ADA": ada,
        "MODELS": {
            "llm": Written("Welcome back, Zoe."),
            "vad": None,
            "turn_handling": {"turn_detection": None},
        },
    }
    exec(lines, names)  # It is what is tested.

    def kept(**models: Any) -> AgentSession[Any]:
        sessions.append(AgentSession(**models))
        return sessions[-1]

    names["AgentSession"] = kept
    job = SimpleNamespace(
        job=SimpleNamespace(room=SimpleNamespace(name="room-1")),
        room=NOT_GIVEN,  # By text; a room would need a LiveKit server.
        add_shutdown_callback=callbacks.append,
    )
    await names["entrypoint"](job)
    await sessions[0].aclose()
    await callbacks[0]()
    state = await swarm.conversations.get("room-1")
    assert said(state.messages) == [("ada", "Welcome back, Zoe.")]
