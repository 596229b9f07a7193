"""Writers that go on talking whatever happens to the servers, and remember what was acked when."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import msgspec

from src.state.models import Version
from tests.support.cluster_settings import eventually

_PAUSE_S = 0.03
_ANSWER_WITHIN_S = 15.0


class Failed(Exception):
    """A request had no answer that counts at any of its tries."""


class Said(NamedTuple):
    """An acked turn."""

    key: str
    version: Version
    at: float
    """When the ack arrived, on `time.monotonic`."""


class Talk:
    """One writer per conversation; each says a turn and reads it back on another server.

    `tries` bounds the attempts of one request, each at the next server; whoever runs out of them
    raises `Failed`, and so does the block.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        urls: Sequence[str],
        conversations: Sequence[str],
        *,
        tries: int,
        pace_s: float,
    ) -> None:
        self._session = session
        self._urls = urls
        self._tries = tries
        self._pace_s = pace_s
        self._over = False
        self._may_speak = {id: asyncio.Event() for id in conversations}
        for one in self._may_speak.values():
            one.set()
        self.acked: dict[str, list[Said]] = {id: [] for id in conversations}
        self.under_way: set[str] = set()
        """Conversations with a turn on its way, or being read back."""
        self.requests = self.repeated = 0
        self.longest_s = 0.0

    async def begin(self) -> None:
        people = [{"id": "ada", "kind": "person", "name": "Ada"}]
        for seat, id in enumerate(self.acked):
            await self._ask(seat, "POST", "", f"open-{id}", {"id": id, "participants": people})

    def end(self) -> None:
        """Let every writer finish what it is at."""
        self._over = True
        self.let_speak()

    def hush(self, conversations: Iterable[str]) -> None:
        """Let these writers say nothing, after what they are at, until `let_speak`."""
        for id in conversations:
            self._may_speak[id].clear()

    def let_speak(self) -> None:
        for one in self._may_speak.values():
            one.set()

    async def grown(self, by: int, within_s: float = 20.0) -> None:
        """Return when each conversation that may speak has so many turns more than now."""
        speaking = [id for id, may in self._may_speak.items() if may.is_set()]
        wanted = {id: len(self.acked[id]) + by for id in speaking}
        await eventually(
            lambda: all(len(self.acked[id]) >= count for id, count in wanted.items()),
            within_s,
            what=f"{by} more turns in each conversation",
        )

    async def write(self, seat: int, id: str) -> None:
        said = {"author": {"kind": "person", "id": "ada"}, "text": "go on"}
        for number in itertools.count(1):
            await self._may_speak[id].wait()
            if self._over:
                return
            self.under_way.add(id)
            key = f"turn-{number}"
            answer = await self._ask(seat + number, "POST", f"/{id}/messages", key, said)
            version = Version.parse(answer["version"])
            self.acked[id].append(Said(key, version, time.monotonic()))
            await self._ask(seat + number + 1, "GET", f"/{id}", "")
            self.under_way.discard(id)
            await asyncio.sleep(self._pace_s)

    async def _ask(self, at: int, method: str, path: str, key: str, body: Any = None) -> Any:
        self.requests += 1
        began, problems = time.monotonic(), []
        for attempt in range(self._tries):
            self.repeated += attempt > 0
            if attempt > 1:
                await asyncio.sleep(_PAUSE_S)
            url = f"{self._urls[(at + attempt) % len(self._urls)]}/api/v1/conversations{path}"
            try:
                async with self._session.request(
                    method,
                    url,
                    headers={"Idempotency-Key": key},
                    data=None if body is None else msgspec.json.encode(body),
                ) as response:
                    answer = await response.read()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                problems.append(f"{url}: {error!r}")
                continue
            if response.status < 300:
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                return msgspec.json.decode(answer)
            problems.append(f"{url}: {response.status} {answer[:200]!r}")
        raise Failed("; ".join(problems[-3:]))

    def __str__(self) -> str:
        turns = sum(map(len, self.acked.values()))
        return (
            f"{turns} turns, {self.requests} requests, {self.repeated} repetitions, the longest "
            f"request {self.longest_s:.2f} s"
        )


@asynccontextmanager
async def talking(
    urls: Sequence[str],
    token: str,
    conversations: Sequence[str],
    *,
    tries: int,
    pace_s: float = 0.02,
) -> AsyncIterator[Talk]:
    """Talk for the length of the block; every request of it succeeds, or the block fails."""
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        timeout=aiohttp.ClientTimeout(total=_ANSWER_WITHIN_S),
    ) as session:
        talk = Talk(session, urls, conversations, tries=tries, pace_s=pace_s)
        await talk.begin()
        async with asyncio.TaskGroup() as tasks:
            for seat, id in enumerate(conversations):
                tasks.create_task(talk.write(seat, id))
            yield talk
            talk.end()
