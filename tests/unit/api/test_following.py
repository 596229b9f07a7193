"""What a caller is sent, and when that ends."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import aclosing, contextmanager

from pydantic import SecretStr

from src.api.auth.door import Door
from src.api.auth.tokens import Tokens
from src.api.following import while_allowed
from src.api.lifespan import Drain
from tests.unit.api.given import Revoked, caller

SECRET = SecretStr("a secret of tests, at least thirty-two characters")
ZOE = caller("zoe")
IDLE_S = 60.0


class Watched(Revoked):
    """Tells who watches, as the real one does."""

    def __init__(self) -> None:
        super().__init__()
        self.futures: set[asyncio.Future[None]] = set()
        self.watched = asyncio.Event()

    @contextmanager
    def watching(self, token_id: str, user_id: str) -> Iterator[asyncio.Future[None]]:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.futures.add(future)
        self.watched.set()
        try:
            yield future
        finally:
            self.futures.discard(future)

    def tell(self) -> None:
        """Say that something of somebody's was revoked."""
        for future in self.futures:
            future.set_result(None)


async def never() -> AsyncIterator[int]:
    await asyncio.Event().wait()
    yield 0


async def numbers() -> AsyncIterator[int]:
    for number in itertools.count():
        yield number


def allowed(revoked: Watched, events: AsyncIterator[int]) -> AsyncGenerator[int | None, None]:
    door = Door(Tokens(SECRET.get_secret_value()))
    door.open(revoked)
    return while_allowed(events, Drain(), door, ZOE, idle_s=IDLE_S)


async def test_an_older_tokens_end_neither_ends_a_newer_ones_stream_nor_fills_it() -> None:
    """Logging out everywhere and in again: the news may come after the new token does."""
    revoked = Watched()
    async with asyncio.timeout(20), aclosing(allowed(revoked, never())) as told:
        upcoming = asyncio.ensure_future(anext(told, "end"))
        await revoked.watched.wait()
        revoked.watched.clear()

        revoked.tell()
        # It watches on, and has sent nothing: there is nothing to say for a minute.
        await revoked.watched.wait()
        assert not upcoming.done()

        revoked.tokens.add(ZOE.session)
        revoked.tell()
        assert await upcoming == "end"


async def test_nothing_is_sent_once_the_caller_is_revoked() -> None:
    revoked = Watched()
    async with asyncio.timeout(20), aclosing(allowed(revoked, numbers())) as told:
        assert await anext(told) == 0
        revoked.tokens.add(ZOE.session)
        revoked.tell()

        assert [event async for event in told] == []
