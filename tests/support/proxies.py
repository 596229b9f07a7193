"""Bad networks on the way to a store: a TCP proxy on loopback, under the control of a test.

A proxy belongs to the block that opened it and runs in that block's loop. What it can do to any
store: delay, cut, and half-open (nothing arrives, nothing is refused). `RedisProxy` can also do it
to subscriptions alone; `postgres_proxy.py` knows statements.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from enum import StrEnum
from typing import Any, TypeVar
from urllib.parse import urlsplit

_CHUNK = 1 << 16
_LINGER_NOT = struct.pack("ii", 1, 0)
"""SO_LINGER on, 0 s: closing sends RST and forgets what was not sent."""
_SUBSCRIBE = re.compile(rb"\*\d+\r\n\$\d+\r\n[SP]?SUBSCRIBE\r\n", re.IGNORECASE)


class Way(StrEnum):
    """What becomes of a connection's bytes."""

    OPEN = "open"
    CUT = "cut"
    """Connections are reset, new ones too."""
    HALF_OPEN = "half-open"
    """Connections are taken and kept, and all bytes are swallowed, both ways."""


class Connection:
    """One client's connection and ours to the store."""

    def __init__(
        self, proxy: Proxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._proxy, self._reader = proxy, reader
        self.client = writer
        self.store: asyncio.StreamWriter | None = None
        self.lossy = False
        """Bytes were swallowed: nothing sensible can follow on it."""

    async def run(self) -> None:
        """Pass bytes on until one side has enough, then reset the other one."""
        try:
            with suppress(OSError):
                await self._pass_on()
            if self.way is Way.HALF_OPEN:
                # The store does not learn that its client is gone: whatever it holds, it holds.
                await self._proxy.restored.wait()
        finally:
            self.reset()

    async def _pass_on(self) -> None:
        if self.way is Way.CUT:
            return
        if self.way is Way.HALF_OPEN:
            await self._pump(self._reader, self.there)
            return
        reader, self.store = await asyncio.open_connection(self._proxy.host, self._proxy.to_port)
        pumps = [
            asyncio.ensure_future(self._pump(self._reader, self.there)),
            asyncio.ensure_future(self._pump(reader, self.back)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            ends = await asyncio.gather(*pumps, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        send: Callable[[bytes], Coroutine[Any, Any, None]],
    ) -> None:
        while data := await reader.read(_CHUNK):
            delay_s = self._proxy.there_s if send == self.there else self._proxy.back_s
            if delay_s:
                await asyncio.sleep(delay_s)
            if self.way is Way.CUT:
                return
            if self.way is Way.HALF_OPEN:
                self.lossy = True
            else:
                await send(data)

    @property
    def way(self) -> Way:
        return self._proxy.way

    async def there(self, data: bytes) -> None:
        """Send what the client said to the store."""
        if self.store is not None:
            await _write(self.store, data)

    async def back(self, data: bytes) -> None:
        """Send what the store answered to the client."""
        await _write(self.client, data)

    def reset(self) -> None:
        """Reset both ways; what was on its way is lost."""
        for writer in (self.client, self.store):
            if writer is not None and not writer.is_closing():
                peer: socket.socket = writer.get_extra_info("socket")
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
                writer.transport.abort()


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if writer.is_closing():
        # uvloop would call it a fault of the program, asyncio would swallow it.
        raise ConnectionResetError("this way was reset while something was to be sent on it")
    writer.write(data)
    await writer.drain()


class Proxy:
    """Listens on `port` in front of one store. All that it does to connections ends with `restore`,
    but for delays."""

    def __init__(self, url: str, default_port: int) -> None:
        parts = urlsplit(url)
        self._parts = parts
        self.host, self.to_port = parts.hostname or "127.0.0.1", parts.port or default_port
        self.port = 0
        self.way = Way.OPEN
        self.restored = asyncio.Event()
        self.there_s = self.back_s = 0.0
        """Delay of each chunk, in seconds; what comes behind it waits too."""
        self.connections: set[Connection] = set()

    @property
    def url(self) -> str:
        """The store's URL, by way of here."""
        user = self._parts.netloc.rpartition("@")
        netloc = f"{user[0]}{user[1]}127.0.0.1:{self.port}"
        return self._parts._replace(netloc=netloc).geturl()

    def cut(self) -> None:
        """Reset all connections, and new ones until `restore`."""
        self.way = Way.CUT
        self.reset()

    def half_open(self) -> None:
        """Swallow everything until `restore`. Nobody is told: neither clients nor the store."""
        self.way = Way.HALF_OPEN
        self.restored.clear()

    def restore(self) -> None:
        """Pass everything on again; connections that lost bytes are reset."""
        self.way = Way.OPEN
        self.restored.set()
        for connection in list(self.connections):
            if connection.lossy or connection.store is None:
                connection.reset()

    def reset(self) -> None:
        """Reset all connections once; clients may connect again."""
        for connection in list(self.connections):
            connection.reset()

    def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection:
        return Connection(self, reader, writer)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = self.connect(reader, writer)
        self.connections.add(connection)
        try:
            await connection.run()
        finally:
            self.connections.discard(connection)


class RedisProxy(Proxy):
    """In front of Redis; can do to subscriptions what it can do to all, and meet one command."""

    def __init__(self, url: str) -> None:
        super().__init__(url, 6379)
        self.subscriptions = Way.OPEN
        self._held: dict[bytes, asyncio.Event] = {}

    def hold(self, said: bytes) -> asyncio.Event:
        """Keep what contains these bytes from arriving, and all that follows on its connection.

        The event is set when a client has sent them.
        """
        return self._held.setdefault(said, asyncio.Event())

    def holds(self, data: bytes) -> bool:
        """Say whether this must not arrive; whoever waits for it is told."""
        met = [event for said, event in self._held.items() if said in data]
        for event in met:
            event.set()
        return bool(met)

    def cut_subscriptions(self) -> None:
        """Reset connections that subscribe, and whoever subscribes until `restore`."""
        self.subscriptions = Way.CUT
        for connection in self._subscribed():
            connection.reset()

    def silence_subscriptions(self) -> None:
        """Let subscriptions stand, and nothing arrive on them until `restore`."""
        self.subscriptions = Way.HALF_OPEN
        self.restored.clear()

    def restore(self) -> None:
        self.subscriptions = Way.OPEN
        self._held.clear()
        super().restore()

    def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Connection:
        return _RedisConnection(self, reader, writer)

    def _subscribed(self) -> list[_RedisConnection]:
        known = [one for one in self.connections if isinstance(one, _RedisConnection)]
        return [one for one in known if one.subscribes]


class _RedisConnection(Connection):
    """Knows by its first command whether a client listens."""

    def __init__(
        self, proxy: RedisProxy, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        super().__init__(proxy, reader, writer)
        self._redis = proxy
        self.subscribes = False

    @property
    def way(self) -> Way:
        if self.subscribes and self._proxy.way is Way.OPEN:
            return self._redis.subscriptions
        return self._proxy.way

    async def there(self, data: bytes) -> None:
        # A client library sends a command, and waits for its answer, before it subscribes.
        if _SUBSCRIBE.match(data):
            self.subscribes = True
            if self.way is Way.CUT:
                self.reset()
                return
        if self.lossy or self._redis.holds(data):
            self.lossy = True
            return
        await super().there(data)


SomeProxy = TypeVar("SomeProxy", bound=Proxy)


@asynccontextmanager
async def open_proxy(proxy: SomeProxy) -> AsyncIterator[SomeProxy]:
    """Listen on a free port of loopback; reset everything at the end of the block."""
    async with asyncio.TaskGroup() as tasks:
        server = await asyncio.start_server(
            lambda reader, writer: tasks.create_task(proxy.serve(reader, writer)),
            "127.0.0.1",
            proxy.port,
        )
        proxy.port = server.sockets[0].getsockname()[1]
        try:
            yield proxy
        finally:
            server.close()
            proxy.restore()
            proxy.reset()
            await server.wait_closed()
