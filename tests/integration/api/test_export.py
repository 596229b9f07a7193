"""Exports: state, all events and an end, from any server, gone on with where they were cut."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.integration.api.begun import ROOM, begin
from tests.support.api import RunningServer


async def lines(client: httpx.AsyncClient, **params: int) -> list[dict[str, Any]]:
    answer = await client.get(f"{ROOM}/export", params=params)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/x-ndjson"
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_export_has_the_state_every_event_and_an_end(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    turn = {"conversation_id": "c-1", "user_message": "a?", "assistant_message": "b."}
    async with one.as_("zoe") as here, two.as_("zoe") as there:
        await begin(here)
        for _ in range(150):
            saved = await here.post("/api/v1/conversations/save-turn", json=turn)
        there.headers["X-Swarm-Version"] = saved.json()["version"]
        state = (await there.get(ROOM)).json()
        events = (await there.get(f"{ROOM}/events", params={"limit": 1000})).json()["events"]

        whole = await lines(there)
        rest = await lines(there, after=200)

    assert [line["line"] for line in whole] == ["state", *["event"] * 301, "end"]
    assert (whole[0]["state"], whole[-1]) == (state, {"line": "end", "seq": 301})
    assert whole[1:-1] == [event | {"line": "event"} for event in events]
    assert rest == whole[201:]


@pytest.mark.directly("its server drains")
async def test_export_that_is_cut_has_no_end(alone: RunningServer) -> None:
    async with alone.as_("zoe") as zoe:
        await begin(zoe)
        alone.app.drain.announce()
        cut = await lines(zoe)

    assert cut == []


async def test_export_is_for_those_who_may_read(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe, server.as_("eve") as eve:
        await begin(zoe)
        answers = [
            await client.get(f"/api/v1/conversations/{id}/export")
            for client, id in ((eve, "c-1"), (zoe, "none"))
        ]

    assert [answer.status_code for answer in answers] == [403, 404]
