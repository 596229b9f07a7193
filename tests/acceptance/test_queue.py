"""`swarmstate queue` on a real line: an operator finds what waits, and sends it on its way."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from src.state.records.rooms import Rooms
from src.state.records.swarm_queue import SwarmQueue
from src.state.tiers.postgres import Pool, open_pool
from src.swarm.rooms.queue import Queue
from src.swarm.rooms.service import RoomService
from tests.support.cluster_settings import settings
from tests.support.commands import run
from tests.support.livekit import settings_for
from tests.support.media import MemoryMedia
from tests.support.places import offer

LIVEKIT = settings_for("ws://livekit.invalid", queue_attempts=1)


async def over(room_id: str, began: int) -> None:
    """Nothing is said of lives that are over here."""


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with open_pool(settings(database_url)) as opened:
        yield opened


async def test_swarm_that_could_not_be_sent_is_listed_shown_requeued_sent_and_dropped(
    pool: Pool, database_url: str
) -> None:
    media = MemoryMedia()
    queue = Queue(SwarmQueue(pool), media, LIVEKIT)
    rooms = RoomService(Rooms(pool), media, queue, over)
    at = {"SWARMSTATE_DATABASE_URL": database_url}
    await offer(pool, 1)
    media.refuses_dispatch = True
    for id in ("r-1", "r-2"):
        live = await rooms.prepare(id, f"c-{id}")
        await rooms.send_swarm(await rooms.create(id, "Algebra", f"c-{id}", False, "zoe", live))
    media.refuses_dispatch = False

    listed = json.loads(run("queue", "list", "--state", "dead", "--json", **at).stdout)
    assert [(row["room_id"], row["state"], row["attempts"]) for row in listed] == [
        ("r-1", "dead", 1),
        ("r-2", "dead", 1),
    ]
    assert "r-2" in run("queue", "list", **at).stdout
    assert "state: dead" in run("queue", "show", "r-1", **at).stdout
    unknown = run("queue", "show", "r-9", **at)
    assert (unknown.returncode, "r-9" in unknown.stderr) == (1, True)

    back = run("queue", "requeue", "r-1", "r-9", "--wait", "5m", **at)
    assert (back.returncode, "r-9" in back.stderr) == (1, True)
    await queue.look()
    assert media.sent == [("r-1", "c-r-1")]
    placed = json.loads(run("queue", "show", "r-1", "--json", **at).stdout)
    assert (placed["state"], placed["position"]) == ("placed", 0)

    dropped = run("queue", "drop", "r-2", **at)
    assert (dropped.returncode, dropped.stdout) == (0, "dropped 1\n")
    assert run("queue", "drop", "r-1", **at).returncode == 1
    assert "nobody waits" in run("queue", "list", **at).stdout
    assert not (await rooms.get("r-2")).swarm
