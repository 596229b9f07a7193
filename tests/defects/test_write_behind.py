"""Write-behind: what a buffer in front of a database gets wrong when nobody looks."""

import asyncio

import pytest
from msgspec import Raw

from src.state.errors import NotFound
from src.swarm.shapes.commands import (
    AddParticipant,
    ChangeStatus,
    NewParticipant,
    SetTeam,
    SetTools,
)
from src.swarm.shapes.models import TeamRef, Tool
from src.swarm.shapes.work import Assignment, EditBlackboard
from tests.support.clock import advance, settle, virtual_time
from tests.support.cluster import Cluster
from tests.support.kinds import Write
from tests.support.rooms import SCOUT, Swarm


@virtual_time
async def test_01_what_was_written_once_is_flushed_once() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        await advance(600)
        assert (a.notebooks.writebehind.snapshots, len(a.notebooks.writebehind)) == (1, 0)


@virtual_time
async def test_02_what_is_written_during_a_slow_flush_is_flushed_after_it() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await a.write("n", "one")
        a.log_link.delay_s = 4.0
        await advance(4)
        late = asyncio.create_task(a.write("n", "two"))
        await advance(30)
        a.log_link.delay_s = 0.0
        await late
        await a.notebooks.drain()
        assert cluster.snapshot("n") == (await late).version


@virtual_time
async def test_03_writes_that_never_pause_do_not_starve_the_flush() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        for number in range(400):
            await a.write("n", f"line {number}")
            await advance(0.05)
        # Twenty seconds of writing, and a flush at least every five.
        assert a.notebooks.writebehind.snapshots >= 3


@virtual_time
async def test_04_a_change_that_lands_during_the_write_is_still_dirty() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        first = await a.write("n", "one")
        a.log_link.hold_answers()
        await advance(3)
        assert cluster.snapshot("n") == first.version, "the flush is under way"
        second = asyncio.create_task(a.write("n", "two"))
        await settle()
        a.log_link.release()
        version = (await second).version
        assert len(a.notebooks.writebehind) == 1
        await advance(10)
        assert cluster.snapshot("n") == version


@virtual_time
async def test_05_a_deletion_survives_the_flush() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT)
        await a.submit(
            EditBlackboard(set=(Assignment("kept", Raw(b"[1,2]")), Assignment("gone", Raw(b"1")))),
            key="set",
        )
        await a.submit(EditBlackboard(delete=("gone",)), key="delete")
        await a.state.notebooks.drain()
    async with swarm.open("b") as servers:
        read = await servers[-1].service.read("c")
        assert [(item.id, bytes(item.value)) for item in read.entry.state.blackboard] == [
            ("kept", b"[1,2]")
        ]


@virtual_time
async def test_06_everything_is_persisted_and_not_the_config_alone() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await a.begin(SCOUT)
        await a.submit(AddParticipant(NewParticipant("ben", "person", "Ben")), key="ben")
        await a.submit(SetTools((Tool("look_up", "Looks up."),)), key="tools")
        await a.submit(SetTeam(TeamRef("crew", "Crew", 1)), key="team")
        await a.submit(ChangeStatus("pause"), key="pause")
        await a.state.notebooks.drain()
        before = (await a.service.read("c")).entry
    async with swarm.open("b") as servers:
        state = (await servers[-1].service.read("c")).entry.state
        assert state == before.state
    assert [member.id for member in state.participants] == ["ada", "scout", "ben"]
    assert [tool.name for tool in state.available_tools] == ["look_up"]
    assert (state.team and state.team.id, state.status) == ("crew", "paused")


@virtual_time
async def test_07_what_was_flushed_is_let_go_and_answers_for_nothing() -> None:
    cluster = Cluster(l1_entries=10, idle_release=30)
    async with cluster.open("a") as [a]:
        for number in range(200):
            await a.write(f"n{number}", "one")
        await advance(200)
        assert (len(a.notebooks.writebehind), len(a.notebooks.holdings)) == (0, 0)
        assert a.store.counts()["l1_entries"] <= 10
        b = cluster.server("b", offset_s=10.0)
        async with b.running():
            await b.write("n7", "two")
            await advance(0.1)
            assert await a.lines("n7") == ("one", "two")


@virtual_time
async def test_08_what_was_acknowledged_survives_a_crash_before_any_flush() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one", "two")
        a.freeze()
        assert cluster.snapshot("n") is None
        await advance(12)
        assert await b.lines("n") == ("one", "two")
        await b.write("n", "three")
        assert cluster.texts("n") == ["one", "two", "three"]
        a.thaw()


@virtual_time
async def test_08_a_shutdown_flushes_and_does_not_wait_for_timers() -> None:
    cluster = Cluster(flush_debounce=3600, flush_max_wait=7200)
    async with cluster.open("a") as [a]:
        ack = await a.write("n", "one")
        await a.notebooks.drain()
        assert cluster.snapshot("n") == ack.version


@virtual_time
async def test_09_a_write_to_an_unknown_id_creates_nothing() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        with pytest.raises(NotFound):
            await a.notebooks.submit("nowhere", Write(("one",)), key="k", actor="ada")
        await advance(10)
        assert cluster.snapshot("nowhere") is None
        assert "nowhere" not in cluster.database.events["events"]
