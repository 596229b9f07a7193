"""Tokens for rooms: who gets one, and what it says."""

from __future__ import annotations

import time
from typing import Any

import httpx
import jwt
import pytest

from src.api.auth.principals import Role
from tests.integration.api.begun import begin
from tests.support.api import RunningServer, running_server
from tests.support.livekit import KEY, SECRET, settings_for
from tests.support.media import MemoryMedia

URL = "/api/getToken"
LIVEKIT = settings_for("http://livekit.invalid:7880", client_url="wss://rooms.example.org")


@pytest.fixture
def media() -> MemoryMedia:
    return MemoryMedia()


@pytest.fixture
def given(media: MemoryMedia) -> dict[str, Any]:
    return {"livekit": LIVEKIT, "media": media, "guests": "allow"}


@pytest.fixture
async def server(server: RunningServer) -> RunningServer:
    """A server with guests; c-1 has the room r-1, which is not open."""
    async with server.as_("carl") as carl:
        await begin(carl)
        await carl.post("/api/v1/rooms", json={"id": "r-1", "conversation_id": "c-1"})
    return server


async def asked(server: RunningServer, who: str, *roles: Role, **fields: Any) -> httpx.Response:
    async with server.as_(who, *roles) as client:
        return await client.post(URL, json={"room_name": "r-1", **fields})


def claims(answer: httpx.Response) -> dict[str, Any]:
    assert answer.is_success, answer.text
    token = answer.json()["participant_token"]
    found: dict[str, Any] = jwt.decode(token, SECRET, algorithms=["HS256"], issuer=KEY)
    return found


async def test_the_answer_is_livekits_standard(server: RunningServer) -> None:
    answer = await asked(server, "zoe")

    assert answer.status_code == 201
    assert set(answer.json()) == {"server_url", "participant_token"}
    assert answer.json()["server_url"] == "wss://rooms.example.org"
    assert answer.headers["cache-control"] == "no-store"


async def test_a_token_says_who_and_where_and_is_good_for_two_hours(
    server: RunningServer,
) -> None:
    found = claims(await asked(server, "yan", participant_name="Y."))

    assert (found["sub"], found["name"], found["metadata"]) == ("p-2", "Y.", '{"user_id":"yan"}')
    assert found["video"]["room"] == "r-1"
    assert abs(found["exp"] - time.time() - 7200) < 60
    assert found["roomConfig"]["metadata"] == '{"conversation_id":"c-1"}'
    assert "agents" not in found["roomConfig"]


@pytest.mark.parametrize(
    ("who", "roles", "publishes", "administers"),
    [
        ("carl", (), True, True),
        ("zoe", (), True, False),
        ("yan", (), True, False),
        ("vic", (Role.VIEWER,), False, False),
        ("zoe", (Role.VIEWER,), False, False),
        ("root", (Role.ADMIN,), True, True),
        ("worker", (Role.SERVICE,), True, False),
    ],
)
async def test_the_role_decides_what_a_token_grants(
    server: RunningServer, who: str, roles: tuple[Role, ...], publishes: bool, administers: bool
) -> None:
    grants = claims(await asked(server, who, *roles))["video"]

    assert (grants["canPublish"], grants["canPublishData"]) == (publishes, publishes)
    assert grants["canSubscribe"] is True
    assert grants.get("roomAdmin", False) is administers
    assert grants["canUpdateOwnMetadata"] is False
    # None of them may do these, whoever asks.
    assert not {"roomCreate", "roomList", "roomRecord", "recorder", "hidden", "agent"} & set(grants)


@pytest.mark.parametrize(("who", "roles"), [("eve", ()), ("ed", (Role.EDITOR,))])
async def test_who_has_no_right_to_the_conversation_gets_no_token(
    server: RunningServer, who: str, roles: tuple[Role, ...]
) -> None:
    assert (await asked(server, who, *roles)).status_code == 403


@pytest.mark.parametrize("identity", ["carl", "p-2", "nobody", "ada", "bot-ada"])
async def test_nobody_enters_in_anothers_name(server: RunningServer, identity: str) -> None:
    answer = await asked(server, "zoe", participant_identity=identity)

    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_ones_own_name_may_be_said(server: RunningServer) -> None:
    by_user = claims(await asked(server, "yan", participant_identity="yan"))
    by_member = claims(await asked(server, "yan", participant_identity="p-2"))

    assert by_user["sub"] == by_member["sub"] == "p-2"


async def test_workers_get_tokens_for_people_and_never_for_bots(server: RunningServer) -> None:
    worker = ("worker", Role.SERVICE)
    yan = claims(await asked(server, *worker, participant_identity="p-2"))
    new = claims(await asked(server, *worker, participant_identity="caller-7"))
    bots = [
        await asked(server, *worker, participant_identity=identity)
        for identity in ("ada", "bot-ada")
    ]
    root = claims(await asked(server, "root", Role.ADMIN, participant_identity="p-2"))

    assert (yan["metadata"], yan["name"]) == ('{"user_id":"yan"}', "Yan")
    assert (new["metadata"], new["name"]) == ('{"user_id":"caller-7"}', "caller-7")
    assert [one.status_code for one in bots] == [403, 403]
    assert "roomAdmin" not in root["video"]


@pytest.mark.parametrize(
    "fields",
    [
        {"participant_metadata": '{"user_id":"root"}'},
        {"participant_attributes": {"lk.agent.state": "speaking"}},
        {"participant_attributes": {f"a{number}": "" for number in range(17)}},
        {"participant_attributes": {"a": "x" * 501}},
        {"room_config": {"metadata": "{}"}},
        {"room_config": {"egress": {}}},
        {"room_config": {"agents": [{"agent_name": "another"}]}},
        {"room_config": {"agents": [{"agent_name": "swarmstate", "metadata": "{}"}]}},
        {"room_config": {"agents": [{"agent_name": "swarmstate"}] * 2}},
        {"grants": {"roomAdmin": True}},
        {"ttl": 1},
        {"room_name": "a b"},
    ],
)
async def test_what_is_not_a_clients_to_set_is_refused(
    server: RunningServer, fields: dict[str, Any]
) -> None:
    answer = await asked(server, "zoe", **fields)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


async def test_attributes_of_ones_own_go_along(server: RunningServer) -> None:
    found = claims(await asked(server, "zoe", participant_attributes={"avatar": "fox"}))

    assert found["attributes"] == {"avatar": "fox"}


async def test_what_a_library_sends_empty_is_as_if_it_were_left_out(server: RunningServer) -> None:
    empty = {"participant_metadata": "", "participant_attributes": {}, "room_config": {}}

    assert (await asked(server, "zoe", **empty)).status_code == 201


async def test_a_token_of_a_room_that_has_been_forgotten_begins_it_with_its_swarm(
    server: RunningServer, media: MemoryMedia
) -> None:
    wish = {"agents": [{"agent_name": "swarmstate"}]}
    await asked(server, "zoe", room_config=wish)
    await media.close("r-1")
    await asked(server, "zoe")

    assert media.sent == [("r-1", "c-1")] * 2


async def test_without_a_room_a_new_one_is_made(server: RunningServer, media: MemoryMedia) -> None:
    wish = {"agents": [{"agent_name": "swarmstate"}]}
    async with server.as_("eve") as eve:
        found = claims(await eve.post(URL, json={"room_config": wish}))
        rooms = (await eve.get("/api/v1/rooms")).json()["rooms"]

    (room,) = rooms
    assert found["video"]["room"] == room["room_id"]
    assert found["video"]["roomAdmin"] is True
    assert media.sent == [(room["room_id"], room["conversation_id"])]


async def test_a_room_that_is_not_there_is_named(server: RunningServer) -> None:
    answer = await asked(server, "zoe", room_name="r-9")

    assert (answer.status_code, answer.json()["detail"]) == (404, "there is no room 'r-9'")


async def test_the_short_form_takes_a_room_and_a_name(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe:
        answer = await zoe.get("/api/token", params={"room": "r-1", "name": "Z."})
        missing = await zoe.get("/api/token")

    assert answer.status_code == 200
    assert (claims(answer)["sub"], claims(answer)["name"]) == ("zoe", "Z.")
    assert missing.status_code == 422


# -- guests ----------------------------------------------------------------------------------------


async def guest_asks(server: RunningServer, **fields: Any) -> httpx.Response:
    async with httpx.AsyncClient(base_url=server.url) as anybody:
        return await anybody.post(URL, json={"room_name": "r-1", **fields})


async def test_a_guest_enters_open_rooms_only(server: RunningServer) -> None:
    closed = await guest_asks(server)
    nowhere = await guest_asks(server, room_name="r-9")
    new = await guest_asks(server, room_name=None)
    async with server.as_("carl") as carl:
        await carl.patch("/api/v1/rooms/r-1", json={"open": True})
    first, second = [claims(await guest_asks(server, participant_name="G.")) for _ in range(2)]
    named = await guest_asks(server, participant_identity="zoe")

    assert {one.status_code for one in (closed, nowhere, new)} == {401}
    # A stranger must not find out which rooms there are.
    assert closed.json()["detail"] == nowhere.json()["detail"]
    assert first["sub"] != second["sub"]
    assert first["sub"].startswith("guest-")
    assert first["metadata"] == f'{{"user_id":"{first["sub"]}"}}'
    assert "roomAdmin" not in first["video"]
    assert named.status_code == 403


async def test_a_guest_does_not_send_for_the_swarm(
    server: RunningServer, media: MemoryMedia
) -> None:
    async with server.as_("carl") as carl:
        await carl.patch("/api/v1/rooms/r-1", json={"open": True})
    wish = {"agents": [{"agent_name": "swarmstate"}]}

    assert (await guest_asks(server, room_config=wish)).status_code == 201
    assert media.sent == []


async def test_a_token_that_is_no_good_makes_nobody_a_guest(server: RunningServer) -> None:
    async with server.as_("carl") as carl:
        await carl.patch("/api/v1/rooms/r-1", json={"open": True})
    headers = {"Authorization": "Bearer nonsense"}
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as anybody:
        answer = await anybody.get("/api/token", params={"room": "r-1"})

    assert answer.status_code == 401


@pytest.mark.directly("its server has settings of its own")
async def test_there_are_no_guests_unless_they_are_allowed(
    database_url: str, redis_url: str, media: MemoryMedia
) -> None:
    async with running_server(database_url, redis_url, livekit=LIVEKIT, media=media) as server:
        async with server.as_("carl") as carl:
            await carl.post("/api/v1/rooms", json={"id": "r-1", "open": True})
        answer = await guest_asks(server)

    assert answer.status_code == 401


@pytest.mark.directly("its server has settings of its own")
async def test_tokens_are_counted_by_address_whoever_asks_but_workers(
    database_url: str, redis_url: str, media: MemoryMedia
) -> None:
    rates: dict[str, Any] = {"rate_limits": "on", "rate_token": "3/1h", "guests": "allow"}
    async with running_server(
        database_url, redis_url, livekit=LIVEKIT, media=media, **rates
    ) as server:
        async with server.as_("carl") as carl:
            await carl.post("/api/v1/rooms", json={"id": "r-1", "open": True})
        people = [await asked(server, "carl"), await guest_asks(server)]
        async with server.as_("carl") as carl:
            people.append(await carl.post("/agent/voice/automatic", json={}))
            people.append(await carl.get("/api/token", params={"room": "r-1"}))
        people.append(await guest_asks(server))
        workers = [await asked(server, "worker", Role.SERVICE) for _ in range(4)]

    assert [one.status_code for one in people] == [201, 201, 201, 429, 429]
    assert people[-1].headers["ratelimit-policy"].startswith('"room-token";q=3')
    assert {one.status_code for one in workers} == {201}
