"""Hearing: in order, without a gap, and without trusting more than was heard."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import pytest
from structlog.testing import capture_logs

from src.invalidation.buses.memory import MemoryBus, MemoryNotices
from src.invalidation.messages import Message
from src.state.background import end
from src.state.errors import DurableTierUnavailable, SharedTierUnavailable
from src.state.ladder.ladder import Rung
from src.state.models import Announcement, Version, Where
from src.state.protocols import PULLED
from src.state.tiers.keys import partition_of
from src.state.tiers.memory import Lease
from tests.support.clock import advance, jump, settle, virtual_time
from tests.support.cluster import Cluster, Server

P = partition_of("n")


def change(seq: int, id: str = "n") -> Announcement:
    return Announcement("notebook", id, Version(1, seq))


class Ears:
    """A listener whose messages and pulls the test hands out, and what it told."""

    def __init__(self) -> None:
        self.cluster = Cluster()
        self.server: Server = self.cluster.server("listener")
        self.speaker: Server = self.cluster.server("speaker")
        self.listener = self.server.listener
        self.listener._subscriber = self
        self.told: list[int] = []
        self.doubts: list[int | None] = []

    def heard(self, change: Announcement) -> None:
        self.told.append(change.version.seq)

    def doubt(self, partition: int | None) -> None:
        self.doubts.append(partition)

    async def begin(self) -> "Ears":
        await self.server.membership.join()
        await self.speaker.membership.join()
        await self.listener.pull()
        self.doubts.clear()
        return self

    async def say(self, *seqs: int) -> list[Message]:
        """Have changes announced; return the messages, which nobody has delivered yet."""
        first = self.cluster.space.counters[P].n
        for seq in seqs:
            await self.speaker.announcer.publish([change(seq)])
        messages = await self.speaker.bus.replay(P, first, first + len(seqs))
        assert messages is not None
        return list(messages)


@virtual_time
async def test_messages_in_order_are_applied() -> None:
    ears = await Ears().begin()
    for message in await ears.say(1, 2, 3):
        await ears.listener.apply(message)
    assert (ears.told, ears.doubts, ears.listener.gaps) == ([1, 2, 3], [], 0)


@virtual_time
async def test_what_was_heard_and_what_was_missed_is_counted() -> None:
    ears = Ears()
    counted = ears.listener
    assert (counted.applied, counted.gaps, counted.clears) == (0, 0, 0)
    await ears.begin()
    clears = counted.clears
    messages = await ears.say(1, 2, 3)
    ears.cluster.space.counters[P].kept.pop(1)
    await counted.apply(messages[2])
    assert (counted.applied, counted.gaps, counted.clears) == (1, 1, clears + 1)


@virtual_time
async def test_subscription_that_never_stood_counts_as_cut() -> None:
    ears = await Ears().begin()
    assert ears.server.ladder.bus.closed
    for _ in range(120):
        await advance(0.5)
        await ears.listener.pull()
    assert not ears.server.ladder.bus.closed


@virtual_time
async def test_message_that_came_twice_is_applied_once() -> None:
    ears = await Ears().begin()
    one, two = await ears.say(1, 2)
    for message in (one, one, two, one, two):
        await ears.listener.apply(message)
    assert ears.told == [1, 2]


@virtual_time
async def test_gap_is_replayed_before_what_follows() -> None:
    ears = await Ears().begin()
    messages = await ears.say(1, 2, 3, 4)
    await ears.listener.apply(messages[0])
    await ears.listener.apply(messages[3])
    assert (ears.told, ears.doubts, ears.listener.gaps) == ([1, 2, 3, 4], [], 1)


@pytest.mark.parametrize("seed", range(5))
@virtual_time
async def test_every_message_is_told_whatever_the_order_and_the_losses(seed: int) -> None:
    rng = random.Random(seed)
    ears = await Ears().begin()
    messages = await ears.say(*range(1, 41))
    delivered = rng.sample(messages, 20)
    for message in delivered:
        await ears.listener.apply(message)
        if rng.random() < 0.1:
            await ears.listener.pull()
    await ears.listener.pull()
    assert set(ears.told) == set(range(1, 41))
    assert ears.doubts == []


@virtual_time
async def test_gap_that_is_kept_no_more_is_doubted() -> None:
    ears = await Ears().begin()
    messages = await ears.say(1, 2, 3)
    ears.cluster.space.counters[P].kept.pop(1)
    await ears.listener.apply(messages[2])
    assert (ears.told, ears.doubts) == ([3], [P])
    await ears.listener.apply((await ears.say(4))[0])
    assert (ears.told, ears.doubts) == ([3, 4], [P])


@virtual_time
async def test_replay_that_is_not_answered_is_doubted() -> None:
    ears = await Ears().begin()
    messages = await ears.say(1, 2)
    ears.cluster.space.available = False
    await ears.listener.apply(messages[1])
    assert (ears.told, ears.doubts) == ([2], [P])


@virtual_time
async def test_pull_finds_the_last_message_that_was_lost() -> None:
    ears = await Ears().begin()
    await ears.say(1)
    await ears.listener.pull()
    assert (ears.told, ears.doubts) == ([1], [])


@virtual_time
async def test_other_life_of_the_counter_is_doubted() -> None:
    ears = await Ears().begin()
    for message in await ears.say(1, 2, 3):
        await ears.listener.apply(message)
    ears.cluster.space.clear()
    (message,) = await ears.say(4)
    await ears.listener.apply(message)
    assert 4 in ears.told
    assert P in ears.doubts
    for message in await ears.say(5, 6):
        await ears.listener.apply(message)
    assert ears.told[-2:] == [5, 6]


@virtual_time
async def test_counter_that_came_back_from_an_old_dump_is_doubted() -> None:
    """The same counter at a lower number: only the run of Redis tells."""
    ears = await Ears().begin()
    for message in await ears.say(1, 2, 3):
        await ears.listener.apply(message)
    counter = ears.cluster.space.counters[P]
    counter.n = 1
    ears.cluster.space.restart()
    await ears.listener.pull()
    assert P in ears.doubts
    for message in await ears.say(4, 5):
        await ears.listener.apply(message)
    assert ears.told[-2:] == [4, 5]


@virtual_time
async def test_replay_of_a_life_that_ended_meanwhile_moves_no_number() -> None:
    """Else the first messages of the new life would be ignored as old."""
    ears = await Ears().begin()
    messages = await ears.say(*range(1, 11))
    ears.server.bus_link.hold_answers()
    applying = asyncio.ensure_future(ears.listener.apply(messages[9]))
    await settle()
    ears.cluster.space.clear()
    ears.server.bus_link.release()
    # The pull's answer overtakes the replay's.
    ears.server.bus_link.hold_answers()
    pulling = asyncio.ensure_future(ears.listener.pull())
    await settle()
    ears.server.bus_link.release()
    await asyncio.gather(applying, pulling)
    await ears.listener.pull()
    ears.told.clear()
    for message in await ears.say(11, 12):
        await ears.listener.apply(message)
    assert ears.told == [11, 12]


@virtual_time
async def test_late_message_of_an_ended_life_moves_no_number() -> None:
    ears = await Ears().begin()
    late = (await ears.say(*range(1, 11)))[9]
    known = ears.listener._positions[P]
    ears.cluster.space.clear()
    await ears.listener.pull()
    assert ears.listener._positions[P].incarnation != known.incarnation
    ears.listener._advance(late)
    ears.told.clear()
    for message in await ears.say(11, 12):
        await ears.listener.apply(message)
    assert ears.told == [11, 12]


@virtual_time
async def test_late_message_of_an_ended_run_hides_nothing_beyond_the_next_pull() -> None:
    """It was left in a dead connection while Redis came back from an old dump, and fits by life."""
    ears = await Ears().begin()
    *_, late = await ears.say(1, 2, 3)
    ears.cluster.space.counters[P].n = 1
    ears.cluster.space.restart()
    await ears.listener.pull()
    await ears.listener.apply(late)
    ears.doubts.clear()
    await ears.listener.pull()
    assert ears.doubts == [P]
    for message in await ears.say(4, 5):
        await ears.listener.apply(message)
    assert ears.told[-2:] == [4, 5]


@virtual_time
async def test_subscription_to_an_ended_run_is_left_before_what_is_still_in_it_hides_anything() -> (
    None
):
    ears = await Ears().begin()
    space = ears.cluster.space
    listening = asyncio.ensure_future(ears.listener.subscribe_for_ever())
    await settle()
    [dead] = space.subscriptions
    await ears.say(1, 2)
    # Its connection is dead, with a message in it, and Redis back from an old dump.
    space.subscriptions.clear()
    await ears.say(3)
    late = P, space.counters[P].kept[3]
    space.counters[P].n = 1
    space.restart()
    await ears.listener.pull()
    dead.put_nowait(late)
    await settle()
    # As many as the late message would have hidden, before the next pull.
    await ears.say(4, 5)
    await ears.listener.pull()
    assert ears.told[-2:] == [4, 5]
    await end([listening])


@virtual_time
async def test_own_echo_is_no_news() -> None:
    ears = await Ears().begin()
    await ears.server.announcer.publish([change(1)])
    await ears.listener.pull()
    assert ears.told == []


# -- trust ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("slow", ["bus_link", "beat_link"])
@virtual_time
async def test_lease_runs_from_the_beginning_of_a_good_pull(slow: str) -> None:
    ears = await Ears().begin()
    getattr(ears.server, slow).delay_s = 0.7
    began = ears.server.clock.monotonic()
    await ears.listener.pull()
    assert ears.server.heard_lease.until == began + 1.5


@virtual_time
async def test_what_the_outbox_tells_is_vouched_for_without_redis_and_not_without_postgres() -> (
    None
):
    ears = await Ears().begin()
    told = ears.listener._told = Lease()
    ears.cluster.space.available = False
    began = ears.server.clock.monotonic()
    await ears.listener.pull()
    assert told.until == began + 1.5
    ears.cluster.space.available, ears.cluster.database.available = True, False
    await advance(1)
    await ears.listener.pull()
    assert told.until == began + 1.5


@pytest.mark.parametrize(
    ("store", "event"), [("space", "l2.unavailable"), ("database", "l3.unavailable")]
)
@virtual_time
async def test_store_that_is_away_is_told_of_once(store: str, event: str) -> None:
    ears = await Ears().begin()
    getattr(ears.cluster, store).available = False
    with capture_logs() as logs:
        for _ in range(10):
            await advance(0.5)
            await ears.listener.pull()
    assert [line["event"] for line in logs].count(event) == 1


@virtual_time
async def test_subscription_that_breaks_between_any_two_pulls_counts_as_cut() -> None:
    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await advance(5)
        assert a.ladder.bus.closed
        for _ in range(100):
            cluster.space.cut_subscriptions()
            await advance(0.3)
        assert not a.ladder.bus.closed


@virtual_time
async def test_subscription_that_does_not_come_back_counts_as_cut_though_redis_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_: MemoryBus) -> NoReturn:
        raise SharedTierUnavailable("no more clients")

    cluster = Cluster()
    async with cluster.open("a") as [a]:
        await advance(5)
        with capture_logs() as logs:
            monkeypatch.setattr(MemoryBus, "subscribe", refused)
            cluster.space.cut_subscriptions()
            await advance(30)
        assert (a.ladder.bus.closed, a.ladder.shared.closed) == (False, True)
        assert [line["event"] for line in logs].count("subscription.broke") == 1


@virtual_time
async def test_notice_is_heard_at_once_also_when_the_subscription_broke_before() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        told: list[Version] = []
        b.store.listeners.append(lambda _, version: told.append(version))
        cluster.space.available = False
        ack = await a.write("n", "one")
        await settle()
        assert told == [ack.version]
        for queue in list(cluster.database.listeners):
            queue.put_nowait(None)
        await advance(1)
        ack = await a.write("n", "two")
        await settle()
        assert told[-1] == ack.version


@virtual_time
async def test_who_never_heard_a_notice_does_not_say_that_they_broke() -> None:
    cluster = Cluster()
    server = cluster.server()
    server.notice_link.up = False
    with capture_logs() as logs:
        hearing = asyncio.ensure_future(server.listener.hear_notices_for_ever())
        await advance(5)
        hearing.cancel()
    assert logs == []


@virtual_time
async def test_notices_that_break_are_told_of_once_until_they_are_heard_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def broken() -> AsyncIterator[Message]:
        raise DurableTierUnavailable("the connection was lost")
        yield  # type: ignore[unreachable]  # makes it a generator

    @asynccontextmanager
    async def subscribed(_: MemoryNotices) -> AsyncIterator[AsyncIterator[Message]]:
        yield broken()

    server = Cluster().server()
    monkeypatch.setattr(MemoryNotices, "subscribe", subscribed)
    with capture_logs() as logs:
        hearing = asyncio.ensure_future(server.listener.hear_notices_for_ever())
        await advance(0.1)
        hearing.cancel()
    assert [line["event"] for line in logs] == ["notices.broke"]


@virtual_time
async def test_what_a_pull_saw_is_given_on_after_each_good_pull() -> None:
    ears = await Ears().begin()
    seen: list[int] = []
    ears.listener.on_pull.append(lambda pulled: seen.append(pulled.outbox_position))
    ears.cluster.database.outbox.append(change(7))
    await ears.listener.pull()
    assert seen == [1]
    ears.cluster.database.available = False
    await ears.listener.pull()
    assert seen == [1]


@virtual_time
async def test_after_a_failover_no_body_of_l2_is_an_answer_until_redis_was_pulled() -> None:
    ears = await Ears().begin()
    assert ears.server.incarnations.of("n") != ""
    ears.cluster.database.timeline += 1
    await ears.listener.pull_postgres()
    assert ears.server.incarnations.of("n") == ""
    await ears.listener.pull_redis()
    assert ears.server.incarnations.of("n") != ""


@virtual_time
async def test_pull_without_redis_renews_nothing() -> None:
    ears = await Ears().begin()
    before = ears.server.heard_lease.until
    ears.cluster.space.available = False
    await advance(1)
    await ears.listener.pull()
    assert ears.server.heard_lease.until == before
    await advance(1)
    await ears.listener.pull()
    assert ears.server.ladder.rung is Rung.WITHOUT_L2


@virtual_time
async def test_pull_without_postgres_renews_nothing() -> None:
    """Who cannot ask L3 cannot know whether somebody has stopped announcing."""
    ears = await Ears().begin()
    before = ears.server.heard_lease.until
    ears.cluster.database.available = False
    await advance(1)
    await ears.listener.pull()
    assert ears.server.heard_lease.until == before
    await advance(1)
    await ears.listener.pull()
    assert ears.server.ladder.rung is Rung.WITHOUT_L3


@virtual_time
async def test_server_that_does_not_announce_is_not_vouched_for() -> None:
    ears = await Ears().begin()
    await ears.speaker.registry.set_announces(ears.speaker.id, False)
    before = ears.server.heard_lease.until
    await advance(1)
    await ears.listener.pull()
    assert ears.server.heard_lease.until == before
    await ears.speaker.registry.set_announces(ears.speaker.id, True)
    await ears.listener.pull()
    assert ears.server.heard_lease.until > before


@virtual_time
async def test_changes_of_configs_are_read_from_the_outbox_once() -> None:
    ears = await Ears().begin()
    ears.cluster.database.outbox += [change(7), change(8)]
    await ears.listener.pull()
    await ears.listener.pull()
    ears.cluster.database.outbox.append(change(9))
    await ears.listener.pull()
    assert ears.told == [7, 8, 9]


@virtual_time
async def test_nothing_is_vouched_for_before_the_whole_outbox_was_read() -> None:
    ears = await Ears().begin()
    until = ears.server.heard_lease.until
    ears.cluster.database.outbox += [change(seq) for seq in range(1, 2 * PULLED + 2)]
    pulls: list[tuple[int, float]] = []
    ears.listener.on_pull.append(
        lambda pulled: pulls.append((len(pulled.changes), ears.server.heard_lease.until))
    )
    await advance(0.1)
    await ears.listener.pull()
    assert pulls == [(PULLED, until), (PULLED, until), (1, until)]
    assert ears.told == list(range(1, 2 * PULLED + 2))
    assert ears.server.heard_lease.until > until


@virtual_time
async def test_other_timeline_of_postgres_drops_everything() -> None:
    ears = await Ears().begin()
    dropped: list[bool] = []

    async def deposed() -> None:
        dropped.append(True)

    ears.server.membership.on_branch = deposed
    ears.cluster.database.timeline += 1
    ears.doubts.clear()
    await ears.listener.pull()
    assert dropped == [True]
    assert None in ears.doubts


# -- two servers ---------------------------------------------------------------------------------


@virtual_time
async def test_write_on_one_server_is_read_on_the_other() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        for seq in range(1, 20):
            ack = await a.write("n", f"{seq}")
            await advance(0.01)
            read = await b.read("n")
            assert (read.entry.version, read.stale_s) == (ack.version, None)


@virtual_time
async def test_subscription_that_is_cut_again_and_again_makes_no_stale_answer() -> None:
    cluster = Cluster()
    rng = random.Random(1)
    async with cluster.open("a", "b") as [a, b]:
        acked: list[tuple[float, int]] = []
        for seq in range(1, 200):
            ack = await a.write("n", f"{seq}")
            acked.append((a.clock.monotonic(), ack.version.seq))
            await advance(rng.random() * 0.2)
            if rng.random() < 0.3:
                cluster.space.cut_subscriptions()
            read = await b.read("n")
            due = max((s for at, s in acked if a.clock.monotonic() - at > 2), default=0)
            assert read.stale_s is None
            assert read.entry.version.seq >= due


@virtual_time
async def test_redis_away_makes_no_stale_answer() -> None:
    cluster = Cluster()
    rng = random.Random(2)
    async with cluster.open("a", "b") as [a, b]:
        acked: list[tuple[float, int]] = []
        for seq in range(1, 200):
            if seq % 20 == 0:
                cluster.space.available = not cluster.space.available
                if cluster.space.available and rng.random() < 0.5:
                    cluster.space.restart()
            ack = await a.write("n", f"{seq}")
            acked.append((a.clock.monotonic(), ack.version.seq))
            if rng.random() < 0.3:
                for queue in cluster.database.listeners:
                    queue.put_nowait(None)
            await advance(rng.random() * 0.2)
            read = await b.read("n")
            due = max((s for at, s in acked if a.clock.monotonic() - at > 2), default=0)
            assert read.stale_s is not None or read.entry.version.seq >= due


@virtual_time
async def test_one_server_cut_off_from_redis_makes_no_stale_answer_on_the_others() -> None:
    """Its notices reach nobody either: only L3 says that it does not announce."""
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "zero")
        await a.notebooks.writebehind.flush_all()
        await b.read("n")
        for link in (a.bus_link, a.shared_link):
            link.up = False
        b.notice_link.up = False
        for queue in cluster.database.listeners:
            queue.put_nowait(None)
        await advance(0.1)
        ack = await a.write("n", "one")
        await advance(2.1)
        assert (await b.read("n")).entry.version == ack.version
        for link in (a.bus_link, a.shared_link):
            link.up = True
        ack = await a.write("n", "two")
        b.bus_link.hold()
        await a.write("m", "x")
        b.bus_link.release()
        await advance(2.1)
        assert (await b.read("n")).entry.version == ack.version


@virtual_time
async def test_missed_notice_is_made_good_when_the_bus_is_back() -> None:
    """Kept in L1, told by a notice that got lost, then vouched for again: it must be known."""
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "zero")
        await a.write("m", "zero")
        await b.read("n")
        a.bus_link.up = False
        b.notice_link.up = False
        for queue in cluster.database.listeners:
            queue.put_nowait(None)
        await advance(0.1)
        ack = await a.write("n", "one")
        a.bus_link.up = True
        await a.write("m", "one")
        await advance(2.1)
        read = await b.read("n")
        assert (read.entry.version, read.stale_s) == (ack.version, None)


@virtual_time
async def test_missed_notice_is_made_good_when_its_server_dies() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "zero")
        await b.read("n")
        a.bus_link.up = False
        b.notice_link.up = False
        for queue in cluster.database.listeners:
            queue.put_nowait(None)
        await advance(0.1)
        ack = await a.write("n", "one")
        await a.notebooks.writebehind.flush_all()
        await a.membership.leave()
        a.freeze()
        await advance(2.1)
        read = await b.read("n")
        assert (read.entry.version, read.stale_s) == (ack.version, None)


@virtual_time
async def test_blocked_reader_calls_nothing_fresh_when_it_wakes() -> None:
    cluster = Cluster()
    async with cluster.open("a", "b") as [a, b]:
        await a.write("n", "zero")
        await b.read("n")
        b.bus_link.hold()
        b.beat_link.hold()
        ack = await a.write("n", "one")
        cluster.space.cut_subscriptions()
        jump(2.1)
        assert b.store.peek("n") is None
        read = await b.read("n")
        assert (read.entry.version, read.where) == (ack.version, Where.L3)
