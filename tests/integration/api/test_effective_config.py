"""What holds in a conversation over HTTP, and where each value comes from."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from src.api.auth.principals import Role
from tests.support.api import RunningServer

ROOM = "/api/v1/conversations/c-1/effective-config"
CREW = {"id": "crew", "name": "Crew", "defaults": {"limits": {"credits": 7}}}


async def effective(client: httpx.AsyncClient) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the answer, and its values by field."""
    answer = await client.get(ROOM)
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-swarm-freshness"] == "fresh"
    return answer.json(), {one["field"]: one for one in answer.json()["values"]}


async def test_each_value_says_where_it_comes_from_on_every_server(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    async with one.as_("root", Role.ADMIN) as here, two.as_("root", Role.ADMIN) as there:
        begun = {
            "id": "c-1",
            "config": {"team_id": "crew", "limits": {"duration_s": 90}},
        }
        await here.post("/api/v1/conversations", json=begun)
        _, values = await effective(there)
        assert {one["origin"]["layer"] for one in values.values()} == {"default", "conversation"}

        await here.post("/api/v1/teams", json=CREW)
        limits = {"id": "limits", "value": {"credits": 1, "tool_calls": 5000}}
        await here.post("/api/v1/settings", json=limits)
        async with asyncio.timeout(10):
            while True:
                answer, values = await effective(there)
                if "global" in {one["origin"]["layer"] for one in values.values()}:
                    break
                await asyncio.sleep(0.01)

    assert answer["limits"]["credits"] == 7
    assert answer["limits"]["tool_calls"] == 1000
    assert values["limits.credits"]["origin"] == {"layer": "team", "id": "crew", "version": 1}
    assert values["limits.duration_s"]["origin"]["layer"] == "conversation"
    assert values["limits.tool_calls"] == {
        "field": "limits.tool_calls",
        "value": 1000,
        "origin": {"layer": "global", "id": "limits", "version": 1},
        "clamped_from": 5000,
    }


async def test_new_conversation_has_the_blackboard_of_its_team(server: RunningServer) -> None:
    board = [{"id": "pace", "value": {"words": 120}}, {"id": "mood", "value": "calm"}]
    crew = {"id": "crew", "name": "Crew", "defaults": {"blackboard": board}}
    async with server.as_("root", Role.ADMIN) as root:
        await root.post("/api/v1/teams", json=crew)
        begun = {
            "id": "c-1",
            "config": {"team_id": "crew"},
            "blackboard": [{"id": "mood", "value": "keen"}],
        }
        assert (await root.post("/api/v1/conversations", json=begun)).status_code == 201
        state = (await root.get("/api/v1/conversations/c-1")).json()

    assert {one["id"]: one["value"] for one in state["blackboard"]} == {
        "mood": "keen",
        "pace": {"words": 120},
    }


async def test_only_members_and_who_reads_all_see_it(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe, server.as_("eve") as eve:
        await zoe.post("/api/v1/conversations", json={"id": "c-1"})
        assert (await zoe.get(ROOM)).status_code == 200
        assert (await eve.get(ROOM)).status_code == 403
        assert (await zoe.get(ROOM.replace("c-1", "c-2"))).status_code == 404


async def test_two_who_change_one_config_lose_nothing_unnoticed(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    path = "/api/v1/conversations/c-1/config"
    async with pair[0].as_("zoe") as here, pair[1].as_("zoe") as there:
        begun = await here.post("/api/v1/conversations", json={"id": "c-1"})
        etag = {"If-Match": f'"{begun.json()["version"]}"'}
        both = await asyncio.gather(
            here.patch(path, json={"goal": "Ship"}, headers=etag),
            there.patch(path, json={"goal": "Sell"}, headers=etag),
        )
        assert sorted(one.status_code for one in both) == [200, 412]

        # Without a condition what is not named stays, so changes of two fields are both there.
        await asyncio.gather(
            here.patch(path, json={"limits": {"credits": 5}}),
            there.patch(path, json={"limits": {"tool_calls": 6}}),
        )
        config = (await here.get("/api/v1/conversations/c-1")).json()["config"]
        events = (await here.get("/api/v1/conversations/c-1/events")).json()["events"]

    assert config["limits"] == {"credits": 5, "tool_calls": 6}
    assert config["goal"] in ("Ship", "Sell")
    changed = [one["data"]["changed"] for one in events if one["type"] == "config_changed"]
    assert changed == [["goal"], ["limits"], ["limits"]]
