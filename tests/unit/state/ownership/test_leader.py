"""Work that one server does for all: by one at a time, by somebody always."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from structlog.testing import capture_logs

from src.state.errors import StateError
from src.state.models import Term
from src.state.ownership.leader import Duty, Leader
from src.state.tiers.memory_duties import MemoryDuties
from tests.support.clock import advance, settle, virtual_time
from tests.support.cluster import Cluster, Server


class Work:
    """A duty that takes its time, and remembers who did it when."""

    def __init__(self, name: str = "sweep", *, takes_s: float = 0.0, every_s: float = 10.0) -> None:
        self.name, self.takes_s, self.every_s = name, takes_s, every_s
        self.done: list[str] = []
        self.cut: list[str] = []
        self.terms: set[Term] = set()
        self.error: Exception | None = None

    def of(self, server: Server) -> Duty:
        async def run(term: Term) -> None:
            self.terms.add(term)
            try:
                await asyncio.sleep(self.takes_s)
            except asyncio.CancelledError:
                self.cut.append(server.id)
                raise
            if self.error is not None:
                raise self.error
            self.done.append(server.id)

        return Duty(self.name, timedelta(seconds=self.every_s), run)


@asynccontextmanager
async def leading(
    cluster: Cluster, servers: list[Server], *works: Work
) -> AsyncIterator[list[Leader]]:
    async with AsyncExitStack() as stack:
        leaders = []
        for server in servers:
            duties = MemoryDuties(cluster.database, trip=server.owner_link.trip)
            leader = Leader(duties, server.membership, server.owned_lease, server.clock)
            for work in works:
                leader.add(work.of(server))
            await stack.enter_async_context(leader.running())
            leaders.append(leader)
        yield leaders


@virtual_time
async def test_one_of_many_servers_does_it_again_and_again() -> None:
    cluster, work = Cluster(), Work()
    async with (
        cluster.open("a", "b", "c") as servers,
        leading(cluster, servers, work) as leaders,
    ):
        await advance(35)
        assert work.done == [work.done[0]] * 4
        assert sorted(len(leader) for leader in leaders) == [0, 0, 1]
        assert len(work.terms) == 1
        counts = sorted((leader.counts() for leader in leaders), key=lambda one: one["duties"])
        assert counts[-1] == {"duties": 1, "duty_runs": 4}
        assert counts[0] == {"duties": 0, "duty_runs": 0}


@virtual_time
async def test_run_that_takes_long_holds_up_no_other_duty() -> None:
    cluster, slow, quick = Cluster(), Work("slow", takes_s=1000), Work("quick", every_s=1)
    async with cluster.open("a") as servers, leading(cluster, servers, slow, quick):
        await advance(10.5)
        assert (len(slow.done), len(quick.done)) == (0, 10)


@virtual_time
async def test_duty_of_a_server_that_leaves_is_taken_at_once() -> None:
    cluster, work = Cluster(), Work(every_s=1)
    async with cluster.open("a", "b") as [a, b], leading(cluster, [b], work):
        await advance(5)
        taken = work.done[-1]
        assert taken == b.id
        async with leading(cluster, [a], work):
            await b.membership.leave()
            await advance(2.5)
            assert work.done[-1] == a.id


@virtual_time
async def test_duty_of_a_dead_server_is_taken_with_a_higher_epoch() -> None:
    cluster, work = Cluster(), Work(every_s=1)
    async with cluster.open("a", "b") as [a, b], leading(cluster, [a, b], work):
        await advance(3)
        (first,) = work.terms
        assert first.server_id == a.id
        a.freeze()
        await advance(12)
        (second,) = work.terms - {first}
        assert (second.server_id, work.done[-1]) == (b.id, b.id)
        assert second.epoch > first.epoch
        a.thaw()


@virtual_time
async def test_leader_that_cannot_prove_its_life_stops_before_another_begins() -> None:
    cluster, work = Cluster(), Work(takes_s=3600)
    async with cluster.open("a", "b") as [a, b], leading(cluster, [a, b], work):
        await advance(3)
        old = a.id
        a.beat_link.up = False
        while b.id not in {term.server_id for term in work.terms}:
            assert not work.cut
            await advance(0.1)
            if not a.clock.monotonic() < a.owned_lease.until:
                break
        await advance(1.1)
        assert work.cut == [old]
        assert {term.server_id for term in work.terms} == {old}
        await advance(5)
        assert b.id in {term.server_id for term in work.terms}


@virtual_time
async def test_run_that_is_slow_to_end_may_be_ended_again() -> None:
    cluster, cut = Cluster(), 0

    async def run(_: Term) -> None:
        nonlocal cut
        try:
            await asyncio.sleep(3600)
        finally:
            cut += 1
            await asyncio.sleep(60)

    async with cluster.open("a") as [a]:
        duties = MemoryDuties(cluster.database, trip=a.owner_link.trip)
        leader = Leader(duties, a.membership, a.owned_lease, a.clock)
        leader.add(Duty("sweep", timedelta(seconds=10), run))
        async with leader.running():
            await advance(5)
            for _ in range(2):
                a.beat_link.up = False
                await advance(8)
                a.beat_link.up = True
                await advance(8)
            await advance(60)
    assert cut >= 1


@virtual_time
async def test_leader_keeps_its_duty_while_rows_cannot_be_asked() -> None:
    cluster, work = Cluster(), Work(takes_s=30)
    async with cluster.open("a") as [a], leading(cluster, [a], work):
        await advance(3)
        a.owner_link.up = False
        await advance(10)
        assert (work.cut, len(work.terms)) == ([], 1)


@virtual_time
async def test_leader_whose_row_another_has_stops_its_run() -> None:
    cluster, work = Cluster(), Work(takes_s=3600)
    async with cluster.open("a", "b") as [a, b], leading(cluster, [a], work):
        await advance(3)
        head = cluster.database.heads["duties"]["sweep"]
        head.owner_id, head.epoch = b.id, head.epoch + 1
        await advance(1.5)
        assert work.cut == [a.id]


@virtual_time
async def test_duty_is_lost_alone_and_the_others_go_on() -> None:
    cluster, kept, lost = Cluster(), Work("kept", takes_s=3600), Work("lost", takes_s=3600)
    async with cluster.open("a", "b") as [a, b], leading(cluster, [a], kept, lost):
        await advance(3)
        head = cluster.database.heads["duties"]["lost"]
        head.owner_id, head.epoch = b.id, head.epoch + 1
        await advance(1.5)
        assert (kept.cut, lost.cut) == ([], [a.id])


@virtual_time
async def test_answer_that_comes_after_the_deadline_gives_no_duty() -> None:
    cluster, work = Cluster(), Work()
    async with cluster.open("a") as [a]:
        a.beat_link.hold()
        a.owner_link.hold_answers()
        async with leading(cluster, [a], work) as [leader]:
            await advance(10)
            a.owner_link.release()
            await settle()
            assert (len(leader), work.done) == (0, [])
        a.beat_link.release()


@virtual_time
async def test_failed_run_is_told_and_comes_again() -> None:
    for error, event in (
        (StateError("away"), "duty.failed"),
        (ZeroDivisionError("defect"), "duty.broke"),
        (TimeoutError("too long"), "duty.broke"),
    ):
        cluster, work = Cluster(), Work(every_s=1)
        async with cluster.open("a") as servers:
            work.error = error
            with capture_logs() as logs:
                async with leading(cluster, servers, work):
                    await advance(1.5)
                    work.error = None
                    await advance(2)
            assert event in {line["event"] for line in logs}
            assert work.done
