"""The running swarm's state: one truth, exact, and never lost between two places."""

import asyncio
import contextlib
import math

import msgspec
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from msgspec import Raw

from src.state.errors import Refused, VersionConflict
from src.swarm.providers import Text, ToolCall
from src.swarm.rules.conversations import CONVERSATIONS
from src.swarm.shapes.commands import (
    AddParticipant,
    ChangeStatus,
    Command,
    CountUsage,
    Create,
    NewParticipant,
    PassBaton,
    PatchConfig,
    PostMessage,
    RemoveParticipant,
    ReportConfigVersion,
    SetTeam,
    SetTools,
    Speaker,
    UpdateParticipant,
)
from src.swarm.shapes.limits import CAPS, Limits, effective
from src.swarm.shapes.models import TeamRef, Tool
from src.swarm.shapes.work import Assignment, EditBlackboard, RequestToolCall, SetSubtask
from tests.support.clock import advance, virtual_time
from tests.support.cluster import Cluster
from tests.support.rooms import ADA, SCOUT, TUTOR, Swarm, Voice
from tests.unit.swarm.commanding import COMMANDS
from tests.unit.swarm.given import Story

_A_DAY = 86_400


@virtual_time
async def test_15_what_nobody_reads_for_a_day_is_still_there() -> None:
    cluster = Cluster(l1_entries=1)
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await advance(_A_DAY)
        cluster.space.clear()
        await a.write("other", "x")
        assert await a.lines("n") == ("one",)


@virtual_time
async def test_16_reading_writes_nothing() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        await advance(10)
        await b.read("n")
        await advance(1)
        before = (cluster.logged("n"), cluster.snapshot("n"), b.shared_link.trips)
        for _ in range(100):
            await b.read("n")
        await advance(10)
        assert (cluster.logged("n"), cluster.snapshot("n"), b.shared_link.trips) == before


@virtual_time
async def test_17_of_a_hundred_writers_on_one_version_one_wins() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        one = (await a.write("n", "one")).version
        outcomes = await asyncio.gather(
            *(a.write("n", f"writer {number}", if_version=one) for number in range(100)),
            return_exceptions=True,
        )
    won = [outcome for outcome in outcomes if not isinstance(outcome, VersionConflict)]
    assert (len(won), len(cluster.logged("n"))) == (1, 2)


@hypothesis_settings(max_examples=50, deadline=None)
@given(st.lists(COMMANDS, max_size=12))
def test_18_a_state_comes_back_from_its_bytes_with_every_type(commands: list[Command]) -> None:
    story = Story()
    for command in commands:
        with contextlib.suppress(Refused):
            story.tell(command)
    body = CONVERSATIONS.encode_state(story.state)
    again = CONVERSATIONS.decode_state(body)
    assert again == story.state
    assert again.created_at.tzinfo is not None
    assert CONVERSATIONS.encode_state(again) == body


@virtual_time
async def test_19_every_change_of_whatever_part_is_announced() -> None:
    swarm = Swarm()
    heard: list[str] = []
    async with swarm.open("a", "b") as [a, b]:
        # Ready and not running, so that no bot adds turns of its own.
        new = Create("c", participants=(ADA, SCOUT, TUTOR))
        await a.submit(new, key="create", create=True)
        b.state.store.listeners.append(lambda _, version: heard.append(version.token))
        for number, command in enumerate(_ONE_OF_EACH):
            before = len(heard)
            receipt = await a.submit(command, key=f"change {number}")
            await advance(0.01)
            assert heard[before:] == [receipt.version.token], command


_ONE_OF_EACH: tuple[Command, ...] = (
    PostMessage(Speaker("person", "ada"), "Hello."),
    PatchConfig(Raw(b'{"goal":"a map"}')),
    SetTeam(TeamRef("crew", "Crew", 1)),
    SetTools((Tool("look_up", "Looks up."),)),
    AddParticipant(NewParticipant("ben", "person", "Ben")),
    UpdateParticipant("ben", name="Benedict"),
    PassBaton("tutor"),
    EditBlackboard(set=(Assignment("north", Raw(b'"up"')),)),
    SetSubtask("map", "Draw the map."),
    RequestToolCall("look_up", "scout", id="call"),
    ReportConfigVersion("scout", 3),
    RemoveParticipant("ben"),
    ChangeStatus("pause"),
)


def test_20_sums_are_exact_and_no_limit_is_not_a_number() -> None:
    story = Story()
    # Beyond what a double counts by ones.
    for _ in range(9_100):
        story.tell(CountUsage(credits=10**12, bot="scout"))
    story.tell(CountUsage(credits=1, bot="scout"))
    assert story.state.stats.credits == 9_100 * 10**12 + 1 > 2**53
    assert effective(Limits(), Limits(credits=CAPS.credits * 10)).credits == CAPS.credits
    assert not any(math.isnan(limit) for limit in msgspec.structs.astuple(effective(Limits())))


@virtual_time
async def test_21_what_a_bot_changes_with_its_tools_is_in_the_log_and_in_the_state() -> None:
    swarm = Swarm()
    swarm.edit("scout", "test/voice")
    voice = Voice(
        ToolCall("subtask_set", Raw(b'{"id":"map","description":"Draw the map."}')),
        ToolCall("blackboard_set", Raw(b'{"id":"north","value":"up"}')),
        Text("Done."),
    )
    async with swarm.open("a", "b", voice=voice) as [a, b]:
        await a.begin(SCOUT)
        await a.say("go")
        await advance(1)
        state = (await b.service.read("c")).entry.state
    assert [task.id for task in state.subtasks] == ["map"]
    assert [(item.id, bytes(item.value)) for item in state.blackboard] == [("north", b'"up"')]


@virtual_time
async def test_22_the_baton_survives_persistence() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT, TUTOR)
        await a.submit(PassBaton("tutor"), key="pass")
        await a.state.notebooks.drain()
    swarm.cluster.space.clear()
    async with swarm.open("b") as servers:
        state = (await servers[-1].service.read("c")).entry.state
        assert state.baton is not None
        assert state.baton.holder == "tutor"
