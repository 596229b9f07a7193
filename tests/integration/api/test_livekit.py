"""Rooms on a real LiveKit server, which tells the running application of them by its webhooks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from livekit import api, rtc

from src.api.auth.principals import Role
from src.embedded.service import free_port
from src.swarm.rooms.protocols import AGENT
from tests.support.api import RunningServer, running_server
from tests.support.cluster_settings import eventually
from tests.support.livekit import KEY, SECRET, needs_livekit, running, settings_for

pytestmark = [needs_livekit, pytest.mark.directly("LiveKit tells this server, by its address")]

ROOMS = "/api/v1/rooms"
ROOM = f"{ROOMS}/r-1"
NEW = {"id": "r-1", "name": "Algebra", "bots": ["ada"]}
AGENT_GRANTS = api.VideoGrants(room_join=True, room="r-1", agent=True)


@dataclass
class Stage:
    """A server with rooms, its LiveKit, and LiveKit's own client to look from outside."""

    server: RunningServer
    url: str
    livekit: api.LiveKitAPI

    async def token(self, client: httpx.AsyncClient, room: str = "r-1", **fields: Any) -> str:
        answer = await client.post("/api/getToken", json={"room_name": room, **fields})
        assert answer.status_code == 201, answer.text
        assert answer.json()["server_url"] == self.url
        return str(answer.json()["participant_token"])

    @asynccontextmanager
    async def inside(self, token: str) -> AsyncIterator[rtc.Room]:
        """Be in a room for the length of the block."""
        room = rtc.Room()
        await room.connect(self.url, token)
        try:
            yield room
        finally:
            await room.disconnect()

    async def lives(self, room: str = "r-1") -> list[api.Room]:
        found = await self.livekit.room.list_rooms(api.ListRoomsRequest(names=[room]))
        return list(found.rooms)

    async def swarms(self, room: str = "r-1") -> list[Any]:
        """Return what LiveKit knows of swarms in a room that lives."""
        found = await self.livekit.agent_dispatch.list_dispatch(room)
        return [one for one in found if one.agent_name == AGENT]

    async def participant(self, identity: str) -> api.ParticipantInfo:
        asked = api.RoomParticipantIdentity(room="r-1", identity=identity)
        return await self.livekit.room.get_participant(asked)


@pytest.fixture
async def stage(database_url: str, redis_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    port = free_port()
    url = f"ws://127.0.0.1:{port}"
    given = settings_for(url, departure_timeout="1s")
    async with (
        running_server(database_url, redis_url, livekit=given) as server,
        api.LiveKitAPI(url, KEY, SECRET) as livekit,
    ):
        with running(tmp_path, port, f"{server.url}/api/v1/webhooks/livekit"):
            yield Stage(server, url, livekit)


async def shown(client: httpx.AsyncClient) -> dict[str, Any]:
    room: dict[str, Any] = (await client.get(ROOM)).raise_for_status().json()
    return room


async def test_a_token_lets_its_bearer_in_as_itself(stage: Stage) -> None:
    async with stage.server.as_("zoe") as zoe:
        made = (await zoe.post(ROOMS, json=NEW)).json()
        token = await stage.token(zoe, participant_name="Zoe Z.")
        async with stage.inside(token) as room:
            me = room.local_participant
            found = (room.name, room.metadata, me.identity, me.name, me.metadata, me.kind)

    assert made["room_id"] == "r-1"
    conversation, user = '{"conversation_id":"r-1"}', '{"user_id":"zoe"}'
    standard = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
    assert found == ("r-1", conversation, "zoe", "Zoe Z.", user, standard)


async def test_each_part_may_do_what_it_says(stage: Stage) -> None:
    """LiveKit's own word for it: publish, data, subscribe, change the metadata that says who."""
    allowed = {}
    async with (
        stage.server.as_("zoe") as zoe,
        stage.server.as_("yan") as yan,
        stage.server.as_("vic", Role.VIEWER) as vic,
    ):
        await zoe.post(ROOMS, json=NEW)
        member = {"id": "yan", "kind": "person", "name": "Yan"}
        command = {"type": "add_participant", "participant": member}
        await zoe.post("/api/v1/conversations/r-1/commands", json=command)
        for name, client in (("zoe", zoe), ("yan", yan), ("vic", vic)):
            async with stage.inside(await stage.token(client)) as room:
                await room.local_participant.set_metadata('{"user_id":"root"}')
                info = await stage.participant(name)
                may = info.permission
                allowed[name] = (may.can_publish, may.can_publish_data, may.can_subscribe)
                assert not may.can_update_metadata
                assert info.metadata == f'{{"user_id":"{name}"}}'

    assert allowed == {
        "zoe": (True, True, True),
        "yan": (True, True, True),
        "vic": (False, False, True),
    }


async def test_only_the_host_can_put_others_out(stage: Stage) -> None:
    async with stage.server.as_("zoe") as zoe, stage.server.as_("root", Role.SERVICE) as worker:
        await zoe.post(ROOMS, json=NEW)
        host = await stage.token(zoe)
        speaker = await stage.token(worker, participant_identity="yan")
        async with stage.inside(speaker) as yan:
            gone = asyncio.Event()
            yan.on("disconnected", lambda _: gone.set())
            asked = api.RoomParticipantIdentity(room="r-1", identity="yan")
            async with api.LiveKitAPI.with_token(speaker, stage.url) as theirs:
                with pytest.raises(api.ServerError) as refused:
                    await theirs.room.remove_participant(asked)
            async with api.LiveKitAPI.with_token(host, stage.url) as hosts:
                await hosts.room.remove_participant(asked)
            await asyncio.wait_for(gone.wait(), 10)

    assert refused.value.status in (401, 403)


async def test_the_application_follows_the_life_of_a_room(stage: Stage) -> None:
    async with stage.server.as_("zoe") as zoe:
        await zoe.post(ROOMS, json=NEW)
        (life,) = await stage.lives()
        before = await shown(zoe)
        async with stage.inside(await stage.token(zoe)):
            pass

        async def is_over() -> bool:
            return not (await shown(zoe))["live"]

        await eventually(is_over, 20, what="LiveKit says that the room has ended")
        after = await shown(zoe)

    assert (before["live"], before["sid"], before["name"]) == (True, life.sid, "Algebra")
    assert after["sid"] == life.sid
    assert await stage.lives() == []


async def test_however_often_it_is_asked_for_one_swarm_comes(stage: Stage) -> None:
    async with stage.server.as_("zoe") as zoe:
        await zoe.post(ROOMS, json=NEW)
        answers = await asyncio.gather(*(zoe.post(f"{ROOM}/swarm") for _ in range(5)))
        last = await zoe.post(f"{ROOM}/swarm")
        (swarm,) = await stage.swarms()
        room = await shown(zoe)

    # Who asks while it is being sent sees it in line yet.
    assert {one.status_code for one in answers} <= {200, 202}
    assert {one.json()["dispatch_id"] for one in answers} <= {swarm.id, None}
    told = last.json()
    assert (told["dispatch_id"], told["state"], told["agent_name"]) == (swarm.id, "placed", AGENT)
    assert swarm.metadata == '{"conversation_id":"r-1"}'
    assert (room["swarm"], room["dispatch_id"]) == (True, swarm.id)


async def test_a_token_that_asks_for_the_swarm_gets_it_into_a_room_that_lives(
    stage: Stage,
) -> None:
    """LiveKit's own way of it, in the token, passes over a room that was made before."""
    wish = {"agents": [{"agent_name": AGENT}]}
    async with stage.server.as_("zoe") as zoe:
        await zoe.post(ROOMS, json=NEW)
        await stage.token(zoe, room_config=wish)
        swarms = await stage.swarms()

    assert len(swarms) == 1


async def test_the_swarm_comes_again_when_people_return_to_a_room_that_was_empty(
    stage: Stage,
) -> None:
    async with stage.server.as_("zoe") as zoe:
        await zoe.post(ROOMS, json=NEW)
        await zoe.post(f"{ROOM}/swarm")
        (first,) = await stage.swarms()
        token = await stage.token(zoe)
        async with stage.inside(token):
            pass

        async def is_empty() -> bool:
            return await stage.lives() == []

        await eventually(is_empty, 20, what="LiveKit forgets the room")
        # By the token from before, so that nobody but LiveKit tells us.
        async with stage.inside(token) as room:

            async def has_come() -> bool:
                return bool(await stage.swarms())

            await eventually(has_come, 20, what="the swarm is sent again")
            (second,) = await stage.swarms()
            metadata = room.metadata

    assert second.id != first.id
    assert second.metadata == metadata == '{"conversation_id":"r-1"}'


async def test_an_agent_in_the_room_is_seen_by_its_kind(stage: Stage) -> None:
    token = api.AccessToken(KEY, SECRET).with_identity("agent-1").with_kind("agent")
    async with stage.server.as_("zoe") as zoe:
        await zoe.post(ROOMS, json=NEW)

        async def agent_is(identity: str) -> bool:
            return bool((await shown(zoe))["agent"] == identity)

        async with stage.inside(await stage.token(zoe)):
            async with stage.inside(token.with_grants(AGENT_GRANTS).to_jwt()):
                await eventually(lambda: agent_is("agent-1"), 20, what="the agent is noted")
            await eventually(lambda: agent_is(""), 20, what="its leaving is noted")


async def test_an_ended_room_has_nobody_in_it_and_stays_ended(stage: Stage) -> None:
    async with stage.server.as_("zoe") as zoe:
        await zoe.post(ROOMS, json=NEW)
        token = await stage.token(zoe)
        async with stage.inside(token) as room:
            out = asyncio.Event()
            room.on("disconnected", lambda _: out.set())
            ended = await zoe.delete(ROOM)
            await asyncio.wait_for(out.wait(), 10)
        # LiveKit begins a room anew for any good token. (Not by one here: it is ended as soon as we
        # hear of it, and whose connection ends half-way tries for a minute.)
        again = await stage.livekit.room.create_room(api.CreateRoomRequest(name="r-1"))

        async def is_over() -> bool:
            return await stage.lives() == []

        await eventually(is_over, within_s=20, what="the room ended again")
        gone = [await zoe.get(ROOM), await zoe.post("/api/getToken", json={"room_name": "r-1"})]
        kept = await zoe.get("/api/v1/conversations/r-1")

    assert ended.status_code == 204
    assert again.sid
    assert [one.status_code for one in gone] == [404, 404]
    assert kept.status_code == 200


async def test_one_call_is_enough_to_talk(stage: Stage) -> None:
    async with stage.server.as_("zoe") as zoe:
        answer = await zoe.post("/agent/voice/automatic", json={})
        begun = answer.json()
        async with stage.inside(begun["token"]) as room:
            inside = (room.name, room.local_participant.identity, room.metadata)
        swarms = await stage.swarms(begun["session_id"])

    assert answer.status_code == 201
    assert begun["room_url"] == stage.url
    conversation = begun["conversation_id"]
    assert inside == (begun["session_id"], "zoe", f'{{"conversation_id":"{conversation}"}}')
    assert len(swarms) == 1


async def test_a_guest_comes_into_an_open_room_as_nobody_else(
    database_url: str, redis_url: str, livekit: Any
) -> None:
    async with (
        running_server(database_url, redis_url, livekit=livekit, guests="allow") as server,
        server.as_("zoe") as zoe,
        httpx.AsyncClient(base_url=server.url) as anybody,
        api.LiveKitAPI(livekit.url, KEY, SECRET) as outside,
    ):
        made = (await zoe.post(ROOMS, json={"open": True})).json()
        asked = {"room": made["room_id"], "name": "Gus"}
        token = (await anybody.get("/api/token", params=asked)).json()["participant_token"]
        stage = Stage(server, livekit.url, outside)
        async with stage.inside(token) as room:
            me = room.local_participant
            found = (me.name, me.metadata, me.identity.startswith("guest-"))

    assert found == ("Gus", f'{{"user_id":"{me.identity}"}}', True)
