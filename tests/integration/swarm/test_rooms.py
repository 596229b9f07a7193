"""Rooms through their lives, whatever of LiveKit's messages is late, doubled or lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from src.state.background import background
from src.state.clock import SystemClock
from src.state.errors import DurableTierUnavailable, NotFound, Refused, VersionConflict
from src.state.models import Term
from src.state.records.rooms import Room, Rooms
from src.state.records.swarm_queue import SwarmQueue
from src.state.tiers.postgres import Pool, open_pool
from src.swarm.errors import MediaUnavailable
from src.swarm.rooms.protocols import Heard, LiveRoom
from src.swarm.rooms.queue import Queue
from src.swarm.rooms.reviving import Reviver
from src.swarm.rooms.service import Finalise, RoomService
from src.swarm.rooms.settings import LiveKitSettings
from tests.support.cluster_settings import eventually, settings
from tests.support.media import MemoryMedia
from tests.support.places import offer

TERM = Term("rooms", "s-1", 1)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with open_pool(settings(database_url)) as opened:
        await offer(opened, 100)
        yield opened


def service_on(pool: Pool, media: MemoryMedia, finalise: Finalise) -> RoomService:
    queue = Queue(SwarmQueue(pool), media, LiveKitSettings())
    return RoomService(Rooms(pool), media, queue, finalise)


class House:
    """A room's service on a database and a LiveKit in memory."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.records = Rooms(pool)
        self.media = MemoryMedia()
        self.over: list[tuple[str, int]] = []
        self.service = service_on(pool, self.media, self.finalise)
        self._ids = (f"EV_{number}" for number in count(1))

    async def finalise(self, room_id: str, began: int) -> None:
        self.over.append((room_id, began))

    async def make(self, id: str = "r-1") -> Room:
        live = await self.service.prepare(id, f"c-{id}")
        return await self.service.create(id, "Algebra", f"c-{id}", False, "zoe", live)

    async def tell(self, what: str, live: LiveRoom, **fields: object) -> Heard:
        """Have LiveKit tell something of a life; return the message."""
        id = next(self._ids)
        heard = Heard(id, what, live.id, live.sid, live.began, **fields)  # type: ignore[arg-type]  # by name in tests
        await self.service.hear(heard)
        return heard

    async def room(self, id: str = "r-1") -> Room:
        found = await self.service.find(id)
        assert found is not None
        return found


class BrokenOnce(RoomService):
    """A service whose PostgreSQL does not answer the first time."""

    def __init__(self, service: RoomService) -> None:
        self._service, self.refused = service, 0

    async def revive(self, server_id: str) -> int:
        if not self.refused:
            self.refused += 1
            raise DurableTierUnavailable("it does not answer")
        return await self._service.revive(server_id)


@pytest.fixture
def house(pool: Pool) -> House:
    return House(pool)


async def reborn(house: House, id: str = "r-1") -> tuple[LiveRoom, LiveRoom]:
    """Have LiveKit forget a room and begin it anew, and say nothing of it yet."""
    first = house.media.lives[id].live
    await house.media.close(id)
    return first, await house.media.open(id, f"c-{id}")


async def test_what_is_told_late_of_an_earlier_life_changes_nothing(house: House) -> None:
    await house.make()
    first, second = await reborn(house)
    await house.tell("began", second)
    await house.tell("ended", first)
    await house.tell("joined", first, identity="agent-1", is_agent=True)

    room = await house.room()
    assert (room.sid, room.over, room.agent) == (second.sid, False, "")


async def test_a_life_whose_end_is_told_before_its_beginning_has_ended(house: House) -> None:
    await house.make()
    _, second = await reborn(house)
    await house.tell("ended", second)
    await house.tell("began", second)
    await house.tell("joined", second, identity="zoe")

    room = await house.room()
    assert (room.sid, room.over) == (second.sid, True)


async def test_a_message_that_comes_again_is_heard_once(house: House) -> None:
    await house.make()
    live = house.media.lives["r-1"].live
    joined = await house.tell("joined", live, identity="agent-1", is_agent=True)
    await house.tell("left", live, identity="agent-1", is_agent=True)
    await house.service.hear(joined)

    assert (await house.room()).agent == ""


async def test_an_agent_that_leaves_does_not_take_its_successor_along(house: House) -> None:
    await house.make()
    live = house.media.lives["r-1"].live
    await house.tell("joined", live, identity="agent-1", is_agent=True)
    await house.tell("joined", live, identity="agent-2", is_agent=True)
    await house.tell("left", live, identity="agent-1", is_agent=True)

    assert (await house.room()).agent == "agent-2"


async def test_a_new_life_begins_without_the_agent_of_the_one_before(house: House) -> None:
    await house.make()
    first = house.media.lives["r-1"].live
    await house.tell("joined", first, identity="agent-1", is_agent=True)
    _, second = await reborn(house)
    await house.tell("began", second)

    assert (await house.room()).agent == ""


async def test_messages_of_rooms_that_are_not_ours_are_passed_over(house: House) -> None:
    theirs = await house.media.open("theirs", "c-9")
    await house.tell("began", theirs)
    await house.service.reconcile()

    assert await house.service.find("theirs") is None
    assert "theirs" in house.media.lives


async def test_a_message_whose_work_failed_is_taken_when_it_comes_again(house: House) -> None:
    await house.make()
    await house.service.delete(await house.room(), None)
    again = await house.media.open("r-1", "c-r-1")
    heard = Heard("EV_x", "joined", "r-1", again.sid, again.began, "zoe")
    house.media.away = True
    with pytest.raises(MediaUnavailable):
        await house.service.hear(heard)
    house.media.away = False
    await house.service.hear(heard)

    assert house.media.lives == {}


# -- the swarm -------------------------------------------------------------------------------------


async def test_servers_that_are_asked_at_once_send_one_swarm(house: House, pool: Pool) -> None:
    room = await house.make()
    servers = [service_on(pool, house.media, house.finalise) for _ in range(6)]
    house.media.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(one.send_swarm(room)) for one in servers]
        # Five have their answer while the sixth is still at it.
        await eventually(lambda: sum(one.done() for one in asked) == 5)
        looking = house.media.looking
        house.media.gate.set()
    ways = {one.result().dispatch_id for one in asked}

    assert looking == 1
    assert house.media.sent == [("r-1", "c-r-1")]
    assert ways == {None, (await house.room()).dispatch_id}


async def test_a_swarm_nobody_asked_for_is_not_sent(house: House) -> None:
    room = await house.make()
    await house.service.enter(room)
    await house.tell("joined", house.media.lives["r-1"].live, identity="zoe")
    await house.service.reconcile()

    assert house.media.sent == []


async def test_the_swarm_comes_to_each_new_life_by_token_message_or_look(house: House) -> None:
    await house.make()
    await house.service.send_swarm(await house.room())
    _, second = await reborn(house)
    await house.service.enter(await house.room())
    assert len(house.media.sent) == 2

    _, third = await reborn(house)
    await house.tell("joined", third, identity="zoe")
    assert len(house.media.sent) == 3

    _, fourth = await reborn(house)
    house.media.enter("r-1")
    await house.service.reconcile()
    assert len(house.media.sent) == 4
    assert [second.began, third.began, fourth.began] == sorted(
        {second.began, third.began, fourth.began}
    )


# -- what no message told --------------------------------------------------------------------------


async def test_an_end_that_was_never_told_is_found(house: House) -> None:
    await house.make("r-1")
    await house.make("r-2")
    await house.media.close("r-1")
    await house.service.reconcile()

    assert [(await house.room(id)).over for id in ("r-1", "r-2")] == [True, False]


async def test_a_life_that_was_never_told_is_found(house: House) -> None:
    await house.make()
    await house.tell("ended", house.media.lives["r-1"].live)
    _, second = await reborn(house)
    await house.service.reconcile()

    room = await house.room()
    assert (room.sid, room.over) == (second.sid, False)


async def test_a_room_that_was_ended_here_does_not_go_on_there(house: House) -> None:
    room = await house.make()
    await house.service.delete(room, None)
    again = await house.media.open("r-1", "c-r-1")
    await house.tell("began", again)
    closed_by_message = "r-1" not in house.media.lives
    await house.media.open("r-1", "c-r-1")
    await house.service.reconcile()

    assert closed_by_message
    assert house.media.lives == {}


async def test_rooms_of_a_deleted_conversation_end(house: House) -> None:
    await house.make()
    await house.pool.execute(
        "INSERT INTO conversation_summaries (conversation_id, seq, status, goal, created_by, "
        "members, turns, last_text, created_at, updated_at) "
        "VALUES ('c-r-1', 1, 'deleted', '', 'zoe', '{}', 0, '', now(), now())"
    )
    await house.service.reconcile()

    assert (await house.room()).deleted
    assert house.media.lives == {}


async def test_without_livekit_the_look_waits_for_the_next_time(house: House) -> None:
    await house.make()
    house.media.away = True
    await house.service.reconcile_as_duty(TERM)

    assert not (await house.room()).over


# -- the row ---------------------------------------------------------------------------------------


async def test_an_id_is_one_rooms_for_ever(house: House) -> None:
    room = await house.make()
    await house.service.delete(room, None)
    live = LiveRoom("r-1", "RM_9", 9, 0)
    with pytest.raises(Refused) as refused:
        await house.service.create("r-1", "Other", "c-2", False, "eve", live)

    assert (refused.value.code, refused.value.field) == ("exists", "id")


async def test_a_conversation_has_one_room_at_a_time(house: House) -> None:
    room = await house.make()
    live = LiveRoom("r-2", "RM_9", 9, 0)
    with pytest.raises(Refused) as refused:
        await house.service.create("r-2", "Other", "c-r-1", False, "zoe", live)
    await house.service.delete(room, None)
    second = await house.service.create("r-2", "Other", "c-r-1", False, "zoe", live)

    assert (refused.value.code, refused.value.field) == ("exists", "conversation_id")
    assert second.conversation_id == "c-r-1"


async def test_an_edit_of_a_version_that_moved_on_changes_nothing(house: House) -> None:
    room = await house.make()
    await house.service.edit(room, "Geometry", True, None)
    with pytest.raises(VersionConflict):
        await house.service.edit(room, "History", False, 1)
    with pytest.raises(VersionConflict):
        await house.service.delete(await house.room(), 1)

    found = await house.room()
    assert (found.name, found.open, found.version) == ("Geometry", True, 2)


async def test_nothing_is_ended_while_livekit_does_not_answer(house: House) -> None:
    room = await house.make()
    house.media.away = True
    with pytest.raises(MediaUnavailable):
        await house.service.delete(room, None)

    assert (await house.service.get("r-1")).version == 1


async def test_what_was_heard_is_forgotten_after_a_day(house: House) -> None:
    await house.make()
    heard = await house.tell("began", house.media.lives["r-1"].live)
    await house.service.reconcile()
    assert await house.records.heard(heard.id)
    await house.pool.execute("UPDATE livekit_events SET at = now() - interval '25 hours'")
    await house.service.reconcile()

    assert not await house.records.heard(heard.id)


async def test_a_room_that_is_not_there_is_named(house: House) -> None:
    with pytest.raises(NotFound, match="there is no room 'r-9'"):
        await house.service.get("r-9")


# -- servers that host and die -------------------------------------------------------------------


async def test_room_of_a_dead_server_gets_its_swarm_anew_once(house: House) -> None:
    room = await house.service.send_swarm(await house.make())
    await house.service.hosted(room.room_id, "swarm-s-1-AJ_1")
    assert len(house.media.sent) == 1
    revived = await asyncio.gather(*(house.service.revive("s-1") for _ in range(5)))
    assert sorted(revived) == [0, 0, 0, 0, 1]
    assert len(house.media.sent) == 2
    assert (await house.room()).agent == ""


async def test_room_that_its_host_leaves_gets_its_swarm_anew_once(house: House) -> None:
    room = await house.service.send_swarm(await house.make())
    await house.service.hosted(room.room_id, "swarm-s-1-AJ_1")
    await asyncio.gather(*(house.service.pass_on(room.room_id, "swarm-s-1-AJ_1") for _ in range(5)))
    assert len(house.media.sent) == 2
    assert await house.service.revive("s-1") == 0
    await house.service.hosted(room.room_id, "swarm-s-2-AJ_2")
    [live] = await house.media.list()
    await house.tell("left", live, identity="swarm-s-1-AJ_1", is_agent=True)
    assert (await house.room()).agent == "swarm-s-2-AJ_2"


async def test_room_that_is_over_is_not_passed_on(house: House) -> None:
    room = await house.service.send_swarm(await house.make())
    await house.service.hosted(room.room_id, "swarm-s-1-AJ_1")
    [live] = await house.media.list()
    await house.tell("ended", live)
    await house.service.pass_on(room.room_id, "swarm-s-1-AJ_1")
    assert len(house.media.sent) == 1


async def test_room_that_could_not_be_passed_on_is_sent_on_by_whoever_serves_the_line_next(
    house: House,
) -> None:
    room = await house.service.send_swarm(await house.make())
    await house.service.hosted(room.room_id, "swarm-s-1-AJ_1")
    house.media.away = True
    await house.service.pass_on(room.room_id, "swarm-s-1-AJ_1")
    house.media.away = False
    await house.pool.execute("UPDATE room_swarms SET next_try = now()")
    await service_on(house.pool, house.media, house.finalise).queue.look()
    assert len(house.media.sent) == 2
    assert await house.service.revive("s-1") == 0


async def test_room_of_a_living_server_is_left_alone(house: House) -> None:
    room = await house.service.send_swarm(await house.make())
    await house.service.hosted(room.room_id, "swarm-s-2-AJ_1")
    assert await house.service.revive("s-1") == 0
    assert len(house.media.sent) == 1


async def test_voice_of_a_bot_is_not_taken_for_the_host(house: House) -> None:
    room = await house.service.send_swarm(await house.make())
    await house.service.hosted(room.room_id, "swarm-s-1-AJ_1")
    [live] = await house.media.list()
    await house.tell("joined", live, identity="bot-scout", is_agent=True)
    await house.tell("left", live, identity="bot-scout", is_agent=True)
    assert (await house.room()).agent == "swarm-s-1-AJ_1"


async def test_rooms_are_revived_when_postgresql_answers_again(house: House) -> None:
    room = await house.service.send_swarm(await house.make())
    await house.service.hosted(room.room_id, "swarm-s-1-AJ_1")
    broken = BrokenOnce(house.service)
    reviver = Reviver(broken, SystemClock())
    async with background(reviver.run()):
        reviver.died("s-1")

        await eventually(lambda: len(house.media.sent) == 2, what="the swarm, sent anew")

    assert broken.refused == 1
