"""What lives as long as the application: the runtime below it, and the end of its streams."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import Protocol, TypedDict

from fastapi import FastAPI
from pydantic import SecretStr

from src.api.auth.accounts import Accounts
from src.api.auth.door import Door
from src.api.auth.identity_provider import open_provider
from src.api.auth.keys import ServiceKeys
from src.api.auth.passwords import Passwords
from src.api.livekit.opening import Keys, keys_of, open_media
from src.api.settings import ApiSettings
from src.api.strictness import check_strict
from src.invalidation.changes import ChangeFeed
from src.state.rates import Rates
from src.state.records.first_answers import FirstAnswers
from src.state.records.people import People
from src.swarm.erasing import Erasing
from src.swarm.files import FileService
from src.swarm.internal_tokens import InternalTokens
from src.swarm.opened import Runtime
from src.swarm.rooms.service import RoomService
from src.swarm.rooms.settings import LiveKitSettings
from src.swarm.rooms.workers import Workers
from src.swarm.runtime import open_runtime
from src.swarm.service import SwarmService
from src.swarm.settings import RuntimeSettings, SwarmSettings
from src.swarm.status import Status
from src.swarm.transfers import Transfers
from src.swarm.webhooks.service import WebhookService


class Opened(Protocol):
    """What the API needs of a runtime."""

    service: SwarmService
    status: Status
    tokens: InternalTokens
    first_answers: FirstAnswers
    rates: Rates
    changes: ChangeFeed
    files: FileService | None
    webhooks: WebhookService
    people: People
    erasing: Erasing
    downloads: Transfers
    rooms: RoomService | None
    workers: Workers


OpenRuntime = Callable[[], AbstractAsyncContextManager[Opened]]


class Drain:
    """Tells endless answers (event streams, live sessions) that this server is going away.

    A server that waits for its answers before it stops would wait for them for ever.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._watching: set[asyncio.Future[None]] = set()
        self._over = False
        self.begun = False

    def open(self) -> None:
        """Belong to the running loop."""
        self._loop = asyncio.get_running_loop()

    def announce(self) -> None:
        """Say that this server is going away, and take no new streams; those there are go on."""
        self.begun = True

    def begin(self) -> None:
        """End all streams, and take no new ones. It never waits."""
        self.begun = self._over = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._finish)

    @contextmanager
    def watching(self) -> Iterator[asyncio.Future[None]]:
        """Give a future that is done when the streams end; to be waited for only.

        Each has its own: to stop waiting for one that thousands wait for takes a look at them all.
        """
        future = asyncio.get_running_loop().create_future()
        self._watching.add(future)
        if self._over:
            future.set_result(None)
        try:
            yield future
        finally:
            self._watching.discard(future)

    def _finish(self) -> None:
        for future in self._watching:
            if not future.done():
                future.set_result(None)


class State(TypedDict):
    """What each request finds in `request.state`."""

    service: SwarmService
    status: Status
    internal: InternalTokens
    first_answers: FirstAnswers
    rates: Rates
    changes: ChangeFeed
    files: FileService | None
    webhooks: WebhookService
    accounts: Accounts
    erasing: Erasing
    downloads: Transfers
    keys: ServiceKeys
    rooms: RoomService | None
    workers: Workers
    livekit_keys: Keys | None
    livekit: LiveKitSettings


def internal_secret(jwt_secret: str) -> str:
    """Derive the secret between servers, so that one setting suffices for a cluster.

    A user's token is no good as a server's one: the keys differ.
    """
    return hmac.new(jwt_secret.encode(), b"swarmstate internal v1", hashlib.sha256).hexdigest()


@asynccontextmanager
async def runtime_from_environment(settings: ApiSettings) -> AsyncIterator[Runtime]:
    """Open the runtime that the `SWARMSTATE_*` settings describe."""
    swarm = SwarmSettings()
    if "internal_secret" not in swarm.model_fields_set:
        derived = internal_secret(settings.jwt_secret.get_secret_value())
        swarm = swarm.model_copy(update={"internal_secret": SecretStr(derived)})
    described = RuntimeSettings(swarm=swarm)
    check_strict(settings, described)
    async with (
        open_media(described.livekit) as media,
        open_runtime(described, media=media) as runtime,
    ):
        yield runtime


def lifespan(
    open_it: OpenRuntime,
    drain: Drain,
    opened: Callable[[Opened], None],
    settings: ApiSettings,
    livekit: LiveKitSettings,
    door: Door,
) -> Callable[[FastAPI], AbstractAsyncContextManager[State]]:
    """Return FastAPI's lifespan: open the runtime, tell `opened`, close it at the end."""

    @asynccontextmanager
    async def live(_: FastAPI) -> AsyncIterator[State]:
        drain.open()
        passwords = Passwords(settings.password_threads)
        async with open_it() as runtime:
            people = runtime.people
            runtime.status.bounded += [people.revocations.buffers, passwords.buffers]
            opened(runtime)
            keys = ServiceKeys(people.keys)
            async with AsyncExitStack() as stack:
                provider = await stack.enter_async_context(open_provider(settings, people.users))
                door.open(people.revocations, keys, provider)
                stack.enter_context(passwords.open())
                yield {
                    "service": runtime.service,
                    "status": runtime.status,
                    "internal": runtime.tokens,
                    "first_answers": runtime.first_answers,
                    "rates": runtime.rates,
                    "changes": runtime.changes,
                    "files": runtime.files,
                    "webhooks": runtime.webhooks,
                    "erasing": runtime.erasing,
                    "downloads": runtime.downloads,
                    "accounts": Accounts(people, passwords, settings),
                    "keys": keys,
                    "rooms": runtime.rooms,
                    "workers": runtime.workers,
                    "livekit_keys": keys_of(livekit),
                    "livekit": livekit,
                }

    return live
