"""Clients of many conversations while a store is away: what they are shown, told and refused."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import aiohttp
import msgspec

from src.state.models import ZERO, Version
from tests.support.cluster_settings import eventually

_WITHIN_S = 20.0
_MEMBERS = [{"id": "ada", "kind": "person", "name": "Ada"}]


class Answer(msgspec.Struct, frozen=True):
    """What a server said, as far as the ladder decides it."""

    status: int
    took_s: float
    code: str = ""
    retry_after: str | None = None
    freshness: str = ""
    version: Version = ZERO

    @property
    def is_read_only(self) -> bool:
        """Refused as a server does that is known to be without PostgreSQL."""
        return (self.status, self.code) == (503, "read_only") and int(self.retry_after or 0) >= 1


class Crowd:
    """Conversations written through two servers and read on both.

    `broken` gathers what no outage may do: a read that fails or goes back, a write that is
    acknowledged and not there.
    """

    def __init__(self, session: aiohttp.ClientSession, urls: Sequence[str], count: int) -> None:
        self._session = session
        self._urls = urls
        self.ids = [f"crowd-{number}" for number in range(count)]
        self.acked = dict.fromkeys(self.ids, ZERO)
        self._unknown: dict[str, str] = {}
        """Keys of turns whose outcome is not known yet, by conversation."""
        self._numbers = itertools.count(1)
        self.counts: Counter[str] = Counter()
        self.reads_s: list[float] = []
        self.broken: list[str] = []

    async def begin(self) -> None:
        """Make every conversation, and have each read on every server."""
        for place, id in enumerate(self.ids):
            body = {"id": id, "participants": _MEMBERS}
            answer = await self._ask("POST", place, "", f"open-{id}", body)
            assert answer.status == 201, answer
            self.acked[id] = answer.version
            await self.say(place, id)
        for seat in range(len(self._urls)):
            await self.read_all(seat, own=True)

    async def say(self, seat: int, id: str) -> Answer:
        """Say a turn; one of unknown outcome is said again first, under its key."""
        key = self._unknown.get(id) or f"turn-{next(self._numbers)}"
        body = {"author": {"kind": "person", "id": "ada"}, "text": key}
        answer = await self._ask("POST", seat, f"/{id}/messages", key, body)
        if answer.status < 300:
            self._unknown.pop(id, None)
            self.acked[id] = max(self.acked[id], answer.version)
            self.counts["acked_turns"] += 1
        elif answer.code != "read_only":
            self._unknown[id] = key
            self.counts[answer.code or str(answer.status)] += 1
        else:
            self.counts["refused"] += 1
        return answer

    async def read(self, seat: int, id: str, *, own: bool = False) -> Answer:
        """Read a conversation; it must be there and not older than what was acked before.

        `own`: ask for the version that was acked just now, which no other server needs to have
        heard of yet.
        """
        before = self.acked[id]
        answer = await self._ask("GET", seat, f"/{id}", "", at_least=before if own else None)
        self.counts["reads"] += 1
        self.reads_s.append(answer.took_s)
        if answer.status != 200:
            self.broken.append(f"{id} on server {seat}: {answer.status} {answer.code}")
        elif answer.version < before:
            self.broken.append(f"{id} on server {seat}: {answer.version} after {before}")
        return answer

    async def read_all(self, seat: int, *, own: bool = False) -> Sequence[Answer]:
        """Read every conversation on one server, all at once."""
        return await asyncio.gather(*(self.read(seat, id, own=own) for id in self.ids))

    async def ask(self, seat: int, path: str) -> Answer:
        """GET something below the conversations."""
        return await self._ask("GET", seat, path, "")

    async def until_labelled(self) -> None:
        """Return when no owner's beat is good any more: until then it may call its own fresh."""

        async def is_labelled() -> bool:
            seats = range(len(self._urls))
            reads = [answer for seat in seats for answer in await self.read_all(seat)]
            return all(answer.freshness.startswith("stale; age=") for answer in reads)

        await eventually(is_labelled, _WITHIN_S, what="everything is labelled")

    async def without_postgres(self, seat: int) -> None:
        """Look once at a server that knows that PostgreSQL is away: all is read, nothing taken."""
        for id, answer in zip(self.ids, await self.read_all(seat), strict=True):
            if not answer.freshness.startswith("stale; age="):
                self.broken.append(f"{id} on server {seat}: {answer.freshness!r} without L3")
        for id in self.ids[:: max(1, len(self.ids) // 10)]:
            answer = await self.say(seat, id)
            if not answer.is_read_only:
                self.broken.append(f"a write of {id} on server {seat}: {answer}")

    async def status(self, seat: int) -> dict[str, Any]:
        """Return what a server says of itself."""
        async with self._session.get(f"{self._urls[seat]}/status") as response:
            status: dict[str, Any] = await response.json()
            return status

    async def rung(self, seat: int) -> str:
        """Return the rung on which a server stands."""
        return str((await self.status(seat))["ladder"]["rung"])

    async def until_on(self, rung: str, within_s: float = _WITHIN_S) -> None:
        """Return when every server stands on that rung."""

        async def all_are() -> bool:
            rungs = [await self.rung(seat) for seat in range(len(self._urls))]
            return set(rungs) == {rung}

        await eventually(all_are, within_s, what=f"every server is on {rung!r}")

    async def until_written(self, within_s: float = _WITHIN_S) -> None:
        """Say a turn in each conversation, those of unknown outcome first, until each is taken."""

        async def taken(place: int, id: str) -> None:
            async def is_taken() -> bool:
                return (await self.say(place, id)).status < 300 and id not in self._unknown

            await eventually(is_taken, within_s, what=f"{id} takes a turn again")

        await asyncio.gather(*(taken(place, id) for place, id in enumerate(self.ids)))

    async def _ask(
        self,
        method: str,
        seat: int,
        path: str,
        key: str,
        body: Any = None,
        at_least: Version | None = None,
    ) -> Answer:
        headers = {"Idempotency-Key": key} if key else {}
        if at_least is not None:
            headers["X-Swarm-Version"] = at_least.token
        url = f"{self._urls[seat % len(self._urls)]}/api/v1/conversations{path}"
        began = time.monotonic()
        async with self._session.request(
            method,
            url,
            headers=headers,
            data=None if body is None else msgspec.json.encode(body),
        ) as response:
            content = await response.read()
        problem = response.status >= 400
        given = response.headers
        return Answer(
            response.status,
            time.monotonic() - began,
            str(msgspec.json.decode(content)["code"]) if problem else "",
            given.get("Retry-After"),
            given.get("X-Swarm-Freshness", ""),
            Version.parse(given["X-Swarm-Version"]) if "X-Swarm-Version" in given else ZERO,
        )
