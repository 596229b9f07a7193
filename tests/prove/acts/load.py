"""A thousand rooms of text on one server, three bots in each: what is ours of an answer's time.

A person says something every ten seconds and is answered by one of the bots, whose provider takes
300 to 800 ms. Ours is the rest of the time from before the post until the answer is on the stream.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from statistics import quantiles
from typing import Any

import aiohttp
import msgspec

from src.swarm.configs.script import Script
from tests.prove.act import Act, Place, Result, Stopped
from tests.prove.stores import open_own_stores
from tests.support.cluster_processes import Cluster, open_cluster
from tests.support.cluster_settings import eventually
from tests.support.room_clients import open_session

_BOTS = ("scout", "tutor", "critic")
_THINK_MS = (300, 800)
_EVERY_S = 10.0
_LATE_S = 5.0
"""How long the last answers may take to come in."""
_OURS_MS = 20.0
_AT_ONCE = 50
"""Rooms that are begun at a time."""

_script = Script(think_ms=_THINK_MS)


class Room:
    """One conversation: somebody who talks at a pace, and hears the answers on its stream."""

    def __init__(self, session: aiohttp.ClientSession, url: str, id: str) -> None:
        self._session, self.id = session, id
        self._conversations = f"{url}/api/v1/conversations"
        self._said: dict[str, float] = {}
        self.ours_s: list[float] = []
        self.said = 0
        self.wrong: list[str] = []

    async def begin(self) -> None:
        members: list[dict[str, str]] = [{"id": "ada", "kind": "person", "name": "Ada"}]
        members += [{"id": bot, "kind": "bot", "name": bot.title()} for bot in _BOTS]
        body = {"id": self.id, "participants": members}
        start = {"type": "lifecycle", "action": "start"}
        await self._post(self._conversations, body)
        await self._post(f"{self._conversations}/{self.id}/commands", start)

    async def _post(self, url: str, body: dict[str, Any], **headers: str) -> dict[str, Any]:
        async with self._session.post(url, json=body, headers=headers) as response:
            answer: dict[str, Any] = await response.json()
            assert response.status < 300, answer
            return answer

    async def talk(self, until: float, first_s: float) -> None:
        """Say something every ten seconds, the first thing after `first_s`."""
        await asyncio.sleep(first_s)
        for number in itertools.count():
            began = time.monotonic()
            if began > until:
                return
            key = f"{self.id}-{number}"
            self._said[f"{key}:0"] = began
            body = {
                "author": {"kind": "person", "id": "ada"},
                "text": f"{_BOTS[number % len(_BOTS)]}, what do you make of number {number}?",
            }
            await self._post(
                f"{self._conversations}/{self.id}/messages", body, **{"Idempotency-Key": key}
            )
            self.said += 1
            await asyncio.sleep(max(0.0, began + _EVERY_S - time.monotonic()))

    async def listen(self) -> None:
        """Take the time of every answer, for ever."""
        async for message in self._messages():
            if message["author"]["kind"] != "bot":
                continue
            turn = message["reply_to"]
            began = self._said.pop(turn, None)
            if began is None:
                self.wrong.append(f"{self.id}: {turn} was answered twice")
            else:
                self.ours_s.append(time.monotonic() - began - _script.think_s(turn))

    async def _messages(self) -> AsyncIterator[dict[str, Any]]:
        async with self._session.get(
            f"{self._conversations}/{self.id}/stream?after=0",
            timeout=aiohttp.ClientTimeout(total=None),
        ) as response:
            async for line in response.content:
                if line.startswith(b"data: "):
                    item = msgspec.json.decode(line[6:])
                    if item.get("type") == "message_added":
                        yield item["data"]["message"]

    @property
    def unanswered(self) -> int:
        return len(self._said)


async def talking_rooms(place: Place, *, for_s: float, rooms: int) -> Result:
    """Have so many rooms talk for so long on one server."""
    async with AsyncExitStack() as stack:
        stores = await stack.enter_async_context(open_own_stores(place))
        cluster = await stack.enter_async_context(
            open_cluster(stores.database_url, stores.redis_url, place.folder, count=1)
        )
        session = await stack.enter_async_context(open_session(cluster.token))
        await _make_bots(session, cluster.urls[0])
        before = _resident(cluster)
        all_rooms = [Room(session, cluster.urls[0], f"room-{n}") for n in range(rooms)]
        for batch in range(0, rooms, _AT_ONCE):
            await asyncio.gather(*(room.begin() for room in all_rooms[batch : batch + _AT_ONCE]))
        listening = [asyncio.create_task(room.listen()) for room in all_rooms]
        try:
            await _talk(place, all_rooms, for_s)
            after = _resident(cluster)
        finally:
            for task in listening:
                task.cancel()
            await asyncio.gather(*listening, return_exceptions=True)
    return _result(all_rooms, after - before)


async def _make_bots(session: aiohttp.ClientSession, url: str) -> None:
    for id in _BOTS:
        options = {"llm": {"default": "I make {turn} of it.", "think_ms": _THINK_MS}}
        body = {"id": id, "name": id.title(), "providers": {"options": options}}
        async with session.post(f"{url}/api/v1/bots", json=body) as response:
            assert response.status == 201, await response.text()


async def _talk(place: Place, rooms: list[Room], for_s: float) -> None:
    began = time.monotonic()
    moments = random.Random(1)
    talking = asyncio.gather(
        *(room.talk(began + for_s, moments.uniform(0.0, _EVERY_S)) for room in rooms)
    )
    while not talking.done():
        if place.stop.is_set():
            talking.cancel()
            raise Stopped
        await asyncio.wait([talking], timeout=1.0)
        answered = sum(len(room.ours_s) for room in rooms)
        place.tell(f"talked for {time.monotonic() - began:.0f} s, {answered} answers")
    await talking
    with suppress(AssertionError):  # what is still unanswered then is a violation
        await eventually(lambda: not any(room.unanswered for room in rooms), _LATE_S)


def _resident(cluster: Cluster) -> int:
    [server] = cluster.servers
    return int(Path(f"/proc/{server.pid}/statm").read_text().split()[1]) * 4096


def _result(rooms: list[Room], grown: int) -> Result:
    ours_s = [one for room in rooms for one in room.ours_s]
    p95_ms = quantiles(ours_s, n=20)[-1] * 1000 if len(ours_s) > 1 else float("inf")
    unanswered = sum(room.unanswered for room in rooms)
    violations = [wrong for room in rooms for wrong in room.wrong]
    if unanswered:
        violations.append(f"{unanswered} turns were not answered")
    holds = "holds" if p95_ms < _OURS_MS else "DOES NOT HOLD"
    note = (
        f"{len(rooms)} rooms of text with three bots each on one server: of an answer's time "
        f"{p95_ms:.1f} ms were ours at p95 (< {_OURS_MS:.0f} ms {holds}); a room took "
        f"{grown / len(rooms) / 1024:.0f} KiB of memory"
    )
    return Result(
        counts={"talking_rooms": len(rooms), "acked_turns": sum(room.said for room in rooms)},
        figures={"answer_ours_s": ours_s, "room_bytes": [grown / len(rooms)]},
        violations=violations,
        notes=[note],
    )


async def _ten_minutes(place: Place) -> Result:
    return await talking_rooms(place, for_s=600.0, rooms=1000)


ACTS = (Act("thousand-rooms", "load", _ten_minutes, about_s=640, alone=True),)
