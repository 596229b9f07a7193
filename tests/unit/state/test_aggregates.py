"""A server as a whole: nothing that fails behind the scenes ends it, holds it up, or lies later."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from src.state.aggregates import _weight
from src.state.errors import EventRefused, Undecodable, UnfitEvent
from src.state.models import Entry, Where
from src.state.tiers.memory_log import MemoryLog
from tests.support.clock import advance, settle, virtual_time
from tests.support.cluster import Cluster
from tests.support.kinds import NOTEBOOKS, Written, decode_event


class Saves:
    """The saves of one log: what they had, and what a test does before they are made."""

    def __init__(self, log: MemoryLog, monkeypatch: pytest.MonkeyPatch) -> None:
        self._save = log.save
        self._free = asyncio.Event()
        self.seen: list[list[str]] = []
        self.unfit: set[str] = set()
        self.release()
        monkeypatch.setattr(log, "save", self.save)

    def hold(self) -> None:
        self._free.clear()

    def release(self) -> None:
        self._free.set()

    async def save(self, entries: Sequence[Entry[Any]]) -> None:
        self.seen.append([entry.id for entry in entries])
        if self.unfit & {entry.id for entry in entries}:
            raise UnfitEvent("a value out of range")
        await self._free.wait()
        await self._save(entries)


# -- what is written behind ----------------------------------------------------------------------


@virtual_time
async def test_flush_of_everything_beside_the_loop_is_taken_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A takeover or a drain flushes what the loop is just writing an older state of."""
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        saves = Saves(a.log, monkeypatch)
        await a.write("n", "one")
        saves.hold()
        await advance(2.1)
        assert saves.seen == [["n"]]
        await a.write("n", "two")
        everything = asyncio.ensure_future(a.notebooks.writebehind.flush_all())
        await settle()
        assert saves.seen == [["n"]]
        saves.release()
        await everything
        assert saves.seen == [["n"], ["n"]]
        copy = await a.shared.get("notebook", "n")
        assert copy is not None
        assert (copy.snapshot.version.seq, copy.current) == (2, True)
        # The loop goes on.
        ack = await a.write("n", "three")
        await advance(2.1)
        assert cluster.snapshot("n") == ack.version


@virtual_time
async def test_flush_of_everything_ends_while_others_go_on_writing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        saves = Saves(a.log, monkeypatch)
        await a.write("n", "one")
        saves.hold()
        everything = asyncio.ensure_future(a.notebooks.writebehind.flush_all())
        for line in range(20):
            await a.write(f"m{line}", "of the traffic")
        saves.release()
        await everything
        assert saves.seen == [["n"]]
        assert len(a.notebooks.writebehind) == 20


@virtual_time
async def test_state_that_never_fits_does_not_end_its_server(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        saves = Saves(a.log, monkeypatch)
        saves.unfit = {"bad"}
        for id in ("good", "bad", "better"):
            await a.write(id, "one")
        await advance(6)
        assert (cluster.snapshot("bad"), len(a.notebooks.writebehind)) == (None, 0)
        assert None not in (cluster.snapshot("good"), cluster.snapshot("better"))
        saves.unfit.clear()
        await a.write("bad", "and now it does")
        await advance(6)
        snapshot = cluster.snapshot("bad")
        assert snapshot is not None
        assert snapshot.seq == 2


@virtual_time
async def test_late_flush_of_a_former_owner_is_no_answer_after_redis_was_cleared() -> None:
    """Its write failed, it was deposed meanwhile, and L2 has forgotten what is newer."""
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "one")
        a.log_link.hold()
        await advance(2.1)
        cluster.database.servers[a.id].dead = True
        await advance(2.1)
        assert a.notebooks.holdings.find("n") is None
        await b.write("n", "two")
        await advance(3)
        cluster.space.clear()
        await advance(1)
        a.log_link.up = False
        a.log_link.release()
        await settle()
        a.log_link.up = True
        await advance(6)
        async with cluster.open("c") as [c]:
            read = await c.read("n")
    assert (read.entry.state.lines, read.stale_s) == (("one", "two"), None)


# -- what dead servers left ----------------------------------------------------------------------


@virtual_time
async def test_history_that_cannot_be_read_keeps_no_other_an_orphan() -> None:
    """A newer release logged it and died; the survivor is of an older one."""

    def older(type: str, schema: int, body: bytes) -> Written:
        if b"of a newer release" in body:
            raise Undecodable("event", "of a newer release")
        return decode_event(type, schema, body)

    cluster = Cluster()
    async with cluster.open("b", kind=replace(NOTEBOOKS, decode_event=older)) as [b]:
        a = cluster.server("a", offset_s=50.0)
        async with a.running():
            await a.write("l", "of a newer release")
            await a.write("m", "plain")
            await a.write("n", "of a newer release")
            a.freeze()
            await advance(12)
            assert b.notebooks.holdings.ids() == ["m"]
            assert b.notebooks.takeover.taken == 1
            assert cluster.snapshot("m") is not None
            assert (await b.write("other", "still taken")).version.seq == 1
            a.thaw()


@virtual_time
async def test_takeover_that_could_not_read_what_it_took_reads_it_later() -> None:
    """Its row names the new owner already, so nobody would find an orphan in it any more."""
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        for id in ("l", "m", "n"):
            await a.write(id, "one")
        a.freeze()
        b.read_link.up = False
        await advance(12)
        assert len(b.notebooks.holdings) == 0
        b.read_link.up = True
        await advance(2)
        assert sorted(b.notebooks.holdings.ids()) == ["l", "m", "n"]
        await advance(3)
        assert None not in [cluster.snapshot(id) for id in ("l", "m", "n")]
        a.thaw()


# -- what an owner answers -----------------------------------------------------------------------


@virtual_time
async def test_owner_answers_with_what_it_holds_when_that_is_the_very_version_asked_for() -> None:
    async with Cluster().open("a") as [a]:
        ack = await a.write("n", "one")
        assert (await a.read("n", at_least=ack.version)).where is Where.OWNER


@virtual_time
async def test_slowed_writer_waits_for_the_flush_no_longer_than_for_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with Cluster(amber_bytes=1024).open("a") as [a]:
        saves = Saves(a.log, monkeypatch)
        saves.hold()
        began = a.clock.monotonic()
        ack = await a.write("n", "x" * 2000)
        assert ack.version.seq == 1
        waited_s = a.clock.monotonic() - began
        assert waited_s == pytest.approx(a.notebooks._submit_timeout_s)
        saves.release()


@virtual_time
async def test_what_is_held_no_more_has_nothing_buffered_to_log() -> None:
    async with Cluster().open("a") as [a]:
        await a.write("n", "one")
        trips = a.log_link.trips
        await a.notebooks._log_buffered(["never held", "n"])
        assert a.log_link.trips == trips


@pytest.mark.parametrize("line", ["\ud800", object()])
@virtual_time
async def test_command_that_no_json_can_be_made_of_is_refused_and_weighs_nothing(
    line: Any,
) -> None:
    async with Cluster().open("a") as [a]:
        await a.write("n", "one")
        await a.notebooks.writebehind.flush_all()
        with pytest.raises(EventRefused):
            await a.write("n", line, key="k")
        assert a.notebooks.pressure.held == 0
    assert _weight(object()) == _weight("\ud800") == 0
    assert _weight("four") == len('"four"')


@virtual_time
async def test_owner_whose_append_is_answered_late_goes_not_back_behind_what_it_showed() -> None:
    async with Cluster().open("a") as [a]:
        await a.write("n", "one")
        a.log_link.hold_answers()
        a.beat_link.hold()
        writing = asyncio.ensure_future(a.write("n", "two"))
        await settle()
        # Past its deadline it reads the log, which has what nobody has told it is there.
        a.owned_lease.until = float("-inf")
        shown = (await a.read("n")).entry.version
        assert shown.seq == 2
        a.owned_lease.until = float("inf")
        assert (await a.read("n")).entry.version == shown
        a.log_link.release()
        assert (await writing).version == shown
        read = await a.read("n")
        assert (read.where, read.entry.version) == (Where.OWNER, shown)
        a.beat_link.release()
