"""Secrets that pass through a server stay out of all it logs, at the level that says most."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from src.api.auth.principals import Role
from src.api.auth.tokens import issue_token
from src.demo.processes import free_ports
from src.embedded import Servers
from tests.support.cluster_settings import eventually

JWT_SECRET = "planted-jwt-" + "b7c1d9e3" * 6
INTERNAL_SECRET = "planted-internal-" + "a0f4c2d8" * 6
LIVEKIT_SECRET = "planted-livekit-" + "d3e7a1f5" * 6
ROOT = Path(__file__).parents[2]
TALKATIVE = """
import logging
from src.api import logs
from src.demo import server
server.configure_logs = lambda **_: logs.configure_logs(level=logging.DEBUG)
server.main()
"""


@asynccontextmanager
async def server(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[tuple[str, Path]]:
    """Run a server that logs all it can; give its URL and its log."""
    (port,) = free_ports(1)
    url, log = f"http://127.0.0.1:{port}", folder / "server.log"
    environment = {
        "SWARMSTATE_API_JWT_SECRET": JWT_SECRET,
        "SWARMSTATE_INTERNAL_SECRET": INTERNAL_SECRET,
        # Nobody is there: what is asked of it, and that it is silent, is logged too.
        "SWARMSTATE_LIVEKIT_URL": "ws://127.0.0.1:1",
        "SWARMSTATE_LIVEKIT_API_KEY": "tests",
        "SWARMSTATE_LIVEKIT_API_SECRET": LIVEKIT_SECRET,
        "SWARMSTATE_LIVEKIT_TIMEOUT": "300ms",
        "SWARMSTATE_API_PORT": str(port),
        "SWARMSTATE_SERVER_URL": url,
        **settings,
    }
    with log.open("ab") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            TALKATIVE,
            stdin=asyncio.subprocess.PIPE,
            stdout=file,
            stderr=file,
            env=environment,
            cwd=ROOT,
        )
    try:
        yield url, log
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def token(subject: str, *roles: Role) -> str:
    return issue_token(JWT_SECRET, subject, roles)


def planted(name: str) -> str:
    return f"planted-{name}-5f1d2c3b4a"


async def test_nothing_that_is_secret_is_logged(
    database_url: str, redis_url: str, servers: Servers, tmp_path: Path
) -> None:
    good, bad = token("root", Role.ADMIN), token("zoe", Role.MEMBER)[:-4] + "AAAA"
    settings = {"SWARMSTATE_DATABASE_URL": database_url, "SWARMSTATE_REDIS_URL": redis_url}
    async with (
        server(tmp_path, settings) as (url, log),
        aiohttp.ClientSession(url, timeout=aiohttp.ClientTimeout(total=20)) as http,
    ):

        async def is_ready() -> bool:
            try:
                async with http.get("/health/ready") as answer:
                    return answer.status == 200
            except aiohttp.ClientError:
                return False

        await eventually(is_ready, 60, what="the server answers")
        auth = {"Authorization": f"Bearer {good}"}
        for method, path, headers, body in (
            ("GET", "/status", {"Authorization": f"Bearer {bad}"}, None),
            ("GET", "/status", {"Authorization": f"Basic {planted('basic')}"}, None),
            ("GET", "/status", {**auth, "Cookie": f"session={planted('cookie')}"}, None),
            ("GET", "/status", {**auth, "X-Api-Key": planted("header")}, None),
            ("GET", f"/api/v1/bots?token={good}&cursor={planted('query')}!", auth, None),
            ("GET", f"/nowhere?password={planted('lost')}", {}, None),
            ("POST", "/internal/v1/given", auth, {"ids": [planted("internal")]}),
            ("POST", "/api/v1/bots", auth, {"name": "Ada", "api_key": planted("field")}),
            ("POST", "/api/v1/bots", auth, {"id": "ada", "name": planted("body")}),
            ("POST", "/api/v1/conversations", auth, {"id": "c-1", "participants": []}),
            ("POST", "/api/v1/conversations/c-1/messages", auth, {"text": planted("turn")}),
            ("POST", "/api/getToken", auth, {"participant_name": planted("name")}),
            ("GET", f"/api/token?room=r-1&name={planted('short')}", auth, None),
            ("POST", "/api/v1/webhooks/livekit", {"Authorization": planted("signature")}, None),
        ):
            async with http.request(method, path, headers=headers, json=body) as answer:
                await answer.read()
        options: dict[str, Any]
        for options in (
            {"params": {"conversation_id": "c-1", "token": good}},
            {"params": {"conversation_id": "c-1"}, "protocols": ("swarmstate", good)},
            {"params": {"conversation_id": "c-1", "token": bad}},
        ):
            with suppress(aiohttp.WSServerHandshakeError):
                async with http.ws_connect("/ws/live", **options) as live:
                    await live.send_json({"type": "say", "text": planted("live")})
                    await live.receive_json()
        servers.kill_redis()
        servers.kill_postgres()
        for _ in range(3):
            async with http.get("/api/v1/bots", headers=auth) as answer:
                await answer.read()

        async def is_told() -> bool:
            return "rung.entered" in log.read_text()

        await eventually(is_told, 20, what="the loss of the stores is logged")

    told = log.read_text()
    assert "livekit.silent" in told
    assert told.count("http.request") >= 17
    secret = {
        "the users' secret": JWT_SECRET,
        "the servers' secret": INTERNAL_SECRET,
        "LiveKit's secret": LIVEKIT_SECRET,
        "a token": good.rpartition(".")[2],
        "a token that is no good": bad.rpartition(".")[2],
        "PostgreSQL's password": urlsplit(database_url).password or "",
        "Redis' password": urlsplit(redis_url).password or "",
        "anything planted": "5f1d2c3b4a",
    }
    leaks = {
        what: [line.replace(text, "***")[:400] for line in told.splitlines() if text in line]
        for what, text in secret.items()
        if text and text in told
    }
    assert leaks == {}


@pytest.mark.parametrize("store", ["SWARMSTATE_DATABASE_URL", "SWARMSTATE_REDIS_URL"])
async def test_a_store_that_cannot_be_reached_is_named_without_its_password(
    database_url: str, redis_url: str, tmp_path: Path, store: str
) -> None:
    (free,) = free_ports(1)
    nowhere = {
        "SWARMSTATE_DATABASE_URL": f"postgresql://u:{planted('store')}@127.0.0.1:{free}/s",
        "SWARMSTATE_REDIS_URL": f"redis://:{planted('store')}@127.0.0.1:{free}/0",
    }
    settings = {"SWARMSTATE_DATABASE_URL": database_url, "SWARMSTATE_REDIS_URL": redis_url}
    async with server(tmp_path, {**settings, store: nowhere[store]}) as (_, log):

        async def is_told() -> bool:
            return store in log.read_text()

        await eventually(is_told, 60, what="the process says why it ended")

    told = log.read_text()
    assert f":***@127.0.0.1:{free}" in told
    assert planted("store") not in told
