"""A conversation to start a test from."""

from __future__ import annotations

from typing import Any

import httpx

ROOM = "/api/v1/conversations/c-1"
BEGIN: dict[str, Any] = {
    "id": "c-1",
    "config": {"goal": "Plan the launch"},
    "participants": [
        {"id": "zoe", "kind": "person", "name": "Zoe"},
        {"id": "p-2", "kind": "person", "name": "Yan", "user_id": "yan"},
        {"id": "ada", "kind": "bot", "name": "Ada"},
    ],
}


async def begin(client: httpx.AsyncClient, **changes: Any) -> str:
    """Begin the conversation c-1 and return its version."""
    answer = await client.post("/api/v1/conversations", json={**BEGIN, **changes})
    assert answer.status_code == 201, answer.text
    version: str = answer.json()["version"]
    return version
