"""The line of swarms that wait for a server with a free place."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from src.state.background import background, end
from src.state.clock import SystemClock
from src.state.records.rooms import Room, Rooms
from src.state.records.swarm_queue import Queued, SwarmQueue
from src.state.tiers.postgres import Pool, open_pool
from src.swarm.rooms.queue import Queue
from src.swarm.rooms.service import RoomService
from tests.support.cluster_settings import eventually, settings
from tests.support.livekit import settings_for
from tests.support.media import MemoryMedia
from tests.support.places import offer

WAIT = timedelta(minutes=2)
LIVEKIT = settings_for("ws://livekit.invalid", queue_timeout=WAIT, queue_attempts=3)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with open_pool(settings(database_url)) as opened:
        yield opened


async def over(room_id: str, began: int) -> None:
    """Nothing is said of lives that are over here."""


class Server:
    """One server's part in the line, and what a test asks of it."""

    def __init__(self, pool: Pool, media: MemoryMedia) -> None:
        self.pool, self.media = pool, media
        self.records = SwarmQueue(pool)
        self.queue = Queue(self.records, media, LIVEKIT)
        self.rooms = RoomService(Rooms(pool), media, self.queue, over)

    async def make(self, id: str) -> Room:
        live = await self.rooms.prepare(id, f"c-{id}")
        return await self.rooms.create(id, "Algebra", f"c-{id}", False, "zoe", live)

    async def ask(self, *ids: str) -> list[Queued]:
        """Have the swarms of new rooms come, one after the other."""
        return [await self.rooms.send_swarm(await self.make(id)) for id in ids]

    async def row(self, id: str) -> Queued:
        found = await self.records.find(id)
        assert found is not None
        return found

    async def states(self, *ids: str) -> list[str]:
        return [(await self.row(id)).state for id in ids]

    @property
    def sent(self) -> Sequence[str]:
        """Rooms, in the order in which their swarms were sent."""
        return [room for room, _ in self.media.sent]

    async def later(self, what: str) -> None:
        """Let time pass in the table: `what` says which columns move into the past."""
        await self.pool.execute(f"UPDATE room_swarms SET {what}")


@pytest.fixture
def server(pool: Pool) -> Server:
    return Server(pool, MemoryMedia())


@pytest.fixture
def other(server: Server) -> Server:
    """Another server, on the same database and LiveKit."""
    return Server(server.pool, server.media)


# -- the line --------------------------------------------------------------------------------------


async def test_swarms_that_find_no_place_wait_in_the_order_in_which_they_came(
    server: Server,
) -> None:
    await offer(server.pool, 1)
    placed, second, third = await server.ask("r-1", "r-2", "r-3")

    assert [one.state for one in (placed, second, third)] == ["placed", "waiting", "waiting"]
    assert [one.position for one in (placed, second, third)] == [0, 1, 2]
    assert second.deadline - second.enqueued_at == WAIT
    assert server.sent == ["r-1"]


async def test_without_a_server_that_hosts_rooms_every_swarm_waits(server: Server) -> None:
    [queued] = await server.ask("r-1")

    assert (queued.state, queued.position, queued.dispatch_id) == ("waiting", 1, None)
    assert server.sent == []


async def test_places_that_come_free_are_given_in_order(server: Server, other: Server) -> None:
    await server.ask("r-1", "r-2", "r-3")
    await offer(server.pool, 2)
    await other.queue.serve()

    assert other.sent == ["r-1", "r-2"]
    assert await server.states("r-1", "r-2", "r-3") == ["placed", "placed", "waiting"]
    assert (await server.row("r-3")).position == 1


async def test_who_is_on_the_way_to_a_place_has_it(server: Server) -> None:
    """The server's row says so only when its agent is in the room, and tells it before."""
    await offer(server.pool, 1)
    await server.ask("r-1", "r-2")
    await server.queue.serve()
    before = server.sent
    await offer(server.pool, 1, load=1)
    await server.rooms.hosted("r-1", "swarm-host-AJ_1")
    await server.queue.serve()

    assert before == server.sent == ["r-1"]


async def test_a_server_that_drains_or_is_dead_has_no_place(server: Server) -> None:
    await offer(server.pool, 0, load=3, server="drains")
    await offer(server.pool, 10, server="dead")
    await server.pool.execute("UPDATE servers SET dead_at = now() WHERE id = 'dead'")
    await server.ask("r-1")
    waiting = await server.states("r-1")
    await offer(server.pool, 1, server="other")
    await server.queue.look()

    assert waiting == ["waiting"]
    assert server.sent == ["r-1"]


async def test_asking_again_keeps_the_place_in_line(server: Server, other: Server) -> None:
    [first, _] = await server.ask("r-1", "r-2")
    again = await other.rooms.send_swarm(await other.rooms.get("r-1"))

    assert again == first


async def test_a_look_finds_what_somebody_left_in_line(server: Server, other: Server) -> None:
    await server.ask("r-1")
    await offer(server.pool, 1)
    async with background(other.queue.run(SystemClock())):
        await eventually(lambda: server.sent == ["r-1"], what="the swarm, sent")


# -- two servers -----------------------------------------------------------------------------------


async def test_servers_that_serve_at_once_send_each_swarm_once_and_none_too_many(
    server: Server, pool: Pool
) -> None:
    await server.ask(*(f"r-{number}" for number in range(8)))
    await offer(pool, 5)
    servers = [Server(pool, server.media) for _ in range(6)]
    await asyncio.gather(*(one.queue.serve() for one in servers))

    assert sorted(server.sent) == [f"r-{number}" for number in range(5)]


async def test_a_place_that_is_free_once_is_given_to_one_of_two_who_ask_at_once(
    server: Server, pool: Pool
) -> None:
    await offer(pool, 1)
    rooms = [await server.make(f"r-{number}") for number in range(6)]
    servers = [Server(pool, server.media) for _ in rooms]
    await asyncio.gather(
        *(one.rooms.send_swarm(room) for one, room in zip(servers, rooms, strict=True))
    )

    assert len(server.sent) == 1


async def test_a_server_that_was_killed_with_a_claim_is_stood_in_for(
    server: Server, other: Server
) -> None:
    await server.ask("r-1")
    await offer(server.pool, 1)
    assert await server.records.take(timedelta(seconds=15)) is not None
    await other.queue.serve()
    held = list(other.sent)
    await server.later("claimed_at = now() - interval '31 s', next_try = now()")
    await other.queue.look()

    assert held == []
    assert other.sent == ["r-1"]
    assert (await server.row("r-1")).attempts == 2


async def test_a_server_that_is_stopped_while_it_sends_gives_its_claim_back(
    server: Server, other: Server
) -> None:
    await offer(server.pool, 1)
    server.media.gate.clear()
    asked = asyncio.create_task(server.ask("r-1"))
    await eventually(lambda: server.media.looking == 1, what="a dispatch under way")
    await end([asked])
    server.media.gate.set()
    await other.queue.serve()

    assert other.sent == ["r-1"]
    assert (await server.row("r-1")).attempts == 1


# -- who waits in vain -----------------------------------------------------------------------------


async def test_who_has_waited_too_long_is_told_so_once(server: Server, other: Server) -> None:
    await server.ask("r-1")
    await server.later("deadline = now()")
    await server.queue.look()
    await other.queue.look()
    row = await server.row("r-1")

    assert (row.state, row.position) == ("expired", 0)
    assert "no place came free in time" in row.why
    assert server.queue.counts()["swarms_expired"] + other.queue.counts()["swarms_expired"] == 1


async def test_who_waited_in_vain_and_asks_again_is_the_last_in_line(server: Server) -> None:
    await server.ask("r-1")
    await server.later("deadline = now()")
    await server.queue.look()
    await server.ask("r-2")
    again = await server.rooms.send_swarm(await server.rooms.get("r-1"))

    assert (again.state, again.position) == ("waiting", 2)


async def test_people_who_come_and_looks_do_not_ask_for_who_waited_in_vain(
    server: Server,
) -> None:
    await server.ask("r-1")
    await server.later("deadline = now()")
    await server.queue.look()
    await offer(server.pool, 1)
    server.media.enter("r-1")
    await server.rooms.enter(await server.rooms.get("r-1"))
    await server.rooms.reconcile()

    assert await server.states("r-1") == ["expired"]


async def test_a_room_that_is_over_waits_no_longer(server: Server) -> None:
    await server.ask("r-1", "r-2")
    await server.media.close("r-1")
    await server.rooms.reconcile()
    await server.queue.look()

    assert (await server.row("r-1")).why == "the room ended"
    assert (await server.row("r-2")).position == 1


async def test_a_new_life_of_a_room_waits_anew(server: Server) -> None:
    await server.ask("r-1", "r-2")
    await server.media.close("r-1")
    await server.media.open("r-1", "c-r-1")
    await server.rooms.enter(await server.rooms.get("r-1"))
    row = await server.row("r-1")

    assert (row.state, row.position, row.attempts) == ("waiting", 2, 0)


# -- what fails ------------------------------------------------------------------------------------


async def test_sending_that_failed_is_tried_again_in_its_place_after_a_pause(
    server: Server,
) -> None:
    await offer(server.pool, 1)
    server.media.refuses_dispatch = True
    [failed] = await server.ask("r-1")
    server.media.refuses_dispatch = False
    await server.queue.look()
    paused = list(server.sent)
    await server.later("next_try = now()")
    await server.queue.look()

    assert (failed.state, failed.position, failed.attempts) == ("waiting", 1, 1)
    assert "does not answer" in failed.why
    assert paused == []
    assert server.sent == ["r-1"]


async def test_one_that_fails_holds_nobody_else_up(server: Server) -> None:
    await offer(server.pool, 1)
    server.media.refuses_dispatch = True
    await server.ask("r-1")
    server.media.refuses_dispatch = False
    [second] = await server.ask("r-2")

    assert second.state == "placed"


async def test_one_that_fails_too_often_is_dead_until_an_operator_comes(server: Server) -> None:
    await offer(server.pool, 1)
    server.media.refuses_dispatch = True
    await server.ask("r-1")
    for _ in range(3):
        await server.later("next_try = now()")
        await server.queue.look()
    server.media.refuses_dispatch = False
    asked = await server.rooms.send_swarm(await server.rooms.get("r-1"))

    assert (asked.state, asked.attempts) == ("dead", 3)
    assert server.queue.counts()["swarms_died"] == 1
    assert server.sent == []


async def test_one_that_no_server_took_on_is_sent_again_and_dead_after_so_many_times(
    server: Server,
) -> None:
    """LiveKit offers a job once: everybody may have refused it, or have died with it."""
    await offer(server.pool, 1)
    await server.ask("r-1")
    server.media.enter("r-1")
    for _ in range(3):
        server.media.lives["r-1"].dispatches.clear()
        await server.rooms.reconcile()
        await server.later("claimed_at = now() - interval '16 s'")
    row = await server.row("r-1")

    assert server.sent == ["r-1"] * 3
    assert (row.state, row.why) == ("dead", "no server took it on")


# -- a server that dies ----------------------------------------------------------------------------


async def test_rooms_of_a_dead_server_come_first_and_in_their_order(
    server: Server, other: Server
) -> None:
    await offer(server.pool, 3)
    await server.ask("r-3", "r-1", "r-2")
    for number in (1, 2, 3):
        await server.rooms.hosted(f"r-{number}", f"swarm-host-AJ_{number}")
    await offer(server.pool, 3, load=3)
    await server.ask("r-0")
    await server.pool.execute("UPDATE servers SET dead_at = now()")
    await asyncio.gather(server.rooms.revive("host"), other.rooms.revive("host"))
    waiting = [(await server.row(f"r-{number}")).position for number in (3, 1, 2, 0)]
    await offer(server.pool, 3, server="heir")
    await server.queue.look()

    assert waiting == [1, 2, 3, 4]
    assert server.sent[3:] == ["r-3", "r-1", "r-2"]
    assert await server.states("r-0") == ["waiting"]
