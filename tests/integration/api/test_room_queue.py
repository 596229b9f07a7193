"""Swarms that find no server with a free place, and the servers that host rooms, over HTTP."""

from __future__ import annotations

from datetime import datetime, timedelta

import asyncpg
import pytest

from src.api.auth.principals import Role
from tests.support.api import running_server
from tests.support.cluster_settings import eventually
from tests.support.livekit import settings_for
from tests.support.media import MemoryMedia

ROOMS = "/api/v1/rooms"
ROOM = f"{ROOMS}/r-1"
LIVEKIT = settings_for("ws://livekit.invalid", queue_timeout="5m")

pytestmark = pytest.mark.directly("its servers have settings of their own")


async def test_a_swarm_that_finds_no_place_is_told_its_place_in_line_and_its_deadline(
    database_url: str, redis_url: str
) -> None:
    media = MemoryMedia()
    async with (
        running_server(database_url, redis_url, livekit=LIVEKIT, media=media, places=0) as server,
        server.as_("zoe") as zoe,
    ):
        nobody = await zoe.get(f"{ROOM}/swarm")
        begun = await zoe.post("/agent/voice/automatic", json={})
        await zoe.post(ROOMS, json={"id": "r-1"})
        unasked = await zoe.get(f"{ROOM}/swarm")
        answer = await zoe.post(f"{ROOM}/swarm")
        read = await zoe.get(f"{ROOM}/swarm")

    told = answer.json()
    waits = datetime.fromisoformat(told["deadline"]) - datetime.fromisoformat(told["enqueued_at"])
    assert (answer.status_code, told["state"], told["position"]) == (202, "waiting", 2)
    assert (waits, told["dispatch_id"]) == (timedelta(minutes=5), None)
    assert (read.status_code, read.json()) == (200, told)
    assert begun.status_code == 202
    assert begun.json()["token"]
    assert (begun.json()["swarm"]["state"], begun.json()["swarm"]["position"]) == ("waiting", 1)
    assert [one.status_code for one in (nobody, unasked)] == [404, 404]
    assert media.sent == []


async def test_a_token_lets_people_in_while_their_swarm_waits(
    database_url: str, redis_url: str
) -> None:
    wish = {"room_name": "r-1", "room_config": {"agents": [{"agent_name": "swarmstate"}]}}
    given = {"livekit": LIVEKIT, "media": MemoryMedia(), "places": 0}
    async with (
        running_server(database_url, redis_url, **given) as server,  # type: ignore[arg-type]  # by name in tests
        server.as_("zoe") as zoe,
    ):
        await zoe.post(ROOMS, json={"id": "r-1"})
        token = await zoe.post("/api/getToken", json=wish)
        swarm = await zoe.get(f"{ROOM}/swarm")

    assert token.status_code == 201
    assert swarm.json()["state"] == "waiting"


async def test_a_server_that_comes_with_places_takes_who_waits_at_another(
    database_url: str, redis_url: str
) -> None:
    media = MemoryMedia()
    given = {"livekit": LIVEKIT, "media": media}
    async with (
        running_server(database_url, redis_url, **given, places=0) as full,  # type: ignore[arg-type]  # by name in tests
        full.as_("zoe") as zoe,
    ):
        await zoe.post(ROOMS, json={"id": "r-1"})
        waiting = await zoe.post(f"{ROOM}/swarm")
        async with running_server(database_url, redis_url, **given, places=1):  # type: ignore[arg-type]  # as above
            await eventually(lambda: len(media.sent) == 1, what="the swarm, sent")
        placed = await zoe.get(f"{ROOM}/swarm")

    assert waiting.status_code == 202
    assert (placed.json()["state"], placed.json()["position"]) == ("placed", None)


async def test_a_swarm_whose_sending_failed_too_often_waits_for_an_operator(
    database_url: str, redis_url: str
) -> None:
    given = {"livekit": LIVEKIT, "media": MemoryMedia()}
    async with (
        running_server(database_url, redis_url, **given) as server,  # type: ignore[arg-type]  # by name in tests
        server.as_("zoe") as zoe,
    ):
        await zoe.post(ROOMS, json={"id": "r-1"})
        await zoe.post(f"{ROOM}/swarm")
        connection = await asyncpg.connect(database_url)
        await connection.execute("UPDATE room_swarms SET state = 'dead', why = 'it is dark'")
        await connection.close()
        answer = await zoe.post(f"{ROOM}/swarm")
        read = await zoe.get(f"{ROOM}/swarm")

    assert (answer.status_code, answer.json()["code"]) == (409, "swarm_dead")
    assert "it is dark" in answer.json()["detail"]
    assert "swarmstate queue requeue r-1" in answer.json()["detail"]
    assert read.json()["state"] == "dead"


async def test_operators_see_who_hosts_rooms_who_waits_and_how_many_are_wanted(
    database_url: str, redis_url: str
) -> None:
    given = {"livekit": LIVEKIT, "media": MemoryMedia()}
    async with (
        running_server(database_url, redis_url, **given, places=2) as server,  # type: ignore[arg-type]  # by name in tests
        server.as_("zoe") as zoe,
        server.as_("vic", Role.VIEWER) as vic,
    ):
        for number in range(4):
            await zoe.post(ROOMS, json={"id": f"r-{number}"})
            await zoe.post(f"{ROOMS}/r-{number}/swarm")

        async def seen() -> bool:
            report = (await vic.get("/status/workers")).json()
            return (report["total_workers"], report["session_queue_length"]) == (1, 2)

        await eventually(seen, what="the server, and who waits")
        report = (await vic.get("/status/workers")).json()
        metrics = (await vic.get("/metrics")).text
        refused = await zoe.get("/status/workers")

    [worker] = report["workers"]
    assert (worker["url"], worker["state"], worker["capacity"]) == (server.url, "ready", 2)
    assert (report["total_places"], report["wanted_workers"]) == (2, 2)
    assert report["oldest_wait_s"] > 0
    assert "swarmstate_swarms_waiting 2.0" in metrics
    assert "swarmstate_workers_wanted 2.0" in metrics
    assert refused.status_code == 403
