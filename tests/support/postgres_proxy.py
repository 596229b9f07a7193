"""A proxy that reads PostgreSQL's wire protocol, so that it can meet a commit half-way.

Of the protocol (version 3, manual chapter "Frontend/Backend Protocol") it needs the frames: a type,
a length, and after each request one ReadyForQuery. A commit is a request after which something new
may be on disk: COMMIT, or a statement of its own that writes. Requests of one connection come one
after the other.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from enum import StrEnum
from typing import NamedTuple

from tests.support.proxies import Connection, Proxy

_NO_TLS = {80877103, 80877104}
"""SSLRequest and GSSENCRequest: refused here, or nothing could be read."""
_ENDS = b"QSHXFpcdf"
"""Messages after which the client may wait: what came before them is sent with them."""
_WRITES = re.compile(
    r"\bINSERT\s+INTO\b|\bDELETE\s+FROM\b|\bUPDATE\s+\S+(\s+\w+)?\s+SET\b", re.IGNORECASE
)
_COMMIT = re.compile(r"\s*(COMMIT|END)\b", re.IGNORECASE)


class Moment(StrEnum):
    """Where a commit is met."""

    BEFORE = "before the database saw it"
    DURING = "on its way: the database saw it, and its client did not wait"
    AFTER = "after it was done, before its answer arrived"


class Trap(NamedTuple):
    """A commit to be met: where, and what its statements must contain."""

    moment: Moment
    writing: str


class PostgresProxy(Proxy):
    """In front of PostgreSQL, without TLS."""

    def __init__(self, url: str) -> None:
        super().__init__(url, 5432)
        self.commits_wait_s = 0.0
        """The answer to each commit is held back so long."""
        self._armed: list[Trap] = []
        self.resets: Counter[Moment] = Counter()
        """Commits that were met so far."""

    def reset_commits(self, moment: Moment, *, times: int = 1, writing: str = "") -> None:
        """Reset the connections of the next commits; `writing` must be in their statements."""
        self._armed += [Trap(moment, writing)] * times

    @property
    def armed(self) -> int:
        """How many commits are still to be met."""
        return len(self._armed)

    def restore(self) -> None:
        self._armed.clear()
        self.commits_wait_s = 0.0
        super().restore()

    def take(self, statements: str) -> Trap | None:
        """Return where this commit is to be met, if it is."""
        for place, trap in enumerate(self._armed):
            if trap.writing in statements:
                return self._armed.pop(place)
        return None

    def give_back(self, trap: Trap) -> None:
        """That commit came to nothing by itself: meet another one."""
        self._armed.append(trap)

    def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection:
        return _PostgresConnection(self, reader, writer)


class _PostgresConnection(Connection):
    """Cuts both directions into messages."""

    def __init__(
        self, proxy: PostgresProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        super().__init__(proxy, reader, writer)
        self._postgres = proxy
        self._asked, self._answered = bytearray(), bytearray()
        self._request, self._answer = bytearray(), bytearray()
        self._started = False
        self._texts: dict[bytes, str] = {}
        """Of prepared statements, by name."""
        self._transaction: list[str] = []
        """Statements since the last commit."""
        self._executes = ""
        self._commits = False
        """The request under way is a commit."""
        self._meet: Trap | None = None
        self._failed = False

    async def there(self, data: bytes) -> None:
        self._asked += data
        while not self._started and len(self._asked) >= 8:
            if not await self._start():
                return
        while self._started and (message := _next(self._asked)):
            self._request += message
            self._read(message)
            if message[0] in _ENDS and not await self._send_request():
                return

    async def _start(self) -> bool:
        """Take one message of the beginning, which has no type; False: it is not all there."""
        length = int.from_bytes(self._asked[:4])
        if len(self._asked) < length:
            return False
        message = bytes(self._asked[:length])
        del self._asked[:length]
        if int.from_bytes(message[4:8]) in _NO_TLS:
            await super().back(b"N")
        else:
            self._started = True
            await super().there(message)
        return True

    def _read(self, message: bytes) -> None:
        kind, body = message[:1], message[5:]
        if kind == b"P":
            name, text, _ = body.split(b"\0", 2)
            self._texts[name] = text.decode()
        elif kind == b"B":
            _, name, _ = body.split(b"\0", 2)
            self._executes = self._texts.get(name, "")
        elif kind == b"E":
            self._transaction.append(self._executes)
        elif kind == b"Q":
            self._transaction.append(body.rstrip(b"\0").decode())

    async def _send_request(self) -> bool:
        """Send all messages of a request, if they may go; False: the connection is gone."""
        request = bytes(self._request)
        self._request.clear()
        last = self._transaction[-1] if self._transaction else ""
        in_transaction = any(text.lstrip()[:5].upper() == "BEGIN" for text in self._transaction)
        self._commits = bool(_COMMIT.match(last)) or (
            not in_transaction and bool(_WRITES.search(last))
        )
        statements = "\n".join(self._transaction)
        if self._commits:
            self._meet = self._postgres.take(statements)
        moment = None if self._meet is None else self._meet.moment
        if moment is not Moment.BEFORE:
            await super().there(request)
        if moment is Moment.BEFORE or moment is Moment.DURING:
            self._postgres.resets[moment] += 1
            self.reset()
            return False
        return True

    async def back(self, data: bytes) -> None:
        self._answered += data
        while message := _next(self._answered):
            self._answer += message
            self._failed |= message[:1] == b"E"
            if message[:1] == b"Z" and not await self._finish(idle=message[5:6] == b"I"):
                return
        if not self._commits:
            await self._send_answer()

    async def _finish(self, *, idle: bool) -> bool:
        """A request was answered; False: the connection is gone, and the answer with it."""
        if self._meet is not None:
            if not self._failed:
                self._postgres.resets[self._meet.moment] += 1
                self.reset()
                return False
            self._postgres.give_back(self._meet)
        if self._commits and self._postgres.commits_wait_s:
            await asyncio.sleep(self._postgres.commits_wait_s)
        if idle:
            self._transaction.clear()
        self._commits = self._failed = False
        self._meet = None
        await self._send_answer()
        return True

    async def _send_answer(self) -> None:
        answer = bytes(self._answer)
        self._answer.clear()
        if answer:
            await super().back(answer)


def _next(buffer: bytearray) -> bytes:
    """Take one whole message off the buffer; empty when it is not all there."""
    if len(buffer) < 5:
        return b""
    length = 1 + int.from_bytes(buffer[1:5])
    if len(buffer) < length:
        return b""
    message = bytes(buffer[:length])
    del buffer[:length]
    return message
