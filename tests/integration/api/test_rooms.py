"""Rooms over HTTP, on a LiveKit in memory."""

from __future__ import annotations

from typing import Any

import pytest

from src.api.auth.principals import Role
from tests.integration.api.begun import begin
from tests.support.api import RunningServer, running_server
from tests.support.cluster_settings import eventually
from tests.support.livekit import settings_for
from tests.support.media import MemoryMedia

ROOMS = "/api/v1/rooms"
ROOM = f"{ROOMS}/r-1"
LIVEKIT = settings_for("ws://livekit.invalid")
PERSON = {"id": "max", "kind": "person", "name": "Max"}
NAMED = "SWARMSTATE_LIVEKIT_URL, SWARMSTATE_LIVEKIT_API_KEY and SWARMSTATE_LIVEKIT_API_SECRET"


@pytest.fixture
def media() -> MemoryMedia:
    return MemoryMedia()


@pytest.fixture
def given(media: MemoryMedia) -> dict[str, Any]:
    return {"livekit": LIVEKIT, "media": media, "state": {"blobs_url": "memory://"}}


async def participants(client: Any, conversation: str) -> dict[str, tuple[str, str]]:
    state = (await client.get(f"/api/v1/conversations/{conversation}")).raise_for_status().json()
    return {one["id"]: (one["kind"], one["name"]) for one in state["participants"]}


async def test_a_room_is_made_with_its_conversation(
    server: RunningServer, media: MemoryMedia
) -> None:
    async with server.as_("ed", Role.EDITOR) as ed:
        await ed.post("/api/v1/bots", json={"id": "ada", "name": "Ada"})
    async with server.as_("zoe") as zoe:
        made = await zoe.post(ROOMS, json={"name": "Algebra", "bots": ["ada", "bob"]})
        room = made.json()
        read = await zoe.get(made.headers["location"])
        members = await participants(zoe, room["conversation_id"])

    assert made.status_code == 201
    assert made.headers["location"] == f"{ROOMS}/{room['room_id']}"
    assert (room["name"], room["live"], room["open"], room["swarm"]) == (
        "Algebra",
        True,
        False,
        False,
    )
    assert read.json() == room
    assert members == {"ada": ("bot", "Ada"), "bob": ("bot", "bob"), "zoe": ("person", "zoe")}
    assert media.lives[room["room_id"]].conversation_id == room["conversation_id"]


async def test_a_room_of_a_team_has_its_bots_and_what_it_sets(server: RunningServer) -> None:
    team = {
        "id": "crew",
        "name": "Crew",
        "members": [{"bot": "ada", "role": "tutor"}],
        "defaults": {"blackboard": [{"id": "topic", "value": "halves"}]},
    }
    async with server.as_("ed", Role.EDITOR) as ed:
        await ed.post("/api/v1/teams", json=team)
    async with server.as_("zoe") as zoe:
        await zoe.post(ROOMS, json={"id": "r-1", "team": "crew"})
        state = (await zoe.get("/api/v1/conversations/r-1")).json()
        unknown = await zoe.post(ROOMS, json={"team": "nobody"})

    assert state["config"]["team_id"] == "crew"
    assert [one["value"] for one in state["blackboard"]] == ["halves"]
    assert {one["id"]: one.get("role", "") for one in state["participants"]} == {
        "ada": "tutor",
        "zoe": "",
    }
    assert (unknown.status_code, unknown.json()["code"]) == (404, "not_found")


async def test_making_a_room_again_finds_it(server: RunningServer, media: MemoryMedia) -> None:
    key = {"Idempotency-Key": "k-1"}
    async with server.as_("zoe") as zoe:
        by_id = [await zoe.post(ROOMS, json={"id": "r-1"}) for _ in range(2)]
        by_key = [await zoe.post(ROOMS, json={"name": "x"}, headers=key) for _ in range(2)]
    async with server.as_("eve") as eve:
        hers = await eve.post(ROOMS, json={"name": "x"}, headers=key)
        taken = await eve.post(ROOMS, json={"id": "r-1"})

    assert [one.status_code for one in (*by_id, *by_key)] == [201, 200, 201, 200]
    assert by_key[0].json()["room_id"] == by_key[1].json()["room_id"] != hers.json()["room_id"]
    assert (taken.status_code, taken.json()["code"]) == (409, "exists")
    assert len(media.lives) == 3


async def test_what_broke_in_the_middle_is_finished_by_the_same_request(
    server: RunningServer, media: MemoryMedia
) -> None:
    async with server.as_("zoe") as zoe:
        media.away = True
        failed = await zoe.post(ROOMS, json={"id": "r-1"})
        nothing = [await zoe.get(ROOM), await zoe.get("/api/v1/conversations/r-1")]
        media.away = False
        made = await zoe.post(ROOMS, json={"id": "r-1"})

    assert (failed.status_code, failed.json()["code"]) == (503, "livekit_unavailable")
    assert failed.headers["retry-after"] == "1"
    assert [one.status_code for one in nothing] == [404, 404]
    assert made.status_code == 201


async def test_a_conversation_may_be_given_a_voice_by_who_began_it(server: RunningServer) -> None:
    given = {"id": "r-1", "conversation_id": "c-1"}
    async with server.as_("carl") as carl, server.as_("zoe") as zoe:
        await begin(carl)
        others = await zoe.post(ROOMS, json=given)
        doubled = await carl.post(ROOMS, json={**given, "bots": ["ada"]})
        made = await carl.post(ROOMS, json=given)
        second = await carl.post(ROOMS, json={**given, "id": "r-2"})
        read = await zoe.get(ROOM)

    assert others.status_code == 403
    assert (doubled.status_code, doubled.json()["errors"][0]["field"]) == (409, "conversation_id")
    assert (made.status_code, made.json()["conversation_id"]) == (201, "c-1")
    assert (second.status_code, second.json()["errors"][0]["field"]) == (409, "conversation_id")
    assert read.status_code == 200


async def test_only_bots_and_workers_make_rooms_for_others(server: RunningServer) -> None:
    async with server.as_("eve") as eve, server.as_("worker", Role.SERVICE) as worker:
        refused = await eve.post(ROOMS, json={"user_id": "zoe"})
        made = await worker.post(ROOMS, json={"id": "r-1", "user_id": "zoe"})
        members = await participants(worker, "r-1")

    assert refused.status_code == 403
    assert made.status_code == 201
    assert members == {"zoe": ("person", "zoe")}


async def test_a_room_is_changed_in_versions(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe:
        await zoe.post(ROOMS, json={"id": "r-1", "name": "Algebra"})
        changed = await zoe.patch(ROOM, json={"open": True}, headers={"If-Match": '"1"'})
        stale = await zoe.patch(ROOM, json={"name": "x"}, headers={"If-Match": '"1"'})
        wrong = await zoe.patch(ROOM, json={"metadata": "x"})
        kept = await zoe.delete(ROOM, headers={"If-Match": '"1"'})
        gone = await zoe.delete(ROOM, headers={"If-Match": '"2"'})

    found = changed.json()
    assert (found["name"], found["open"], changed.headers["etag"]) == ("Algebra", True, '"2"')
    statuses = [one.status_code for one in (stale, wrong, kept, gone)]
    assert statuses == [412, 422, 412, 204]


async def test_members_see_the_rooms_of_their_conversations(server: RunningServer) -> None:
    async with (
        server.as_("carl") as carl,
        server.as_("zoe") as zoe,
        server.as_("eve") as eve,
        server.as_("vic", Role.VIEWER) as vic,
    ):
        await begin(carl)
        await carl.post(ROOMS, json={"id": "r-1", "conversation_id": "c-1"})
        await carl.post(ROOMS, json={"id": "r-2"})

        async def is_listed() -> bool:
            found = (await zoe.get(ROOMS)).json()["rooms"]
            return [one["room_id"] for one in found] == ["r-1"]

        await eventually(is_listed, what="the list of conversations follows")
        hers = (await eve.get(ROOMS)).json()
        page = (await vic.get(ROOMS, params={"limit": 1})).json()
        rest = (await vic.get(ROOMS, params={"cursor": page["next_cursor"]})).json()
        refused = [await eve.get(ROOM), await eve.patch(ROOM, json={"open": True})]
        refused += [await zoe.delete(ROOM), await vic.post(f"{ROOM}/swarm")]

    assert hers == {"rooms": [], "next_cursor": None}
    assert [one["room_id"] for one in (*page["rooms"], *rest["rooms"])] == ["r-1", "r-2"]
    assert [one.status_code for one in refused] == [403] * 4


async def test_a_worker_says_that_its_agent_and_a_bot_are_there(server: RunningServer) -> None:
    joined = f"{ROOM}/agent-joined"
    async with server.as_("worker", Role.SERVICE) as worker:
        await worker.post(ROOMS, json={"id": "r-1", "bots": ["ada"]})
        busy = {"type": "set_participant_state", "id": "ada", "state": "unavailable"}
        await worker.post("/api/v1/conversations/r-1/commands", json=busy)
        agent = await worker.post(joined, json={"agent_identity": "agent-1"})
        bot = await worker.post(joined, json={"agent_identity": "bot-ada", "bot_id": "ada"})
        stranger = await worker.post(joined, json={"agent_identity": "bot-x", "bot_id": "x"})
        room = (await worker.get(ROOM)).json()
        state = (await worker.get("/api/v1/conversations/r-1")).json()

    assert [one.status_code for one in (agent, bot)] == [204, 204]
    assert (stranger.status_code, stranger.json()["code"]) == (409, "not_a_participant")
    assert room["agent"] == "agent-1"
    assert [one.get("state", "ready") for one in state["participants"]] == ["ready"]


async def test_the_swarm_may_be_sent_for_by_who_may_speak(
    server: RunningServer, media: MemoryMedia
) -> None:
    async with server.as_("carl") as carl, server.as_("zoe") as zoe, server.as_("eve") as eve:
        await begin(carl)
        await carl.post(ROOMS, json={"id": "r-1", "conversation_id": "c-1"})
        answers = [await client.post(f"{ROOM}/swarm") for client in (eve, zoe, carl)]

    assert [one.status_code for one in answers] == [403, 200, 200]
    assert media.sent == [("r-1", "c-1")]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"metadata": "{}"}, None),
        ({"id": "a b"}, "id"),
        ({"bots": ["a b"]}, "bots[0]"),
        ({"name": ""}, "name"),
        ({"open": "yes"}, "open"),
    ],
)
async def test_what_is_wrong_is_named(
    server: RunningServer, body: dict[str, Any], field: str | None
) -> None:
    async with server.as_("zoe") as zoe:
        answer = await zoe.post(ROOMS, json=body)
    assert answer.status_code == 422, answer.text
    assert field is None or answer.json()["errors"][0]["field"] == field


@pytest.mark.directly("its server has settings of its own")
async def test_rooms_and_conversations_are_begun_and_ended_at_one_rate(
    database_url: str, redis_url: str, media: MemoryMedia
) -> None:
    rates: dict[str, Any] = {"rate_limits": "on", "rate_begin": "2/1h", "rate_delete": "1/1h"}
    async with (
        running_server(database_url, redis_url, livekit=LIVEKIT, media=media, **rates) as server,
        server.as_("zoe") as zoe,
    ):
        made = [await zoe.post("/api/v1/conversations", json={"id": "c-1"})]
        made += [await zoe.post(ROOMS, json={"id": f"r-{number}"}) for number in (1, 2)]
        made += [await zoe.post("/agent/voice/automatic", json={})]
        made += [await zoe.post("/api/getToken", json={})]
        ended = [await zoe.delete(ROOM), await zoe.delete("/api/v1/conversations/c-1")]

    assert [one.status_code for one in made] == [201, 201, 429, 429, 429]
    assert [one.status_code for one in ended] == [204, 429]


@pytest.mark.directly("its server has settings of its own")
async def test_without_a_livekit_the_missing_settings_are_named(
    database_url: str, redis_url: str
) -> None:
    async with running_server(database_url, redis_url) as server, server.as_("zoe") as zoe:
        answers = [
            await zoe.post(ROOMS, json={}),
            await zoe.get(ROOMS),
            await zoe.post("/api/getToken", json={}),
            await zoe.get("/api/token", params={"room": "r-1"}),
            await zoe.post("/agent/voice/automatic", json={}),
            await zoe.post("/api/v1/webhooks/livekit", content=b"{}"),
        ]
    found = {(one.status_code, one.json()["code"]) for one in answers}
    assert found == {(503, "not_configured")}
    assert all(NAMED in one.json()["detail"] for one in answers)


async def test_a_recording_is_wished_for_and_stopped_and_both_are_in_the_conversation(
    server: RunningServer, media: MemoryMedia
) -> None:
    async with server.as_("zoe") as zoe:
        room = (await zoe.post(ROOMS, json={"id": "r-1"})).json()
        conversation = f"/api/v1/conversations/{room['conversation_id']}"
        found = [(await zoe.get(f"{ROOM}/recording")).json()]
        for recording in (True, False):
            asked = await zoe.post(f"{ROOM}/recording", json={"recording": recording})
            assert asked.status_code == 200
            assert asked.json()["wanted"] is recording
            media.lives["r-1"].recorded = recording
            found.append((await zoe.get(f"{ROOM}/recording")).json())
            policy = (await zoe.get(conversation)).json()["config"]["policy"]
            assert policy == {"recording": recording}
        media.away = True
        found.append((await zoe.get(f"{ROOM}/recording")).json())

    assert [(one["wanted"], one["under_way"]) for one in found] == [
        (False, False),
        (True, True),
        (False, False),
        (False, None),
    ]


async def test_a_member_that_did_not_make_the_room_cannot_have_it_recorded(
    server: RunningServer,
) -> None:
    async with server.as_("zoe") as zoe:
        room = (await zoe.post(ROOMS, json={"id": "r-1"})).json()
        command = {"type": "add_participant", "participant": PERSON}
        path = f"/api/v1/conversations/{room['conversation_id']}/commands"
        (await zoe.post(path, json=command)).raise_for_status()
    async with server.as_("max") as other:
        asked = await other.post(f"{ROOM}/recording", json={"recording": True})
        read = await other.get(f"{ROOM}/recording")

    assert asked.status_code == 403
    assert read.json()["wanted"] is False


@pytest.mark.directly("it is about a server with other settings")
async def test_a_recording_can_be_stopped_but_not_begun_where_there_is_no_place_for_files(
    database_url: str, redis_url: str, given: dict[str, Any]
) -> None:
    async with (
        running_server(database_url, redis_url, **given | {"state": {}}) as server,
        server.as_("zoe") as zoe,
    ):
        await zoe.post(ROOMS, json={"id": "r-1"})
        begun = await zoe.post(f"{ROOM}/recording", json={"recording": True})
        stopped = await zoe.post(f"{ROOM}/recording", json={"recording": False})

    assert (begun.status_code, stopped.status_code) == (503, 200)
    assert "SWARMSTATE_BLOBS_URL" in begun.json()["detail"]
