"""Bots and teams over HTTP: versions, ETags, history; the same on every server."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from src.api.auth.principals import Role
from src.state.records.edits import OUTBOX_LOCK
from tests.support.api import RunningServer, running_server
from tests.support.cluster_settings import eventually
from tests.support.embedding import let_wait

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


async def test_of_a_hundred_edits_of_one_version_one_wins_each_round(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    async with pair[0].as_("ed", Role.EDITOR) as here, pair[1].as_("ed", Role.EDITOR) as there:
        await here.post("/api/v1/bots", json=ADA)
        for version in (1, 2, 3):
            answers = await asyncio.gather(
                *(
                    (here, there)[number % 2].patch(
                        "/api/v1/bots/ada",
                        json={"persona": f"{version}.{number}"},
                        headers={"If-Match": f'"{version}"'},
                    )
                    for number in range(100)
                )
            )
            won = [one for one in answers if one.status_code == 200]
            lost = [one for one in answers if one.status_code == 412]
            assert (len(won), len(lost)) == (1, 99)
            assert won[0].json()["version"] == version + 1
        history = (await there.get("/api/v1/bots/ada/history")).json()["versions"]

    assert [one["version"] for one in history] == [4, 3, 2, 1]
    assert history[0]["persona"] == won[0].json()["persona"]


@pytest.mark.directly("the line is one server's")
async def test_edits_in_line_hold_one_connection_of_their_server(
    database_url: str, redis_url: str
) -> None:
    """PostgreSQL takes edits one by one: those that wait for it leave the pool to others."""
    waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    let_wait(database_url)
    minute = timedelta(minutes=1)
    patient = {"statement_timeout": minute, "submit_timeout": minute}

    async def in_line() -> bool:
        return 'size{buffer="waiting_edits",kind=""} 19.0' in (await ed.get("/metrics")).text

    async with (
        running_server(database_url, redis_url, state=patient) as server,
        server.as_("ed", Role.EDITOR, Role.VIEWER) as ed,
    ):
        ed.timeout = 60
        other = await asyncpg.connect(database_url)
        try:
            async with other.transaction():
                await other.execute(f"SELECT pg_advisory_xact_lock({OUTBOX_LOCK})")
                edits = [
                    asyncio.ensure_future(ed.post("/api/v1/bots", json={"name": f"{number}"}))
                    for number in range(20)
                ]
                await eventually(in_line, 30)
                holding = await other.fetchval(waiting)
        finally:
            await other.close()
        answers = await asyncio.gather(*edits)

    assert holding == 1
    assert [one.status_code for one in answers] == [201] * 20


async def test_config_that_the_client_has_is_not_sent_again(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    async with pair[0].as_("ed", Role.EDITOR) as here, pair[1].as_("ed", Role.EDITOR) as there:
        made = await here.post("/api/v1/bots", json=ADA)
        same = await there.get("/api/v1/bots/ada", headers={"If-None-Match": made.headers["etag"]})
        edited = await here.patch("/api/v1/bots/ada", json={"persona": "Dry"})
        seen = {"X-Swarm-Version": edited.headers["x-swarm-version"]}
        new = await there.get(
            "/api/v1/bots/ada", headers={"If-None-Match": made.headers["etag"], **seen}
        )

    assert (same.status_code, same.content) == (304, b"")
    assert (new.status_code, new.json()["persona"]) == (200, "Dry")
    assert new.headers["x-swarm-freshness"] == "fresh"
    assert new.headers["x-swarm-tier"] in ("l1", "l2", "l3")


async def test_versions_are_compared_and_put_back(server: RunningServer) -> None:
    async with server.as_("ed", Role.EDITOR) as ed:
        await ed.post("/api/v1/bots", json=ADA)
        await ed.patch("/api/v1/bots/ada", json={"persona": "Dry", "providers": {"llm": "a/b"}})
        diff = await ed.get("/api/v1/bots/ada/diff", params={"from": 1})
        await ed.delete("/api/v1/bots/ada")
        late = await ed.post(
            "/api/v1/bots/ada/rollback", json={"version": 1}, headers={"If-Match": '"2"'}
        )
        back = await ed.post(
            "/api/v1/bots/ada/rollback", json={"version": 2}, headers={"If-Match": '"3"'}
        )
        missing = await ed.get("/api/v1/bots/ada/diff", params={"from": 1, "to": 9})
        strange = await ed.post("/api/v1/bots/ada/rollback", json={"version": 1, "why": "x"})

    assert diff.json() == {
        "id": "ada",
        "from": 1,
        "to": 2,
        "changes": [
            {"path": "persona", "before": "", "after": "Dry"},
            {"path": "providers.llm", "before": "", "after": "a/b"},
        ],
    }
    assert late.status_code == 412
    assert (back.status_code, back.json()["version"], back.json()["persona"]) == (200, 4, "Dry")
    assert missing.status_code == 404
    assert (strange.status_code, strange.json()["errors"][0]["field"]) == (422, "why")


async def test_routines_subtopics_and_settings_have_the_same_routes(server: RunningServer) -> None:
    bad = {"name": "Lesson", "steps": [{"type": "wait"}, {"type": "tool", "tool": 1}]}
    async with server.as_("ed", Role.EDITOR) as ed:
        refused = await ed.post("/api/v1/routines", json=bad)
        for id, topic in (("a", "one"), ("b", "two")):
            body = {"id": id, "topic": topic, "title": "T"}
            assert (await ed.post("/api/v1/subtopics", json=body)).status_code == 201
        of_topic = (await ed.get("/api/v1/subtopics", params={"topic": "two"})).json()
        unknown = await ed.post("/api/v1/settings", json={"id": "colours", "value": {}})
        made = await ed.post("/api/v1/settings", json={"id": "limits", "value": {"credits": 5}})
        changed = await ed.patch("/api/v1/settings/limits", json={"value": {"tool_calls": 2}})

    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "steps[1].tool")
    assert [one["id"] for one in of_topic["subtopics"]] == ["b"]
    assert of_topic["as_of"] == 2
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (409, "id")
    assert made.status_code == 201
    assert changed.json()["value"] == {"credits": 5, "tool_calls": 2}
