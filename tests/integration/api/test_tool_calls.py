"""Tool calls over HTTP: asked for on one server, decided on the other, or by time."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from src.api.auth.principals import Role
from tests.integration.api.begun import ROOM, begin
from tests.support.api import RunningServer


async def submit(client: httpx.AsyncClient, type: str, **fields: Any) -> httpx.Response:
    return await client.post(f"{ROOM}/commands", json={"type": type, **fields})


async def test_call_is_approved_on_another_server_or_rejected_by_its_owner_in_time(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    scheduling = {"requires_approval": ["pay"], "approval_timeout_s": 1}
    async with one.as_("worker", Role.SERVICE) as worker, two.as_("zoe") as zoe:
        await begin(worker, config={"scheduling": scheduling, "limits": {"tool_calls": 2}})
        for name in ("wanted", "unheard"):
            asked = await submit(worker, "request_tool_call", tool="pay", caller="ada", id=name)
            assert asked.status_code == 200, asked.text
        more = await submit(worker, "request_tool_call", tool="pay", caller="ada")
        approved = await submit(zoe, "decide_tool_call", id="wanted", decision="approve")
        early = await submit(zoe, "decide_tool_call", id="unheard", decision="time_out")
        async with asyncio.timeout(10):
            async with zoe.stream("GET", f"{ROOM}/stream", params={"after": 1}) as events:
                async for line in events.aiter_lines():
                    if "rejected_by_timeout" in line:
                        break
        seen = {"X-Swarm-Version": approved.json()["version"]}
        calls = (await zoe.get(ROOM, headers=seen)).json()["pending_tool_calls"]

    assert (more.status_code, more.json()["code"]) == (409, "limit_tool_calls")
    assert (approved.status_code, early.status_code) == (200, 403)
    assert [(call["status"], call["decided_by"]) for call in calls] == [
        ("approved", "zoe"),
        ("rejected_by_timeout", "swarmstate"),
    ]
