"""Bots and teams over HTTP: versions, ETags, history; the same on every server."""

from __future__ import annotations

import asyncio

from src.api.auth.principals import Role
from tests.support.api import RunningServer

ADA = {"id": "ada", "name": "Ada", "instructions": "Answer in one sentence."}


async def test_a_bot_lives_through_its_versions(server: RunningServer) -> None:
    async with server.as_("ed", Role.EDITOR) as ed:
        made = await ed.post("/api/v1/bots", json=ADA)
        patched = await ed.patch(
            "/api/v1/bots/ada", json={"persona": "Dry"}, headers={"If-Match": made.headers["etag"]}
        )
        replaced = await ed.put("/api/v1/bots/ada", json={"name": "Ada L."})
        deleted = await ed.delete("/api/v1/bots/ada", headers={"If-Match": '"3"'})
        gone = await ed.get("/api/v1/bots/ada")
        again = await ed.post("/api/v1/bots", json=ADA)
        history = await ed.get("/api/v1/bots/ada/history")

    assert (made.status_code, made.json()["version"], made.headers["etag"]) == (201, 1, '"1"')
    assert made.headers["location"] == "/api/v1/bots/ada"
    assert (patched.json()["version"], patched.json()["persona"]) == (2, "Dry")
    assert patched.json()["instructions"] == ADA["instructions"]
    assert (replaced.json()["version"], replaced.json()["persona"]) == (3, "")
    assert replaced.json()["updated_by"] == "ed"
    assert deleted.status_code == 204
    assert gone.status_code == 404
    assert (again.status_code, again.json()["code"]) == (409, "exists")
    versions = history.json()["versions"]
    assert [one["version"] for one in versions] == [4, 3, 2, 1]
    assert [one["deleted"] for one in versions] == [True, False, False, False]
    assert versions[2]["persona"] == "Dry"


async def test_an_edit_decided_on_an_old_version_is_refused(server: RunningServer) -> None:
    async with server.as_("ed", Role.EDITOR) as ed:
        await ed.post("/api/v1/bots", json=ADA)
        await ed.patch("/api/v1/bots/ada", json={"persona": "Dry"})
        old = {"If-Match": '"1"'}
        answers = [
            await ed.patch("/api/v1/bots/ada", json={"persona": "Wet"}, headers=old),
            await ed.put("/api/v1/bots/ada", json={"name": "X"}, headers=old),
            await ed.delete("/api/v1/bots/ada", headers=old),
        ]
        bot = (await ed.get("/api/v1/bots/ada")).json()

    assert [one.status_code for one in answers] == [412, 412, 412]
    assert (bot["version"], bot["persona"]) == (2, "Dry")


async def test_what_was_read_can_be_put_back(server: RunningServer) -> None:
    async with server.as_("ed", Role.EDITOR) as ed:
        await ed.post("/api/v1/bots", json=ADA)
        bot = (await ed.get("/api/v1/bots/ada")).json()
        answer = await ed.put("/api/v1/bots/ada", json={**bot, "voice": "alto"})
        moved = await ed.put("/api/v1/bots/ada", json={**bot, "id": "bea"})

    assert (answer.status_code, answer.json()["voice"]) == (200, "alto")
    assert (moved.status_code, moved.json()["errors"][0]["field"]) == (422, "id")


async def test_an_edit_on_one_server_is_obeyed_by_the_other(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    async with one.as_("ed", Role.EDITOR) as here, two.as_("ed", Role.EDITOR) as there:
        await here.post("/api/v1/bots", json=ADA)
        await there.get("/api/v1/bots/ada")
        await here.patch("/api/v1/bots/ada", json={"persona": "Dry"})
        async with asyncio.timeout(10):
            while True:
                if (await there.get("/api/v1/bots/ada")).json()["persona"] == "Dry":
                    break
                await asyncio.sleep(0.01)


async def test_lists_and_teams_have_the_same_shape(server: RunningServer) -> None:
    async with server.as_("ed", Role.EDITOR) as ed:
        for name in ("a", "b", "c"):
            await ed.post("/api/v1/teams", json={"id": name, "name": name})
        first = (await ed.get("/api/v1/teams", params={"limit": 2})).json()
        rest = await ed.get("/api/v1/teams", params={"cursor": first["next_cursor"]})
        members = await ed.patch("/api/v1/teams/a", json={"members": [{"bot": "ada"}]})

    assert [one["id"] for one in first["teams"]] == ["a", "b"]
    assert [one["id"] for one in rest.json()["teams"]] == ["c"]
    assert rest.json()["next_cursor"] is None
    assert members.json()["members"] == [{"bot": "ada", "role": "", "priority": 0}]
