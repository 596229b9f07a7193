"""LiveKit's webhooks: believed by their signature alone, and acted on once."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import httpx
import pytest
from livekit import api

from src.api.auth.principals import Role
from tests.support.api import RunningServer, bearer
from tests.support.livekit import KEY, SECRET, settings_for, signature
from tests.support.media import MemoryMedia

URL = "/api/v1/webhooks/livekit"
LIVEKIT = settings_for("ws://livekit.invalid")
BEGAN = 1_795_997_296_496


@pytest.fixture
def given() -> dict[str, Any]:
    return {"livekit": LIVEKIT, "media": MemoryMedia()}


@pytest.fixture
async def server(server: RunningServer) -> RunningServer:
    """A server with the room r-1, of whose life nothing but its making is known."""
    async with server.as_("zoe") as zoe:
        await zoe.post("/api/v1/rooms", json={"id": "r-1"})
    return server


def event(event: str, id: str = "EV_1", room: str = "r-1", **more: Any) -> bytes:
    life = {"name": room, "sid": "RM_9", "creationTime": "1", "creationTimeMs": str(BEGAN)}
    return json.dumps({"event": event, "id": id, "createdAt": "1", "room": life, **more}).encode()


async def told(server: RunningServer, body: bytes, signed: str | None = None) -> httpx.Response:
    headers = {"Content-Type": "application/webhook+json"}
    headers["Authorization"] = signature(body) if signed is None else signed
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as livekit:
        return await livekit.post(URL, content=body)


async def sid(server: RunningServer) -> str:
    async with server.as_("zoe") as zoe:
        return str((await zoe.get("/api/v1/rooms/r-1")).json()["sid"])


async def test_a_signed_message_is_heard_and_acted_on(server: RunningServer) -> None:
    answer = await told(server, event("room_started"))

    assert (answer.status_code, answer.content) == (200, b"")
    assert await sid(server) == "RM_9"


STARTED = event("room_started")
ROOM_TOKEN = (
    api.AccessToken(KEY, SECRET)
    .with_identity("zoe")
    .with_grants(api.VideoGrants(room_join=True, room="r-1"))
    .to_jwt()
)
FORGED = {
    "of another body": signature(event("room_finished")),
    "of the same value written otherwise": signature(
        json.dumps(json.loads(STARTED)).encode() + b" "
    ),
    "with a scheme before it": f"Bearer {signature(STARTED)}",
    "by another secret": signature(STARTED, secret="another secret, 32 characters at least"),
    "that expired": signature(STARTED, lifetime=timedelta(minutes=-2)),
    "that is a token for a room": ROOM_TOKEN,
    "that is a token of ours": bearer("zoe")["Authorization"].removeprefix("Bearer "),
    "that is none": "nonsense",
    "that is empty": "",
}


@pytest.mark.parametrize("signed", FORGED.values(), ids=FORGED)
async def test_a_signature_is_refused(server: RunningServer, signed: str) -> None:
    answer = await told(server, STARTED, signed)

    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert await sid(server) != "RM_9"


async def test_a_message_without_a_signature_is_refused(server: RunningServer) -> None:
    async with httpx.AsyncClient(base_url=server.url) as anybody:
        answer = await anybody.post(URL, content=STARTED)

    assert answer.status_code == 401


async def test_a_message_is_acted_on_once(server: RunningServer) -> None:
    agent: dict[str, Any] = {"participant": {"identity": "agent-1", "kind": "AGENT"}}
    joined = event("participant_joined", "EV_1", **agent)
    answers = [
        await told(server, joined),
        await told(server, event("participant_left", "EV_2", **agent)),
        await told(server, joined),
    ]
    async with server.as_("zoe") as zoe:
        room = (await zoe.get("/api/v1/rooms/r-1")).json()

    assert [one.status_code for one in answers] == [200] * 3
    assert room["agent"] == ""


@pytest.mark.directly("a server counts for itself")
async def test_a_message_is_counted_once(alone: RunningServer) -> None:
    async with alone.as_("zoe") as zoe:
        await zoe.post("/api/v1/rooms", json={"id": "r-1"})
    for id in ("EV_1", "EV_2", "EV_1"):
        await told(alone, event("room_started", id))
    async with alone.as_("vic", Role.VIEWER) as vic:
        metrics = (await vic.get("/metrics")).text

    assert "swarmstate_livekit_messages_total 2.0" in metrics


@pytest.mark.parametrize(
    "body",
    [
        event("track_published"),
        event("egress_started"),
        event("a_new_kind_of_event", somethingNew={"a": 1}),
        event("room_started", room="another-applications"),
        b'{"event": "room_started", "id": "EV_1"}',
        b"{}",
        b"[]",
    ],
)
async def test_what_is_of_no_concern_is_taken_so_that_it_does_not_come_again(
    server: RunningServer, body: bytes
) -> None:
    assert (await told(server, body)).status_code == 200
    assert await sid(server) != "RM_9"


@pytest.mark.parametrize("body", [b"\xff\xfe", b"", b"not JSON"])
async def test_what_is_no_message_is_refused_though_it_is_signed(
    server: RunningServer, body: bytes
) -> None:
    assert (await told(server, body)).status_code == 401
