"""Servers of the API on loopback, in the test's own process and loop, on real stores."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from types import MappingProxyType
from typing import Any

import httpx
import uvicorn
from pydantic import SecretStr

from src.api.app import Api, create_app
from src.api.auth.principals import Role
from src.api.auth.tokens import issue_token
from src.api.lifespan import internal_secret
from src.api.livekit.opening import open_media
from src.api.settings import ApiSettings
from src.state.models import Places
from src.state.settings import StateSettings
from src.swarm.opened import Runtime
from src.swarm.rooms.calls import Calls
from src.swarm.rooms.protocols import Media
from src.swarm.rooms.settings import LiveKitSettings
from src.swarm.runtime import open_runtime
from src.swarm.settings import RuntimeSettings, SwarmSettings

NOTHING: Mapping[str, Any] = MappingProxyType({})
SECRET = "a secret of tests, at least thirty-two characters"


def token(subject: str, *roles: Role) -> str:
    return issue_token(SECRET, subject, roles or (Role.MEMBER,))


def bearer(subject: str, *roles: Role) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(subject, *roles)}"}


class RunningServer:
    """A server that listens; `as_` gives a client with a token."""

    def __init__(self, app: Api, url: str, runtime: Runtime) -> None:
        self.app = app
        self.url = url
        self.runtime = runtime

    @asynccontextmanager
    async def as_(self, subject: str, *roles: Role) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(
            base_url=self.url, headers=bearer(subject, *roles), timeout=20
        ) as client:
            yield client


@asynccontextmanager
async def running_server(
    database_url: str,
    redis_url: str,
    *,
    state: Mapping[str, Any] = NOTHING,
    livekit: LiveKitSettings | None = None,
    media: Media | None = None,
    places: int = 100,
    host_calls: Callable[[Runtime], AbstractAsyncContextManager[Calls]] | None = None,
    **settings: Any,
) -> AsyncIterator[RunningServer]:
    """Serve until the end of the block; `state` and the rest are settings of those rooms.

    With `livekit` it has rooms there, or with `media` rooms as that says, and then says that it has
    so many places for them. With `host_calls` it takes sound too.
    """
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    runtime = RuntimeSettings(
        StateSettings(
            database_url=SecretStr(database_url), redis_url=SecretStr(redis_url), **state
        ),
        SwarmSettings(server_url=url, internal_secret=SecretStr(internal_secret(SECRET))),
        livekit,
    )

    runtimes: list[Runtime] = []

    @asynccontextmanager
    async def opened() -> AsyncIterator[Runtime]:
        async with (
            open_media(runtime.livekit) as real,
            open_runtime(runtime, media=media or real) as one,
        ):
            runtimes.append(one)
            if media is not None or livekit is not None:
                one.workers.offer(lambda: Places(places))
                await one.workers.tell()
            hosting = nullcontext() if host_calls is None else host_calls(one)
            async with hosting as app.state.calls:
                yield one

    app = create_app(ApiSettings(jwt_secret=SecretStr(SECRET), **settings), opened, runtime.livekit)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        ws="websockets-sansio",
        lifespan="on",
        proxy_headers=False,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started:
            if serving.done():
                serving.result()
                raise RuntimeError("the server did not start")
            await asyncio.sleep(0.01)
        yield RunningServer(app, url, runtimes[-1])
    finally:
        app.drain.begin()
        server.should_exit = True
        await serving
        listening.close()
