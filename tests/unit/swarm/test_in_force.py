"""What configs hold is obeyed where a command is decided, and never taken for absent unread."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import msgspec
import pytest

from src.state.errors import DurableTierUnavailable, Refused
from src.state.models import Durability
from src.swarm.configs.settings import VALUES, SettingConfig, decode_setting
from src.swarm.configs.teams import TeamConfig, decode_team
from src.swarm.errors import RulesUnknown
from src.swarm.forwarding import Receipt
from src.swarm.providers import ToolCall
from src.swarm.shapes import free_json
from src.swarm.shapes.commands import (
    ChangeStatus,
    Create,
    PatchConfig,
    PostMessage,
    RemoveParticipant,
    SaveTurn,
    Speaker,
)
from src.swarm.shapes.config import Config
from src.swarm.shapes.work import RequestToolCall
from tests.support.clock import advance, settle, virtual_time
from tests.support.rooms import ADA, SCOUT, TUTOR, Swarm, SwarmServer, Voice
from tests.unit.swarm.given import raw

OF_CREW = Config(team_id="crew")
ZOE = Speaker("person", "zoe")


def crew(**defaults: object) -> TeamConfig:
    return decode_team(msgspec.json.encode({"name": "Crew", "defaults": defaults}))


def setting(key: str, value: object) -> SettingConfig:
    return decode_setting(key, msgspec.json.encode({"value": value}))


CLOSED = crew(policy={"visibility": "restricted"})
CAREFUL = crew(scheduling={"requires_approval": "all"})


def stranger(server: SwarmServer, key: str = "zoe") -> Coroutine[Any, Any, Receipt]:
    return server.submit(PostMessage(ZOE, "Let me in."), key=key)


def pay(server: SwarmServer, key: str = "pay") -> Coroutine[Any, Any, Receipt]:
    return server.submit(RequestToolCall("pay", "scout"), key=key)


async def statuses(server: SwarmServer) -> list[str]:
    state = (await server.service.read("c")).entry.state
    return [call.status for call in state.pending_tool_calls]


async def cut(swarm: Swarm) -> None:
    """Take PostgreSQL away from everybody, and let the servers notice."""
    for rows in swarm.configs.values():
        rows.away = True
    swarm.cluster.database.available = False
    await advance(2)


async def give_back(swarm: Swarm) -> None:
    """Give it back, and let the servers find it again."""
    for rows in swarm.configs.values():
        rows.away = False
    swarm.cluster.database.available = True
    await advance(6)


# -- where a command is decided ------------------------------------------------------------------


@virtual_time
async def test_who_is_removed_in_the_same_moment_is_a_stranger_to_the_team() -> None:
    swarm = Swarm()
    swarm.save("team", "crew", CLOSED)
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT, config=OF_CREW)
        a.state.log_link.hold_answers()
        going = asyncio.create_task(a.submit(RemoveParticipant("ada"), key="go"))
        await settle()
        last = asyncio.create_task(a.say("hello"))
        await settle()
        a.state.log_link.release()
        await going
        with pytest.raises(Refused) as refused:
            await last
    assert refused.value.code == "not_a_participant"
    assert swarm.said() == []


@virtual_time
async def test_command_is_decided_under_the_team_that_its_conversation_has_by_then() -> None:
    swarm = Swarm()
    swarm.save("team", "crew", CAREFUL)
    swarm.save("team", "loose", crew())
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT, config=Config(team_id="loose"))
        await pay(a, "before")
        a.state.log_link.hold_answers()
        moved = PatchConfig(free_json.write({"team_id": "crew"}))
        moving = asyncio.create_task(a.submit(moved, key="move"))
        await settle()
        asked = asyncio.create_task(pay(a))
        await settle()
        a.state.log_link.release()
        await asyncio.gather(moving, asked)
        assert await statuses(a) == ["scheduled", "pending_approval"]


@virtual_time
async def test_command_that_waited_is_decided_under_the_rules_of_its_decision() -> None:
    swarm = Swarm()
    swarm.save("team", "crew", crew())
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT, config=OF_CREW)
        a.state.log_link.hold_answers()
        first = asyncio.create_task(a.say("in the log, unanswered"))
        await settle()
        asked = asyncio.create_task(pay(a))
        await settle()
        swarm.save("team", "crew", CAREFUL)
        a.state.log_link.release()
        await asyncio.gather(first, asked)
        assert await statuses(a) == ["pending_approval"]


@virtual_time
async def test_what_was_read_once_is_not_read_again_until_it_is_edited() -> None:
    swarm = Swarm()
    swarm.save("team", "crew", crew())
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT, config=OF_CREW)
        await pay(a, "first")
        loads = {kind: rows.loads for kind, rows in swarm.configs.items()}
        for number in range(5):
            await pay(a, f"{number}")
            await advance(5)
        assert {kind: rows.loads for kind, rows in swarm.configs.items()} == loads
        swarm.save("team", "crew", CAREFUL)
        await pay(a, "last")
        assert (await statuses(a))[-1] == "pending_approval"
        assert swarm.configs["team"].loads == loads["team"] + 1
    assert loads["setting"] == len(VALUES), "also what nobody has made"


@virtual_time
async def test_tool_that_a_bot_calls_late_in_its_reply_obeys_an_edit_made_meanwhile() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    swarm.save("team", "crew", crew())
    voice = Voice(ToolCall("pass_baton", raw({"to": "tutor"})))
    voice.hold()
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT, TUTOR, config=OF_CREW)
        await a.say("hello")
        await settle(200)
        assert voice.now == 1
        swarm.save("team", "crew", CAREFUL)
        voice.release()
        await advance(1)
        assert (await a.service.read("c")).entry.state.baton is None
        assert await statuses(a) == ["pending_approval"]


# -- what cannot be read -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["team", "setting"])
@virtual_time
async def test_command_is_refused_where_what_rules_it_cannot_be_read(kind: str) -> None:
    swarm = Swarm()
    name = "crew" if kind == "team" else "scheduling"
    swarm.save("team", "crew", CAREFUL)
    swarm.configs[kind].unreadable.add(name)
    async with swarm.open("a", "b") as [a, b]:
        await a.begin(SCOUT, config=OF_CREW)
        for server in (a, b):
            with pytest.raises(RulesUnknown, match=f"{kind} '{name}'"):
                await pay(server)
        assert await statuses(a) == []
        await a.say("members talk on")
        swarm.configs[kind].unreadable.clear()
        await advance(2)
        await pay(b)
        assert await statuses(a) == ["pending_approval"]


@virtual_time
async def test_what_was_read_holds_though_it_cannot_be_read_again() -> None:
    swarm = Swarm()
    swarm.save("team", "crew", CAREFUL)
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT, config=OF_CREW)
        await pay(a, "one")
        swarm.configs["team"].unreadable.add("crew")
        await advance(30)
        await pay(a, "two")
        assert await statuses(a) == ["pending_approval"] * 2


@virtual_time
async def test_command_is_refused_where_an_edit_was_heard_of_that_cannot_be_read() -> None:
    swarm = Swarm()
    swarm.save("team", "crew", crew())
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT, config=OF_CREW)
        await pay(a, "one")
        swarm.configs["team"].unreadable.add("crew")
        swarm.save("team", "crew", CAREFUL)
        with pytest.raises(RulesUnknown, match="team 'crew'"):
            await pay(a, "two")
        swarm.configs["team"].unreadable.clear()
        await pay(a, "two")
        assert await statuses(a) == ["scheduled", "pending_approval"]


@virtual_time
async def test_key_that_was_taken_is_answered_though_its_rules_cannot_be_read() -> None:
    swarm = Swarm()
    swarm.save("team", "crew", crew())
    async with swarm.open("a", "b") as [a, b]:
        await a.begin(SCOUT, config=OF_CREW)
        first = await pay(a)
        await a.state.notebooks.drain()
        swarm.configs["team"].unreadable.add("crew")
        again = await pay(b)
    assert (again.version, again.repeated) == (first.version, True)


@virtual_time
async def test_conversation_does_not_begin_without_what_its_team_gives_it() -> None:
    swarm = Swarm()
    swarm.save("team", "crew", crew(blackboard=[{"id": "mood", "value": "keen"}]))
    swarm.configs["team"].unreadable.add("crew")
    create = Create("c", config=OF_CREW, participants=(ADA,))
    async with swarm.open("a") as [a]:
        with pytest.raises(RulesUnknown, match="team 'crew'"):
            await a.service.in_force.begun(create)
        swarm.configs["team"].unreadable.clear()
        begun = await a.service.in_force.begun(create)
    assert [value.id for value in begun.blackboard] == ["mood"]


# -- PostgreSQL away -----------------------------------------------------------------------------


@pytest.mark.parametrize("above", ["team", "setting"])
@virtual_time
async def test_policy_that_is_inherited_holds_for_pending_turns(above: str) -> None:
    swarm = Swarm()
    swarm.save("team", "crew", CLOSED if above == "team" else crew())
    if above == "setting":
        swarm.save("setting", "policy", setting("policy", {"visibility": "private"}))
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT, config=OF_CREW)
        await a.say("before")
        await advance(2)
        await cut(swarm)
        with pytest.raises(DurableTierUnavailable):
            await stranger(a)
        assert (await a.say("during")).durability is Durability.PENDING
        await give_back(swarm)
    assert "zoe" not in [who for who, _ in swarm.said()]


@virtual_time
async def test_approval_and_limits_that_are_inherited_hold_for_pending_calls() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    rules = crew(scheduling={"requires_approval": ["pay"]}, limits={"tool_calls": 2})
    swarm.save("team", "crew", rules)
    voice = Voice(*(ToolCall("pay", raw({})) for _ in range(3)))
    async with swarm.open("a", voice=voice) as [a]:
        await a.begin(SCOUT, config=OF_CREW)
        await pay(a, "before")
        await a.seen.read("bot", "scout")
        await cut(swarm)
        await a.say("pay them")
        await advance(1)
        room = a.outage.rooms.find("c")
        assert room is not None
        calls = room.state.pending_tool_calls
        assert [call.status for call in calls] == ["pending_approval"] * 2
        await give_back(swarm)
        assert await statuses(a) == ["pending_approval"] * 2


@virtual_time
async def test_edit_heard_of_before_an_outage_holds_in_it_though_nobody_used_it_yet() -> None:
    swarm = Swarm()
    swarm.save("team", "crew", crew())
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT, config=OF_CREW)
        await stranger(a, "before")
        swarm.save("team", "crew", CLOSED)
        await advance(2)
        await cut(swarm)
        with pytest.raises(DurableTierUnavailable):
            await stranger(a, "after")
        await give_back(swarm)
    assert [who for who, _ in swarm.said()].count("zoe") == 1


@virtual_time
async def test_turn_whose_rules_were_never_read_does_not_wait_and_says_why() -> None:
    swarm = Swarm()
    swarm.save("team", "crew", crew())
    async with swarm.open("a") as [a]:
        await a.begin(config=OF_CREW)
        await cut(swarm)
        with pytest.raises(RulesUnknown, match="team 'crew'"):
            await stranger(a)
        assert (await a.say("members talk on")).durability is Durability.PENDING
        await give_back(swarm)
        assert (await stranger(a)).durability is Durability.LOGGED


@virtual_time
async def test_turns_of_an_exchange_are_ruled_in_an_outage_like_others() -> None:
    swarm = Swarm()
    swarm.save("team", "crew", CLOSED)
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT, config=OF_CREW)
        await a.submit(SaveTurn("hello", "hello yourself"), key="one")
        await cut(swarm)
        with pytest.raises(DurableTierUnavailable):
            await a.submit(SaveTurn("hello", "hi", user_id="zoe"), key="two")
        await give_back(swarm)
    assert [who for who, _ in swarm.said()][:2] == ["ada", "scout"]


# -- recording -----------------------------------------------------------------------------------


@virtual_time
async def test_room_is_recorded_only_where_somebody_said_so_and_the_nearest_counts() -> None:
    swarm = Swarm()
    swarm.save("team", "crew", crew())
    async with swarm.open("a") as [a]:
        await a.begin(config=OF_CREW)

        async def recorded() -> bool:
            return await a.in_force.recording((await a.service.read("c")).entry.state)

        found = [await recorded()]
        swarm.save("setting", "policy", setting("policy", {"recording": True}))
        found.append(await recorded())
        swarm.save("team", "crew", crew(policy={"recording": False}))
        found.append(await recorded())
        await a.submit(PatchConfig(raw({"policy": {"recording": True}})), key="on")
        found.append(await recorded())
        await a.submit(PatchConfig(raw({"policy": {"recording": None}})), key="off")
        found.append(await recorded())

    assert found == [False, True, False, True, False]


@virtual_time
async def test_room_of_a_conversation_that_is_finished_is_not_recorded_on() -> None:
    swarm = Swarm()
    swarm.save("setting", "policy", setting("policy", {"recording": True}))
    async with swarm.open("a") as [a]:
        await a.begin()
        await a.submit(PatchConfig(raw({"policy": {"recording": True}})), key="on")
        found = []
        for action in ("pause", "complete"):
            await a.submit(ChangeStatus(action), key=action)
            found.append(await a.in_force.recording((await a.service.read("c")).entry.state))

    assert found == [True, False]
