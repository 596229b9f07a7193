"""Clients that read what others write, and record what they were shown.

A pinned reader asks one server and sends no version: what it sees must be fresh by itself (I6) and
never go back (I5) as long as it is that server: of the next process at its address it is another
client. A roaming one asks any server and sends the highest version that anybody here was told,
writers and readers: read-your-writes across servers, and every answer is of its moment.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import aiohttp
import msgspec

from src.demo.processes import ServerProcess
from src.state.models import ZERO, Version
from tests.support.ledger import Ledger, Line, Seen, Unseen

NO_ANSWER = "no_answer"
"""The code of a read whose connection broke or whose time was up."""
_BUSY = 20
"""Every second read is of one of so many that were written last, the others are of any."""


class _Stats(msgspec.Struct, frozen=True):
    turns: int


class _Message(msgspec.Struct, frozen=True):
    id: str


class _State(msgspec.Struct, frozen=True):
    stats: _Stats
    messages: tuple[_Message, ...]


class _Problem(msgspec.Struct, frozen=True):
    code: str


_states = msgspec.json.Decoder(_State)
_problems = msgspec.json.Decoder(_Problem)


class Readers:
    """Reads of the conversations in `acked`, each with its last acked version, and last in line
    the one acked last. All lines go into the ledger."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        servers: Sequence[ServerProcess],
        ledger: Ledger,
        acked: Mapping[str, Version],
        seed: int,
    ) -> None:
        self._session, self._servers = session, servers
        self._ledger, self._acked = ledger, acked
        self._chance = random.Random(seed)
        self._shown: dict[str, Version] = {}
        self._fresh = self._stale = 0
        self.failed: Counter[str] = Counter()
        """Reads without an answer, by code."""
        self.at_once = frozenset(f"roaming-{number}" for number in range(len(servers)))
        """Clients whose unlabelled answers are of their moment."""

    @property
    def counts(self) -> tuple[int, int, int]:
        """Answers without a label, with one, and reads without an answer."""
        return self._fresh, self._stale, self.failed.total()

    async def read_until(self, over: Callable[[], bool], *, pause_s: float = 0.02) -> None:
        """Have a pinned reader per server and as many roaming ones read until it is over."""
        async with asyncio.TaskGroup() as tasks:
            for number, server in enumerate(self._servers):
                tasks.create_task(self._pinned(f"pinned-{number}", server, over, pause_s))
            for client in sorted(self.at_once):
                tasks.create_task(self._roaming(client, over, pause_s))

    async def read(
        self, client: str, url: str, conversation: str, asked: Version | None = None
    ) -> Seen | Unseen:
        """Read once and record it."""
        headers = {} if asked is None else {"X-Swarm-Version": asked.token}
        path = f"{url}/api/v1/conversations/{conversation}"
        began = time.monotonic()
        line: Seen | Unseen
        try:
            async with self._session.get(path, headers=headers) as response:
                body = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError):
            line = Unseen(client, conversation, began, time.monotonic(), NO_ANSWER)
        else:
            line = _line(client, conversation, asked, began, response, body)
        if isinstance(line, Unseen):
            self.failed[line.code] += 1
        else:
            self._fresh += line.stale is None
            self._stale += line.stale is not None
            self._shown[conversation] = max(line.version, self._shown.get(conversation, ZERO))
        self._ledger.write(line)
        return line

    async def _pinned(
        self, name: str, server: ServerProcess, over: Callable[[], bool], pause_s: float
    ) -> None:
        while not over():
            line = None
            conversation = self._any()
            if conversation is not None:
                client = f"{name} of {server.pid}"
                line = await self.read(client, server.url, conversation)
            await self._breathe(pause_s, line)

    async def _roaming(self, client: str, over: Callable[[], bool], pause_s: float) -> None:
        while not over():
            line = None
            conversation = self._any()
            if conversation is not None:
                asked = max(self._shown.get(conversation, ZERO), self._acked[conversation])
                url = self._chance.choice(self._servers).url
                line = await self.read(client, url, conversation, asked)
            await self._breathe(pause_s, line)

    async def _breathe(self, pause_s: float, line: Line | None) -> None:
        """Wait before the next read, longer for a server that is not there."""
        gone = isinstance(line, Unseen) and line.code == NO_ANSWER
        await asyncio.sleep(self._chance.uniform(0, 20 if gone else 2) * pause_s)

    def _any(self) -> str | None:
        known = list(self._acked)
        if known and self._chance.random() < 0.5:
            known = known[-_BUSY:]
        return self._chance.choice(known) if known else None


def _line(
    client: str,
    conversation: str,
    asked: Version | None,
    began: float,
    response: aiohttp.ClientResponse,
    body: bytes,
) -> Seen | Unseen:
    ended = time.monotonic()
    if response.status == 404:
        return Seen(client, conversation, ZERO, began, ended, None, asked, 0)
    if response.status != 200:
        return Unseen(client, conversation, began, ended, _problems.decode(body).code)
    version = Version.parse(response.headers["X-Swarm-Version"])
    label = response.headers["X-Swarm-Freshness"]
    stale = None if label == "fresh" else label
    if "+" in response.headers["ETag"]:
        return Seen(client, conversation, version, began, ended, stale, asked)
    state = _states.decode(body)
    last = state.messages[-1].id.rpartition(":")[0] if state.messages else None
    turns = state.stats.turns
    return Seen(client, conversation, version, began, ended, stale, asked, turns, last)
