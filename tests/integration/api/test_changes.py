"""Changes for consumers outside: in order, once, on whatever server, after whatever absence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest

from src.api.auth.principals import Role
from src.api.auth.tokens import issue_token
from tests.support.api import SECRET, RunningServer, running_server
from tests.support.cluster_runtimes import open_database

CHANGES = "/api/v1/changes"
Events = AsyncIterator[dict[str, Any]]


@asynccontextmanager
async def following(
    client: httpx.AsyncClient, place: str | None = None, **params: Any
) -> AsyncIterator[Events]:
    """Connect, and give id, event and data; what has an id alone is a frame as well."""
    headers = {} if place is None else {"Last-Event-ID": place}
    async with (
        asyncio.timeout(20),
        client.stream("GET", CHANGES, params=params, headers=headers) as answer,
    ):
        assert answer.status_code == 200, await answer.aread()
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _frames(answer.aiter_lines())


async def _frames(lines: AsyncIterator[str]) -> Events:
    fields: dict[str, Any] = {}
    async for line in lines:
        name, _, value = line.partition(": ")
        if line:
            fields[name] = value
        elif fields:
            if "data" in fields:
                fields["data"] = json.loads(fields["data"])
            yield fields
            fields = {}


async def take(events: Events, count: int) -> list[dict[str, Any]]:
    """The next changes and resets; frames that only move the place on are passed over."""
    taken = []
    async for frame in events:
        if "data" in frame:
            taken.append(frame)
        if len(taken) == count:
            break
    return taken


async def edit(client: httpx.AsyncClient, id: str, times: int = 1, kind: str = "bots") -> None:
    """Make a config, or go on from where it is."""
    for number in range(times):
        found = await client.patch(f"/api/v1/{kind}/{id}", json={"name": f"{id} {number}"})
        if found.status_code == 404:
            found = await client.post(f"/api/v1/{kind}", json={"id": id, "name": id})
        assert found.is_success, found.text


def told(frames: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(one["data"]["kind"], one["data"]["id"], one["data"]["version"]) for one in frames]


async def test_consumer_that_goes_away_and_comes_back_misses_nothing_and_sees_nothing_twice(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    async with pair[0].as_("ed", Role.EDITOR) as here, pair[1].as_("ed", Role.EDITOR) as there:
        got: list[dict[str, Any]] = []
        async with following(here) as events:
            place = (await anext(events))["id"]
            await edit(there, "ada", 3)
            got += await take(events, 2)
        for client in (there, here, there):
            await edit(here, "ada", 2)
            async with following(client, got[-1]["id"]) as events:
                await edit(there, "bea")
                got += await take(events, 3)
        async with following(there, place) as events:
            again = await take(events, len(got))

    versions = [version for _, id, version in told(got) if id == "ada"]
    assert versions == list(range(1, len(versions) + 1))
    positions = [one["data"]["position"] for one in got]
    assert positions == sorted(set(positions))
    assert again == got
    assert {one["event"] for one in got} == {"change"}
    assert set(got[0]["data"]) == {"position", "kind", "id", "version", "at"}


@pytest.mark.directly("its server has settings of its own")
async def test_filter_by_kind_and_id_still_moves_the_place_on(
    database_url: str, redis_url: str
) -> None:
    quick = timedelta(milliseconds=20)
    async with (
        running_server(database_url, redis_url, keep_alive=quick) as server,
        server.as_("ed", Role.EDITOR) as ed,
        following(ed, kind=["team", "bot"], id="ada") as events,
    ):
        await edit(ed, "bea")
        await edit(ed, "ada")
        await edit(ed, "ada", kind="teams")
        await edit(ed, "crew", kind="teams")
        got = await take(events, 2)
        last = got[-1]["data"]["position"]
        while True:
            frame = await anext(events)
            if frame["id"].endswith(f".{last + 1}"):
                break

    assert told(got) == [("bot", "ada", 1), ("team", "ada", 1)]
    assert set(frame) == {"", "id"}


async def test_place_that_retention_removed_is_told_and_the_stream_goes_on(
    server: RunningServer, database_url: str
) -> None:
    async with server.as_("ed", Role.EDITOR) as ed, open_database(database_url) as database:
        # More than a server remembers; when it tells of the last one it has heard of all.
        await database.value(
            "INSERT INTO outbox (kind, id, version) "
            "SELECT 'bot', 'other', number FROM generate_series(1, 1499) number"
        )
        async with following(ed) as events:
            await edit(ed, "ada")
            while told(await take(events, 1)) != [("bot", "ada", 1)]:
                pass
        await database.value("DELETE FROM outbox WHERE position < 1400")
        async with following(ed, after=3) as events:
            (reset,) = await take(events, 1)
            await edit(ed, "ada")
            (change,) = await take(events, 1)

    assert (reset["event"], reset["data"]) == ("reset", {"position": 1500})
    assert reset["id"].endswith(".1500")
    assert told([change]) == [("bot", "ada", 2)]


@pytest.mark.directly("its server drains")
async def test_stream_ends_with_the_token_and_with_the_server(alone: RunningServer) -> None:
    brief = issue_token(SECRET, "ed", [Role.EDITOR], lifetime=timedelta(seconds=2))
    async with (
        httpx.AsyncClient(
            base_url=alone.url, headers={"Authorization": f"Bearer {brief}"}, timeout=20
        ) as client,
        following(client) as events,
    ):
        assert [frame async for frame in events if "event" in frame] == []
    async with alone.as_("ed", Role.EDITOR) as ed:
        async with following(ed) as events:
            await anext(events)
            alone.app.drain.begin()
            *_, farewell = [frame async for frame in events]
        refused = await ed.get(CHANGES)

    assert farewell["retry"] == "100"
    assert (refused.status_code, refused.json()["code"]) == (503, "draining")


async def test_what_is_asked_for_wrongly_is_named(server: RunningServer) -> None:
    async with server.as_("ed", Role.EDITOR) as ed:
        answers = [
            await ed.get(CHANGES, params={"kind": "planet"}),
            await ed.get(CHANGES, params={"id": "a b"}),
            await ed.get(CHANGES, headers={"Last-Event-ID": "7"}),
            await ed.get(CHANGES, params={"after": -1}),
        ]
    assert [one.status_code for one in answers] == [422] * 4
    fields = [one.json()["errors"][0]["field"] for one in answers]
    assert fields == ["kind.0", "id.0", "Last-Event-Id", "after"]
