"""Uploads to a conversation, and what is left of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx

from tests.support.api import RunningServer, bearer

FILES = "/api/v1/files"
OF_ROOM = {"conversation_id": "c-1"}
PLAN = b"the plan " * 1000


async def chunks(*given: bytes) -> AsyncIterator[bytes]:
    for chunk in given:
        yield chunk


async def upload(client: httpx.AsyncClient, content: Any = PLAN, **headers: str) -> httpx.Response:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(FILES, params=OF_ROOM, content=content, headers=given)


async def cut_upload(server: RunningServer, announced: int, sent: bytes) -> None:
    """Send some of what was announced, and go away."""
    address = urlsplit(server.url)
    _, writer = await asyncio.open_connection(address.hostname, address.port)
    head = (
        f"POST {FILES}?conversation_id=c-1 HTTP/1.1\r\nHost: x\r\nContent-Length: {announced}\r\n"
        f"Authorization: {bearer('zoe')['Authorization']}\r\n\r\n"
    )
    writer.write(head.encode() + sent)
    await writer.drain()
    writer.close()
    await writer.wait_closed()


async def rows(database_url: str) -> list[str]:
    """Return the state of each file that PostgreSQL knows."""
    connection = await asyncpg.connect(database_url)
    try:
        return [row["state"] for row in await connection.fetch("SELECT state FROM files")]
    finally:
        await connection.close()
