"""Conversations through the client, on two servers: one history, whichever answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing

import pytest
from swarmstate_client import (
    Client,
    Conflict,
    Invalid,
    NotAnswered,
    NotFound,
    Patience,
    PreconditionFailed,
)

from src.api.auth.principals import Role
from tests.support.api import token

NOWHERE = "http://127.0.0.1:1"
ZOE = {"id": "zoe", "kind": "person", "name": "Zoe"}
ADA = {"id": "ada", "kind": "bot", "name": "Ada"}
BY_ZOE = {"kind": "person", "id": "zoe"}


async def test_what_was_written_through_one_server_is_read_through_the_other(
    swarm: Client,
) -> None:
    transport = swarm._transport
    await swarm.conversations.create("c-1", participants=[ZOE])
    for number in range(6):
        # As after a failure: each request goes to the other server.
        transport._pass_over(transport._urls[transport._at])
        await swarm.conversations.say("c-1", f"turn {number}", author=BY_ZOE)
        transport._pass_over(transport._urls[transport._at])
        state = await swarm.conversations.get("c-1")
        assert (state.messages[-1].text, state.freshness) == (f"turn {number}", "fresh")
    told = [message.text async for message in swarm.conversations.messages("c-1", page=2)]
    assert told == [f"turn {number}" for number in reversed(range(6))]


async def test_a_server_that_is_away_is_passed_over(urls: Sequence[str]) -> None:
    bearer = token("root", Role.ADMIN)
    async with Client([NOWHERE, urls[0]], bearer, patience=Patience(pause_s=0.01)) as swarm:
        await swarm.conversations.create("c-1")
        await swarm.conversations.command(
            "c-1", "blackboard", set=[{"id": "venue", "value": "hall 3"}]
        )
        async with (
            asyncio.timeout(20),
            aclosing(swarm.conversations.stream("c-1", after=0)) as told,
        ):
            assert [(await anext(told)).seq, (await anext(told)).seq] == [1, 2]
            later = asyncio.ensure_future(anext(swarm.conversations.stream("c-1")))
            while not later.done():
                await swarm.conversations.command("c-1", "blackboard", increment=[{"id": "n"}])
            assert later.result().seq > 2
    async with Client(NOWHERE, bearer, patience=Patience(attempts=2, pause_s=0.01)) as alone:
        with pytest.raises(NotAnswered) as unanswered:
            await alone.conversations.create("c-2")
        assert unanswered.value.sure


async def test_a_write_is_done_once_under_its_key_and_decided_on_its_version(
    swarm: Client, there: Client
) -> None:
    begun = await swarm.conversations.create("c-1", participants=[ZOE])
    assert not begun.repeated
    first = await swarm.conversations.say("c-1", "hello", author=BY_ZOE, key="k", id="m-1")
    again = await there.conversations.say("c-1", "hello", author=BY_ZOE, key="k", id="m-1")
    assert (again.version, again.repeated, again.id) == (first.version, True, "m-1")
    with pytest.raises(PreconditionFailed):
        await swarm.conversations.patch_config("c-1", {"goal": "rest"}, if_match=begun.version)
    await swarm.conversations.patch_config("c-1", {"goal": "rest"}, if_match=first.version)
    saved = await swarm.conversations.save_turn("c-1", "Where?", "There.")
    state = await there.conversations.get_or_create("c-1")
    assert [message.text for message in state.messages] == ["hello", "Where?", "There."]
    assert saved.durability == "logged"
    assert (state.config["goal"], state.version.token) == ("rest", saved.version)
    assert (state.participants[0].name, state.stats.turns) == ("Zoe", 3)


async def test_refusals_say_what_a_server_said(swarm: Client) -> None:
    await swarm.conversations.create("c-1")
    with pytest.raises(Conflict, match="read again and decide"):
        await swarm.conversations.create("c-1")
    with pytest.raises(NotFound):
        await swarm.conversations.get("c-2")
    with pytest.raises(Invalid) as invalid:
        await swarm.conversations.say("c-1", "")
    assert invalid.value.errors[0]["field"] == "text"


async def test_the_past_is_read_branched_and_exported(swarm: Client, there: Client) -> None:
    conversation = await swarm.conversations.get_or_create("c-1", participants=[ZOE, ADA])
    await swarm.conversations.say("c-1", "one", author=BY_ZOE)
    await swarm.conversations.say("c-1", "two", author=BY_ZOE)
    then = await swarm.conversations.at("c-1", seq=2)
    assert [message.text for message in then.messages] == ["one"]
    branch = await swarm.conversations.branch("c-1", seq=2, new_id="c-2")
    assert (branch.parent.id, branch.parent.seq) == ("c-1", 2)
    branched = await there.conversations.get("c-2")
    assert [message.text for message in branched.messages] == ["one"]
    kinds = [line["line"] async for line in there.conversations.export("c-1")]
    assert kinds == ["state", "event", "event", "event"]
    types = [event.type async for event in swarm.conversations.events("c-1", page=2)]
    assert types == ["created", "message_added", "message_added"]
    assert conversation.created_by == "root"


async def test_a_session_is_saved_listed_and_forgotten(swarm: Client) -> None:
    await swarm.conversations.create("c-1", participants=[ZOE, ADA])
    said = [{"role": "user", "text": "Hi"}, {"role": "assistant", "text": "Hello"}]
    first = await swarm.conversations.save_session("c-1", said, duration_s=2.5)
    again = await swarm.conversations.save_session("c-1", said, duration_s=2.5)
    assert (again.summary_id, again.repeated) == (first.summary_id, True)
    effective = await swarm.conversations.effective_config("c-1")
    assert {value.origin["layer"] for value in effective.values} == {"default"}
    await swarm.conversations.delete("c-1", erase=True)
    with pytest.raises(NotFound):
        await swarm.conversations.get("c-1")
    assert [
        found.id async for found in swarm.conversations.list() if found.status != "deleted"
    ] == []
