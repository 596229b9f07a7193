"""`swarmstate serve --servers`: several servers on this machine, kept, scaled and drained.

Each has a port of its own, since the others send it what it owns: one port for all of them would
lead anywhere. A balancer before them knows all ports of the range.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiohttp
import msgspec
import structlog

from src.api.auth.principals import Role
from src.api.auth.tokens import issue_token
from src.api.serving import url_of
from src.api.settings import ApiSettings
from src.cli.keeping import keep
from src.demo.errors import ServerEnded
from src.demo.processes import ServerProcess
from src.swarm.rooms.workers import WorkerItem, WorkersReport, wanted

log = structlog.get_logger(__name__)

_STOP = (signal.SIGINT, signal.SIGTERM)
_DRAIN_S = 30.0
"""What a server may take to drain, beside the time that its rooms have."""
_LOOK_S = 5.0
_CALM_LOOKS = 60
"""So many looks in a row must want fewer servers before one is stopped: five minutes."""
_ANSWER_S = 2.0


class Span(NamedTuple):
    """How many servers there may be."""

    least: int
    most: int


def parse_span(text: str) -> Span:
    """Read `3` or `2:6`.

    Raises:
        ValueError: it is neither, none, or upside down.
    """
    found = re.fullmatch(r"(\d{1,3})(?::(\d{1,3}))?", text)
    least, most = (0, 0) if found is None else (int(found[1]), int(found[2] or found[1]))
    if not 1 <= least <= most:
        raise ValueError(f"{text!r} is no number of servers; write 3, or 2:6 for two to six")
    return Span(least, most)


def next_count(span: Span, now: int, own: Sequence[WorkerItem], waiting: int) -> int:
    """Return how many servers there should be: one more or less than now, at the most."""
    if not own:
        return now
    sessions = sum(one.sessions for one in own) + waiting
    goal = max(span.least, min(span.most, wanted(sessions, max(one.capacity for one in own) or 1)))
    return now + (goal > now) - (goal < now)


class Child(ServerProcess):
    """A server on one port, of which we are the parent: it ends with us, however we do.

    Its settings are those of this process, and so is its output.
    """

    def __init__(
        self,
        port: int,
        api: ApiSettings,
        server_url: str | None,
        drain_s: float,
        *,
        rooms: bool,
    ) -> None:
        super().__init__(str(port), port, {}, Path(os.devnull), rooms=rooms)
        self.url = url_of(api.host, port, anywhere="127.0.0.1")
        self.server_url = _own_url(server_url, api.host, port)
        self._host = api.host
        self.stop_within_s = _DRAIN_S + drain_s

    async def start(self) -> None:
        own = {
            "SWARMSTATE_API_HOST": self._host,
            "SWARMSTATE_API_PORT": str(self.port),
            "SWARMSTATE_SERVER_URL": self.server_url,
        }
        self._process = await asyncio.create_subprocess_exec(
            *self.command,
            stdin=asyncio.subprocess.PIPE,
            env={**os.environ, **own},
            # Ctrl-C in a terminal reaches the whole group; we stop them in order.
            start_new_session=True,
        )
        await self._until_ready()

    def _failed(self, why: str) -> ServerEnded:
        return ServerEnded(self.name, why, None)


def _own_url(given: str | None, host: str, port: int) -> str:
    """Return the address of one server: as given for all of them, with its own port."""
    if given is not None:
        parts = urlsplit(given)
        name = parts.hostname or ""
        name = f"[{name}]" if ":" in name else name
        return f"{parts.scheme}://{name}:{port}"
    return url_of(host, port, anywhere=socket.gethostname())


class _Log:
    """Says in the log what becomes of servers."""

    def died(self, server: ServerProcess, code: int) -> None:
        log.error("server.died", port=server.port, code=code)

    def failed(self, server: ServerProcess, error: ServerEnded) -> None:
        log.error("server.not_started", port=server.port, error=str(error))

    def returned(self, server: ServerProcess) -> None:
        log.info("server.restarted", port=server.port)


class Supervisor:
    """The servers of one machine."""

    def __init__(self, span: Span, children: Sequence[Child], jwt_secret: str) -> None:
        """Take as many as there may be at most; the first ones of them run."""
        self._span, self._secret = span, jwt_secret
        self._idle, self._running = list(reversed(children)), dict[Child, asyncio.Task[None]]()
        self._calm = 0

    async def run(self) -> bool:
        """Run until SIGINT or SIGTERM, then drain all; say whether all of them drained.

        Raises:
            ServerEnded: a server did not come up at the beginning.
        """
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in _STOP:
            loop.add_signal_handler(number, stop.set)
        try:
            async with asyncio.TaskGroup() as tasks:
                first = [self._idle.pop() for _ in range(self._span.least)]
                try:
                    await asyncio.gather(*(child.start() for child in first))
                except BaseException:
                    await asyncio.gather(*(child.stop() for child in first))
                    raise
                for child in first:
                    self._running[child] = tasks.create_task(keep(child, _Log()))
                log.info("serve.ready", servers=[child.url for child in first])
                scaling = tasks.create_task(self._scale(tasks))
                await stop.wait()
                scaling.cancel()
                for keeper in self._running.values():
                    keeper.cancel()
        except* ServerEnded as errors:
            raise errors.exceptions[0] from None
        drained = await asyncio.gather(*(child.stop() for child in self._running))
        log.info("serve.drained", servers=len(drained), cut=drained.count(False))
        return all(drained)

    async def _scale(self, tasks: asyncio.TaskGroup) -> None:
        if self._span.least == self._span.most:
            return
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_ANSWER_S)) as session:
            while True:
                await asyncio.sleep(_LOOK_S)
                report = await self._look(session)
                if report is not None:
                    await self._follow(report, tasks)

    async def _look(self, session: aiohttp.ClientSession) -> WorkersReport | None:
        token = issue_token(self._secret, "supervisor", [Role.VIEWER])
        for child in self._running:
            try:
                async with session.get(
                    f"{child.url}/status/workers", headers={"Authorization": f"Bearer {token}"}
                ) as answer:
                    if answer.status == 200:
                        return msgspec.json.decode(await answer.read(), type=WorkersReport)
            except (aiohttp.ClientError, OSError, TimeoutError):
                continue
        return None

    async def _follow(self, report: WorkersReport, tasks: asyncio.TaskGroup) -> None:
        hosting: Mapping[str, WorkerItem] = {one.url: one for one in report.workers}
        own = [hosting[child.server_url] for child in self._running if child.server_url in hosting]
        now = len(self._running)
        goal = next_count(self._span, now, own, report.session_queue_length)
        self._calm = self._calm + 1 if goal < now else 0
        if goal > now:
            await self._add(tasks)
        elif self._calm >= _CALM_LOOKS:
            self._calm = 0
            await self._remove(hosting)

    async def _add(self, tasks: asyncio.TaskGroup) -> None:
        child = self._idle.pop()
        try:
            await child.start()
        except ServerEnded as error:
            _Log().failed(child, error)
            await child.stop()
            self._idle.append(child)
            return
        self._running[child] = tasks.create_task(keep(child, _Log()))
        log.info("serve.added", port=child.port, servers=len(self._running))

    async def _remove(self, hosting: Mapping[str, WorkerItem]) -> None:
        """Stop one that hosts nothing; those that host rooms go on."""
        for child in reversed(self._running):
            found = hosting.get(child.server_url)
            if found is not None and found.sessions == 0:
                self._running.pop(child).cancel()
                await child.stop()
                self._idle.append(child)
                log.info("serve.removed", port=child.port, servers=len(self._running))
                return
