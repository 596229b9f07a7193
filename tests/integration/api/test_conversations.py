"""Conversations over HTTP: begun, read, changed, listed, deleted; on any server."""

from __future__ import annotations

import asyncio
from datetime import datetime

import httpx
import pytest

from src.api.auth.principals import Role
from tests.integration.api.begun import BEGIN, ROOM, begin
from tests.support.api import RunningServer
from tests.support.cluster_settings import eventually


async def test_a_conversation_is_begun_and_read(server: RunningServer) -> None:
    async with server.as_("carl") as carl:
        answer = await carl.post("/api/v1/conversations", json=BEGIN)
        read = await carl.get(ROOM)

    assert answer.status_code == 201
    assert answer.headers["location"] == ROOM
    assert answer.headers["x-swarm-durability"] == "logged"
    assert answer.json()["version"] == answer.headers["x-swarm-version"]
    assert read.json()["config"]["goal"] == "Plan the launch"
    assert read.json()["created_by"] == "carl"
    assert read.headers["x-swarm-version"] == answer.json()["version"]


async def test_the_server_makes_an_id_and_finds_it_again_by_the_key(server: RunningServer) -> None:
    async with server.as_("carl") as carl:
        first = await carl.post("/api/v1/conversations", json={})
        keyed = [
            await carl.post("/api/v1/conversations", json={}, headers={"Idempotency-Key": "k-1"})
            for _ in range(2)
        ]
        taken = await carl.post("/api/v1/conversations", json={"id": first.json()["id"]})

    assert first.status_code == 201
    assert [one.status_code for one in keyed] == [201, 201]
    assert keyed[0].json()["id"] == keyed[1].json()["id"] != first.json()["id"]
    assert [one.json()["repeated"] for one in keyed] == [False, True]
    assert (taken.status_code, taken.json()["code"]) == (409, "exists")


@pytest.mark.directly("a server counts its own hot reads")
async def test_hot_and_cold_reads_give_the_same_answer(alone: RunningServer) -> None:
    async with alone.as_("carl") as carl:
        await begin(carl)
        hot = await carl.get(ROOM)
        hits = alone.app.state.traffic.hot_hits
        # A query goes past the hot layer to the route behind it.
        cold = await carl.get(ROOM, params={"through": "routing"})

    assert (hits, alone.app.state.traffic.hot_hits) == (1, 1)
    assert hot.content == cold.content
    names = {"date", "x-request-id"}
    assert {(n, v) for n, v in hot.headers.items() if n not in names} == {
        (n, v) for n, v in cold.headers.items() if n not in names
    }
    assert hot.headers["x-request-id"] != cold.headers["x-request-id"]


async def test_an_unchanged_state_is_not_sent_again(server: RunningServer) -> None:
    async with server.as_("carl") as carl:
        await begin(carl)
        etag = (await carl.get(ROOM)).headers["etag"]
        for given in (etag, f"W/{etag}", f'"0.1", {etag}', "*"):
            same = await carl.get(ROOM, headers={"If-None-Match": given})
            assert (same.status_code, same.content) == (304, b""), given
            assert same.headers["etag"] == etag
        other = await carl.get(ROOM, headers={"If-None-Match": '"0.1"'})

    assert other.status_code == 200


async def test_a_write_on_one_server_is_read_on_the_other(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    async with one.as_("zoe") as here, two.as_("zoe") as there:
        await begin(here)
        for number, client, other in ((1, here, there), (2, there, here)):
            said = await client.post(f"{ROOM}/messages", json={"text": f"turn {number}"})
            seen = {"X-Swarm-Version": said.json()["version"]}
            read = await other.get(ROOM, headers=seen)
            page = await other.get(f"{ROOM}/messages", headers=seen)

            assert said.status_code == 201
            assert read.json()["messages"][-1]["text"] == f"turn {number}"
            assert page.json()["messages"][0]["text"] == f"turn {number}"


async def test_a_version_that_nobody_has_is_not_waited_for(server: RunningServer) -> None:
    async with server.as_("carl") as carl:
        version = await begin(carl)
        epoch, _, seq = version.partition(".")
        ahead = {"X-Swarm-Version": f"{epoch}.{int(seq) + 1}"}
        answer = await carl.get(ROOM, headers=ahead)

    assert (answer.status_code, answer.json()["code"]) == (503, "behind")
    assert answer.headers["retry-after"] == "1"


async def test_the_config_is_patched_and_a_stale_etag_is_refused(server: RunningServer) -> None:
    async with server.as_("carl") as carl:
        await begin(carl)
        etag = (await carl.get(ROOM)).headers["etag"]
        patch = {"goal": "Ship", "limits": {"tool_calls": 7}}
        changed = await carl.patch(f"{ROOM}/config", json=patch, headers={"If-Match": etag})
        stale = await carl.patch(f"{ROOM}/config", json={"goal": "No"}, headers={"If-Match": etag})
        read = (await carl.get(ROOM)).json()

    assert changed.status_code == 200
    assert (stale.status_code, stale.json()["code"]) == (412, "precondition_failed")
    assert stale.json()["errors"][0]["field"] == "If-Match"
    assert read["config"]["goal"] == "Ship"
    assert read["config"]["limits"]["tool_calls"] == 7


async def test_commands_change_what_is_shared(server: RunningServer) -> None:
    commands = [
        {"type": "blackboard", "set": [{"id": "venue", "value": {"hall": 3}}]},
        {"type": "set_subtask", "id": "s-1", "description": "Book it", "assignee": "ada"},
        {"type": "pass_baton", "to": "ada"},
        {"type": "lifecycle", "action": "pause"},
    ]
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        for command in commands:
            answer = await zoe.post(f"{ROOM}/commands", json=command)
            assert answer.status_code == 200, answer.text
        state = (await zoe.get(ROOM)).json()

    assert state["blackboard"][0]["value"] == {"hall": 3}
    assert state["subtasks"][0]["assignee"] == "ada"
    assert state["baton"]["holder"] == "ada"
    assert state["status"] == "paused"


async def test_a_cheap_write_says_that_it_is_buffered(server: RunningServer) -> None:
    busy = {"type": "set_participant_state", "id": "ada", "state": "busy"}
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        cheap = await zoe.post(f"{ROOM}/commands", json=busy)
        safe = await zoe.post(
            f"{ROOM}/commands",
            json={**busy, "state": "ready"},
            headers={"X-Swarm-Durability": "logged"},
        )

    assert cheap.json()["durability"] == cheap.headers["x-swarm-durability"] == "buffered"
    assert safe.json()["durability"] == safe.headers["x-swarm-durability"] == "logged"


async def test_a_deleted_conversation_is_gone_and_its_id_is_not_used_again(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    async with one.as_("carl") as carl, two.as_("carl") as elsewhere:
        version = await begin(carl)
        await elsewhere.get(ROOM, headers={"X-Swarm-Version": version})
        deleted = await carl.delete(ROOM)
        gone = await carl.get(ROOM)
        seen = {"X-Swarm-Version": deleted.headers["x-swarm-version"]}
        gone_there = await elsewhere.get(ROOM, headers=seen)
        again = await carl.delete(ROOM)
        reborn = await carl.post("/api/v1/conversations", json=BEGIN)

    assert deleted.status_code == 204
    assert [one.status_code for one in (gone, gone_there, again)] == [404, 404, 404]
    assert reborn.status_code in (404, 409)


async def test_members_list_their_own_conversations_page_by_page(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe, server.as_("eve") as eve:
        for number in range(5):
            await begin(zoe, id=f"c-{number}")
        listed = await _all_listed(zoe, 5)
        others = await eve.get("/api/v1/conversations")
        asked = await eve.get("/api/v1/conversations", params={"member": "zoe"})
        bad = await zoe.get("/api/v1/conversations", params={"cursor": "nonsense"})

    assert listed == [f"c-{number}" for number in (4, 3, 2, 1, 0)]
    assert (others.json()["conversations"], others.json()["next_cursor"]) == ([], None)
    # An empty list too says of when it is.
    assert datetime.fromisoformat(others.json()["as_of"]).tzinfo is not None
    assert asked.status_code == 403
    assert (bad.status_code, bad.json()["errors"][0]["field"]) == (422, "cursor")


async def test_who_reads_all_lists_all_or_those_of_one(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe, server.as_("vic", Role.VIEWER) as viewer:
        await begin(zoe)
        await _all_listed(zoe, 1)
        all_of_them = await viewer.get("/api/v1/conversations")
        of_yan = await viewer.get("/api/v1/conversations", params={"member": "yan"})
        of_eve = await viewer.get("/api/v1/conversations", params={"member": "eve"})

    assert len(all_of_them.json()["conversations"]) == 1
    assert len(of_yan.json()["conversations"]) == 1
    assert of_eve.json()["conversations"] == []


async def _all_listed(client: httpx.AsyncClient, expected: int) -> list[str]:
    """Page through the list; summaries are written behind, so wait until all are there."""
    async with asyncio.timeout(15):
        while True:
            found: list[str] = []
            cursor: str | None = None
            while True:
                params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
                page = (await client.get("/api/v1/conversations", params=params)).json()
                found += [one["id"] for one in page["conversations"]]
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            if len(found) >= expected:
                return found
            await asyncio.sleep(0.1)


async def test_a_list_shows_nothing_to_whose_subject_is_the_id_of_anothers_participant(
    server: RunningServer,
) -> None:
    async with server.as_("carl") as carl, server.as_("yan") as yan, server.as_("p-2") as namesake:
        await begin(carl)

        async def is_listed() -> bool:
            return bool((await yan.get("/api/v1/conversations")).json()["conversations"])

        # The list lags behind by the write-behind delay.
        await eventually(is_listed)
        shown = (await namesake.get("/api/v1/conversations")).json()["conversations"]

    assert shown == []
