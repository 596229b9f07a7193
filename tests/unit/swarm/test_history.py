"""The past: the same on every server, whatever snapshot there is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from src.state.errors import NotFound
from src.swarm.shapes.commands import Delete
from tests.support.clock import BEGAN, advance, virtual_time
from tests.support.rooms import SCOUT, Swarm


@virtual_time
async def test_each_number_shows_the_state_that_it_made() -> None:
    swarm = Swarm()
    async with swarm.open("a", "b") as [a, b]:
        await a.begin(SCOUT)
        seen = [(await a.service.read("c")).entry.state]
        for text in ("one", "two", "three"):
            await a.say(text)
            seen.append((await a.service.read("c")).entry.state)
        # Flushed by now: a snapshot lies beyond the points that are asked for.
        await advance(10)

        for state in seen:
            entry = await b.service.history.at("c", seq=state.version.seq)
            assert (entry.version, entry.state) == (state.version, state)


@virtual_time
async def test_time_shows_what_was_last_before_it() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await a.begin()
        for text in ("one", "two", "three"):
            await advance(60)
            await a.say(text)
        moments = [event.at for event in swarm.log()[-3:]]

        for number, at in enumerate(moments):
            exactly = await a.service.history.at("c", time=at)
            later = await a.service.history.at("c", time=at + timedelta(seconds=30))
            before = await a.service.history.at("c", time=at - timedelta(microseconds=1))
            assert len(exactly.state.messages) == len(later.state.messages) == number + 1
            assert len(before.state.messages) == number


@virtual_time
async def test_the_earlier_of_number_and_time_counts() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await a.begin()
        await advance(60)
        await a.say("one")
        await a.say("two")
        early, late = swarm.log()[1].at, swarm.log()[-1].at + timedelta(hours=1)

        assert (await a.service.history.at("c")).version.seq == 4
        assert (await a.service.history.at("c", seq=3, time=late)).version.seq == 3
        assert (await a.service.history.at("c", seq=99, time=late)).version.seq == 4
        assert (await a.service.history.at("c", seq=4, time=early)).version.seq == 2


@virtual_time
async def test_what_never_was_is_not_found() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await a.begin()
        with pytest.raises(NotFound, match="99"):
            await a.service.history.at("c", seq=99)
        with pytest.raises(NotFound, match="'c at that point'"):
            await a.service.history.at("c", time=BEGAN - timedelta(days=1))
        with pytest.raises(NotFound):
            await a.service.history.at("another")
        await a.submit(Delete(), key="delete")
        with pytest.raises(NotFound):
            await a.service.history.at("c", seq=3)


@virtual_time
async def test_page_of_events_with_a_gap_is_no_page() -> None:
    swarm = Swarm()
    async with swarm.open("a") as [a]:
        await a.begin()
        for text in ("one", "two", "three"):
            await a.say(text)
        events = swarm.cluster.database.events["events"]
        events["c"] = [*events["c"][:2], events["c"][-1]]

        with pytest.raises(NotFound):
            await a.service.events("c", after=0, limit=10)
        assert [event.version.seq for event in await a.service.events("c", after=4, limit=9)] == [5]
