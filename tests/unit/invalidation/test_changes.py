"""Following changes: all that is wanted, once, in order, from any place on."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.invalidation.changes import ChangeFeed, Follower, Reset, Wanted
from src.state.errors import DurableTierUnavailable
from src.state.models import Change, Version
from src.state.protocols import Pulled
from src.state.records import revocations
from src.state.records.outbox import Page
from tests.support.clock import BEGAN, VirtualLoop, advance, settle, virtual_time

ALL = Wanted()


def change(position: int, kind: str = "bot", id: str = "ada") -> Change:
    return Change(position, kind, id, position, BEGAN)


class Table:
    """An outbox in memory, and the feed of one server that pulls it when told."""

    def __init__(self, *positions: int, heard: int = 0) -> None:
        self.rows = [change(position) for position in positions]
        self.removed = 0
        self.reads = 0
        self.timeline = 1
        self.away = False
        self.pulled = heard
        self.feed = ChangeFeed(self, lambda: self.timeline, heard)
        self.pull()

    @property
    def newest(self) -> int:
        return self.rows[-1].position if self.rows else 0

    async def after(self, position: int, limit: int) -> Page:
        self.reads += 1
        await asyncio.sleep(0)
        if self.away:
            raise DurableTierUnavailable("away")
        rows = tuple(row for row in self.rows if row.position > position)[:limit]
        oldest = self.rows[0].position if self.rows else None
        missing = self.newest < position or (oldest is not None and oldest - 1 > position)
        return Page(() if missing else rows, self.newest, missing)

    def commit(self, *changes: Change) -> None:
        self.rows += changes

    def pull(self) -> None:
        new = tuple(row for row in self.rows if row.position > self.pulled)[:1000]
        self.pulled = new[-1].position if new else min(self.pulled, self.newest)
        self.feed.pulled(Pulled((), new, self.pulled, self.timeline))

    def prune(self, below: int) -> None:
        self.rows = [row for row in self.rows if row.position >= below]

    def follow(self, after: int | None = None, wanted: Wanted = ALL) -> Follower:
        place = None if after is None else Version(self.timeline, after)
        return self.feed.follower(place, wanted)


async def take(events: AsyncIterator[Any], count: int) -> list[Any]:
    async with asyncio.timeout(60):
        return [await anext(events) for _ in range(count)]


def positions(changes: Sequence[Any]) -> list[int]:
    return [one.position for one in changes]


@virtual_time
async def test_what_a_pull_brings_costs_no_read_of_its_own() -> None:
    table = Table(1, 2, 3, heard=3)
    for _ in range(3):
        follower = table.follow()
        with table.feed.following(follower):
            async with aclosing(follower.events()) as events:
                first = asyncio.ensure_future(anext(events))
                await settle()
                assert not first.done()
                table.commit(change(table.newest + 1))
                table.pull()
                assert (await first).position == table.newest
    assert table.reads == 0


@virtual_time
async def test_first_pull_is_no_failover_whatever_the_timeline() -> None:
    feed = ChangeFeed(Table(), lambda: 3, 0)
    feed.pulled(Pulled((), (change(1), change(2)), 2, 3))
    assert feed.buffers()["changes"].size == 2
    assert feed.place == Version(3, 2)


@virtual_time
async def test_place_before_what_is_held_is_read_from_the_table_page_by_page() -> None:
    table = Table(*range(1, 2501), heard=2500)
    follower = table.follow(0)
    async with aclosing(follower.events()) as events:
        assert positions(await take(events, 2500)) == list(range(1, 2501))
    assert table.reads == 13


@virtual_time
async def test_held_changes_are_bounded() -> None:
    table = Table()
    for start in range(1, 3001, 500):
        table.commit(*(change(n) for n in range(start, start + 500)))
        table.pull()
    (held,) = table.feed.buffers().values()
    assert (held.size, held.bound) == (1000, 1000)
    async with aclosing(table.follow(1999).events()) as events:
        assert positions(await take(events, 1001)) == list(range(2000, 3001))
    assert table.reads == 1


@virtual_time
async def test_filter_leaves_out_and_the_place_moves_on_all_the_same() -> None:
    table = Table()
    table.commit(change(1), change(2, "team"), change(3, "team", "crew"), change(4))
    table.pull()
    follower = table.follow(0, Wanted(frozenset(("team",)), frozenset(("ada", "bea"))))
    async with aclosing(follower.events()) as events:
        assert positions(await take(events, 1)) == [2]
        rest = asyncio.ensure_future(anext(events))
        await settle()
        assert not rest.done()
        assert follower.place == Version(1, 4)
        rest.cancel()
        await asyncio.wait((rest,))


@virtual_time
async def test_place_that_retention_removed_is_told_at_once() -> None:
    table = Table(*range(1, 2001), heard=2000)
    table.prune(below=1500)
    follower = table.follow(10)
    with table.feed.following(follower):
        async with aclosing(follower.events()) as events:
            assert await take(events, 1) == [Reset(2000)]
            assert follower.place == Version(1, 2000)
            table.commit(change(2001))
            table.pull()
            assert positions(await take(events, 1)) == [2001]


@virtual_time
async def test_place_right_before_the_oldest_that_is_kept_has_missed_nothing() -> None:
    table = Table(*range(1, 2001), heard=2000)
    table.prune(below=900)
    async with aclosing(table.follow(899).events()) as events:
        assert positions(await take(events, 3)) == [900, 901, 902]
    async with aclosing(table.follow(898).events()) as events:
        assert await take(events, 1) == [Reset(2000)]


@virtual_time
async def test_follower_that_is_overtaken_by_retention_is_told() -> None:
    table = Table(*range(1, 2501), heard=2500)
    async with aclosing(table.follow(0).events()) as events:
        assert positions(await take(events, 200)) == list(range(1, 201))
        table.prune(below=1000)
        assert await take(events, 1) == [Reset(2500)]


@virtual_time
async def test_place_ahead_of_this_servers_pull_waits_for_what_follows() -> None:
    table = Table(1, 2, heard=2)
    table.commit(change(3))
    follower = table.follow(3)
    with table.feed.following(follower):
        async with aclosing(follower.events()) as events:
            upcoming = asyncio.ensure_future(anext(events))
            await settle()
            assert not upcoming.done()
            table.pull()
            table.commit(change(4))
            table.pull()
            assert await upcoming == change(4)


@virtual_time
async def test_place_of_another_database_is_told() -> None:
    table = Table(1, 2, heard=2)
    async with aclosing(table.follow(77).events()) as events:
        assert await take(events, 1) == [Reset(2)]
    elsewhere = table.feed.follower(Version(9, 2), ALL)
    async with aclosing(elsewhere.events()) as events:
        assert await take(events, 1) == [Reset(2)]
        assert elsewhere.place == Version(1, 2)


@virtual_time
async def test_failover_ends_every_follower() -> None:
    table = Table(1, 2, heard=2)
    follower = table.follow()
    with table.feed.following(follower):
        async with aclosing(follower.events()) as events:
            upcoming = asyncio.ensure_future(anext(events, None))
            await settle()
            table.timeline = 2
            table.pull()
            assert await upcoming is None
    async with aclosing(table.feed.follower(follower.place, ALL).events()) as events:
        assert await take(events, 1) == [Reset(2)]


@virtual_time
async def test_while_the_table_is_away_a_follower_waits() -> None:
    table = Table(1, 2, 3, heard=3)
    table.away = True
    async with aclosing(table.follow(0).events()) as events:
        upcoming = asyncio.ensure_future(anext(events))
        await advance(10)
        assert not upcoming.done()
        table.away = False
        assert (await upcoming).position == 1


@given(
    commits=st.lists(st.integers(0, 3), min_size=1, max_size=30),
    breaks=st.sets(st.integers(0, 29)),
    lag=st.integers(1, 4),
)
def test_who_goes_away_and_comes_back_misses_nothing_and_sees_nothing_twice(
    commits: list[int], breaks: set[int], lag: int
) -> None:
    """Two servers pull the same table at their own pace; the reader moves between them."""

    async def run() -> None:
        table = Table()
        other = Table()
        other.rows = table.rows
        seen: list[int] = []
        place = Version(1, 0)

        async def read(server: Table) -> None:
            nonlocal place
            follower = server.feed.follower(place, ALL)
            with server.feed.following(follower):
                async for event in follower.events():
                    assert isinstance(event, Change)
                    seen.append(event.position)
                    place = follower.place

        servers = [table, other]
        reading = asyncio.ensure_future(read(servers[0]))
        for step, count in enumerate(commits):
            for _ in range(count):
                table.rows.append(change(len(table.rows) + 1))
            servers[0].pull()
            if step % lag == 0:
                servers[1].pull()
            await settle(10)
            if step in breaks:
                reading.cancel()
                await asyncio.wait((reading,))
                servers.reverse()
                reading = asyncio.ensure_future(read(servers[0]))
        await settle(10)
        servers[0].pull()
        await settle(10)
        reading.cancel()
        await asyncio.wait((reading,))
        assert seen == [row.position for row in table.rows]

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(run())


def test_nobody_outside_hears_who_was_logged_out() -> None:
    assert not any(Wanted().has(change(1, kind)) for kind in revocations.KINDS)


@pytest.mark.parametrize(
    ("wanted", "has"),
    [
        (Wanted(), True),
        (Wanted(frozenset(("bot",))), True),
        (Wanted(frozenset(("team",))), False),
        (Wanted(ids=frozenset(("ada", "bea"))), True),
        (Wanted(frozenset(("bot",)), frozenset(("bea",))), False),
    ],
)
def test_what_is_wanted_is_of_a_kind_and_of_an_id(wanted: Wanted, has: bool) -> None:
    assert wanted.has(change(1)) is has
