"""Who lives: beats counted, silence watched on one's own clock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from src.state.guards import Guards
from src.state.models import Peer, Places
from src.state.ownership.membership import Membership
from src.state.protocols import Pulled
from tests.support.clock import advance, jump, virtual_time
from tests.support.cluster import Cluster, Server


@asynccontextmanager
async def beating(server: Server) -> AsyncIterator[Membership]:
    """A membership alone, joined and beating."""
    membership = server.membership
    await membership.join()
    task = asyncio.ensure_future(membership.beat_for_ever())
    try:
        yield membership
    finally:
        task.cancel()


@virtual_time
async def test_lease_runs_from_the_sending_of_the_last_good_beat() -> None:
    server = Cluster().server()
    server.beat_link.delay_s = 1.0
    sent = server.clock.monotonic()
    await server.membership.join()
    assert server.owned_lease.until == sent + 5


@virtual_time
async def test_lease_is_renewed_while_beats_are_answered() -> None:
    server = Cluster().server()
    async with beating(server):
        for _ in range(20):
            await advance(1)
            assert server.clock.monotonic() < server.owned_lease.until


@virtual_time
async def test_lease_ends_when_beats_are_not_answered_and_comes_back_with_them() -> None:
    server = Cluster(dead_after=60).server()
    async with beating(server) as membership:
        before = membership.id
        await advance(2.5)
        server.beat_link.up = False
        await advance(5)
        assert server.clock.monotonic() >= server.owned_lease.until
        server.beat_link.up = True
        await advance(2.1)
        assert server.clock.monotonic() < server.owned_lease.until
        assert membership.id == before


@virtual_time
async def test_deposed_server_drops_all_and_goes_on_under_a_new_id() -> None:
    cluster = Cluster()
    server = cluster.server()
    seen: list[tuple[str, float]] = []

    async def deposed() -> None:
        seen.append((server.membership.id, server.owned_lease.until))

    server.membership.on_deposed = deposed
    async with beating(server) as membership:
        old = membership.id
        cluster.database.servers[old].dead = True
        await advance(2.5)
        assert seen == [(membership.id, float("-inf"))]
        assert membership.id != old
        assert server.clock.monotonic() < server.owned_lease.until
        assert not cluster.database.servers[membership.id].dead


@virtual_time
async def test_deposed_server_that_cannot_join_owns_nothing_until_it_can() -> None:
    cluster = Cluster()
    server = cluster.server()
    async with beating(server) as membership:

        async def cut_the_link() -> None:
            server.beat_link.up = False

        membership.on_deposed = cut_the_link
        cluster.database.servers[membership.id].dead = True
        await advance(10)
        assert server.clock.monotonic() >= server.owned_lease.until
        server.beat_link.up = True
        membership.on_deposed = None
        await advance(2.5)
        assert server.clock.monotonic() < server.owned_lease.until
        assert membership.id in cluster.database.servers


@virtual_time
async def test_switched_off_deadline_never_lets_go() -> None:
    server = Cluster().server(guards=Guards(deadline=False))
    await server.membership.join()
    jump(1000)
    assert server.clock.monotonic() < server.owned_lease.until


@virtual_time
async def test_beats_come_every_interval_and_after_a_lost_one_as_often_as_pulls() -> None:
    server = Cluster().server()
    async with beating(server):
        await advance(20.1)
        assert server.beat_link.trips == 1 + 10
        server.beat_link.lost_answers = 1
        await advance(2.5)
        assert server.beat_link.trips == 1 + 10 + 2
        await advance(2)
        assert server.beat_link.trips == 1 + 10 + 3


@virtual_time
async def test_outage_is_told_once() -> None:
    server = Cluster().server()
    async with beating(server):
        with capture_logs() as logs:
            await advance(5)
            server.beat_link.up = False
            await advance(30)
    assert [line["event"] for line in logs].count("beat.unanswered") == 1


@virtual_time
async def test_beat_under_way_while_a_server_leaves_does_not_bring_it_back() -> None:
    cluster = Cluster()
    server = cluster.server()
    async with beating(server) as membership:
        before = membership.id
        server.beat_link.hold()
        await advance(2.5)
        leaving = asyncio.ensure_future(membership.leave())
        await advance(0.1)
        cluster.database.servers[before].dead = True
        server.beat_link.release()
        await leaving
        await advance(5)
        assert (membership.id, list(cluster.database.servers)) == (before, [before])


# -- places --------------------------------------------------------------------------------------


@virtual_time
async def test_places_are_told_with_each_beat_and_at_once_when_they_change() -> None:
    cluster = Cluster()
    server = cluster.server()
    async with beating(server) as membership:
        row = cluster.database.servers[membership.id]
        membership.places = lambda: Places(10, 1)
        await advance(2.1)
        with_the_beat = row.places
        membership.places = lambda: Places(10, 2)
        await membership.tell()
        at_once = row.places

    assert (with_the_beat, at_once) == (Places(10, 1), Places(10, 2))


@virtual_time
async def test_places_that_cannot_be_told_now_are_told_with_the_next_beat() -> None:
    cluster = Cluster()
    server = cluster.server()
    async with beating(server) as membership:
        row = cluster.database.servers[membership.id]
        membership.places = lambda: Places(10, 2)
        server.beat_link.up = False
        await membership.tell()
        unheard = row.places
        server.beat_link.up = True
        await advance(2.1)

    assert (unheard, row.places) == (Places(), Places(10, 2))


@virtual_time
async def test_server_that_tells_its_places_while_it_beats_is_deposed_once() -> None:
    cluster = Cluster()
    server = cluster.server()
    async with beating(server) as membership:
        cluster.database.servers[membership.id].dead = True
        server.beat_link.delay_s = 0.1
        await asyncio.gather(membership.tell(), membership.tell())

    assert len(cluster.database.servers) == 2


@virtual_time
async def test_silence_of_a_server_is_counted_from_its_last_beat() -> None:
    async with Watch() as it:
        await it.pull(3.0)
        [other] = [one for one in it.membership.peers.values() if one.id == "other"]
        silent = it.membership.silent_s(other)
        await it.server.registry.beat("other")
        await it.pull(0.5)

    assert (silent, it.membership.silent_s(other)) == (2.5, 0.0)


# -- watching ------------------------------------------------------------------------------------


class Watch:
    """A server that watches another, pull by pull."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.server = self.cluster.server("watcher")
        self.membership = self.server.membership
        self.deaths: list[str] = []
        self.membership.on_death.append(self.deaths.append)
        self.beat = 1

    async def __aenter__(self) -> "Watch":
        await self.server.registry.register("other", "http://other")
        await self.server.registry.beat("other")
        return self

    async def __aexit__(self, *_: object) -> None:
        return

    async def pull(self, seconds: float, *, every_s: float = 0.5) -> None:
        for _ in range(int(seconds / every_s)):
            await advance(every_s)
            await self.membership.watch(await self.server.registry.pull(0))

    @property
    def dead(self) -> bool:
        return self.cluster.database.servers["other"].dead


@virtual_time
async def test_silent_server_is_declared_dead_after_six_seconds() -> None:
    async with Watch() as it:
        await it.pull(6.0)
        assert not it.dead
        await it.pull(1.0)
        assert (it.dead, it.deaths) == (True, ["other"])
        assert it.membership.url_of("other") is None


@virtual_time
async def test_moving_beat_starts_the_count_anew() -> None:
    async with Watch() as it:
        for _ in range(5):
            await it.pull(5.5)
            await it.server.registry.beat("other")
        assert not it.dead
        assert it.membership.url_of("other") == "http://other"


@virtual_time
async def test_branch_of_the_log_is_unknown_until_the_first_pull() -> None:
    async with Watch() as it:
        it.cluster.database.timeline = 7
        assert it.membership.timeline == 0
        await it.pull(0.5)
        assert it.membership.timeline == 7


@virtual_time
async def test_failed_pull_starts_the_count_anew() -> None:
    async with Watch() as it:
        await it.pull(5.5)
        it.membership.note_failed_pull()
        await it.pull(6.0)
        assert not it.dead
        await it.pull(1.0)
        assert it.dead


@virtual_time
async def test_watcher_that_was_blocked_itself_starts_the_count_anew() -> None:
    async with Watch() as it:
        await it.pull(2)
        jump(60)
        await it.pull(6.0)
        assert not it.dead


@pytest.mark.parametrize(("gap_s", "dead"), [(2.9, True), (3.2, False)])
@virtual_time
async def test_pull_that_is_late_by_more_than_three_seconds_counts_as_blocked(
    gap_s: float, dead: bool
) -> None:
    async with Watch() as it:
        await it.pull(12 * gap_s, every_s=gap_s)
        assert it.dead is dead


@virtual_time
async def test_log_says_for_how_long_a_dead_server_was_silent() -> None:
    async with Watch() as it:
        with capture_logs() as logs:
            await it.pull(7)
        (said,) = (line for line in logs if line["event"] == "server.declared_dead")
        assert said["silent_s"] == 6.0


@virtual_time
async def test_beat_in_the_last_moment_saves() -> None:
    """It is compared once more in the statement that declares."""
    async with Watch() as it:
        await it.pull(6.0)
        seen = await it.server.registry.pull(0)
        await it.server.registry.beat("other")
        await advance(0.5)
        await it.membership.watch(seen)
        assert (it.dead, it.deaths) == (False, [])


@virtual_time
async def test_death_found_by_somebody_else_is_told_once() -> None:
    async with Watch() as it:
        await it.pull(1)
        it.cluster.database.servers["other"].dead = True
        await it.pull(5)
        assert it.deaths == ["other"]


@virtual_time
async def test_no_server_declares_itself_dead() -> None:
    async with Watch() as it:
        await it.membership.join()
        await it.pull(20)
        assert not it.cluster.database.servers[it.membership.id].dead


@virtual_time
async def test_silence_of_a_dead_server_goes_on_until_somebody_makes_good_for_it() -> None:
    async with Watch() as it:
        peers = (
            Peer("told", "", 1, True, False),
            Peer("silent", "", 1, False, False),
            Peer("gone", "", 1, False, True),
        )
        await it.membership.watch(Pulled(peers, (), 0, 1))
        assert it.membership.silent() == ("silent", "gone")
        assert it.membership.died_silent() == ("gone",)


@virtual_time
async def test_who_leaves_owns_nothing_and_nobody_waits_for_its_silence() -> None:
    cluster = Cluster()
    server = cluster.server()
    await server.membership.join()
    await server.membership.leave()
    assert server.clock.monotonic() >= server.owned_lease.until
    assert cluster.database.servers[server.id].dead


@pytest.mark.parametrize("paused_s", [5.1, 8.0, 60.0])
@virtual_time
async def test_owner_stops_before_anybody_may_replace_it(paused_s: float) -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await advance(3)
        a.freeze()
        for _ in range(int(paused_s * 10)):
            await advance(0.1)
            if cluster.database.servers[a.id].dead:
                assert a.clock.monotonic() >= a.owned_lease.until
        a.thaw()
        await advance(3)
        assert a.clock.monotonic() < a.owned_lease.until
        assert b.clock.monotonic() < b.owned_lease.until
