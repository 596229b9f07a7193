"""Many conversations dirty at once on a PostgreSQL that has become slow: what becomes of a server.

Every conversation is opened and flushed, then gets one turn, so that all are dirty; from then on
each transaction takes its time, and a crowd goes on writing. The server has to come through to
green by itself while PostgreSQL is as slow as before, and in the end everything is flushed and
nothing acknowledged is lost.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import msgspec

from src.state.models import Version
from tests.support.cluster_processes import Cluster, open_cluster
from tests.support.cluster_settings import eventually
from tests.support.evidence import all_flushed, events_of, history_of
from tests.support.history import Violation, check
from tests.support.ledger import Acked, Ledger, Posted, digest
from tests.support.slow_commits import SlowCommits

_AT_ONCE = 256
_LOOK_S = 0.25
_FLUSHED_WITHIN_S = 300.0


class Look(msgspec.Struct, frozen=True, gc=False):
    """What a server said of itself at one moment, and how much memory it had."""

    at: float
    colour: str
    dirty: int
    held_bytes: int
    rss_bytes: int


class Pressed(msgspec.Struct, frozen=True):
    """What was seen from outside."""

    conversations: int
    acked: int
    overloaded: int
    """Answers 503 `overloaded`."""
    other_503: int
    retry_after_s: Sequence[float]
    """What those answers asked for."""
    before: Look
    peak: Look
    """Of each measure its highest; the colour is the last one."""
    after: Look
    colours: Sequence[str]
    """In the order in which the server took them on."""
    slow_s: float
    """For how long PostgreSQL was slow."""
    recovery_s: float
    """From red until the server was green again, PostgreSQL being as slow as before."""
    violations: Sequence[Violation]

    def __str__(self) -> str:
        looks = {"before": self.before, "peak": self.peak, "after": self.after}
        sizes = "; ".join(
            f"{name}: {look.dirty} dirty, {look.held_bytes >> 20} MiB counted, "
            f"{look.rss_bytes >> 20} MiB resident"
            for name, look in looks.items()
        )
        return (
            f"{' -> '.join(self.colours)}; {sizes}; {self.acked} acked, {self.overloaded} refused "
            f"as overloaded, {self.other_503} other 503; slow for {self.slow_s:.0f} s, green "
            f"{self.recovery_s:.1f} s after red; {len(self.violations)} violations"
        )


class Client:
    """Writes turns to one server and notes what it was told."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, ledger: Ledger, keep: Callable[[], bool]
    ) -> None:
        self._session, self._url, self._ledger, self._keep = session, url, ledger, keep
        self.acked = 0
        self.refusals: Counter[str] = Counter()
        self.waits: list[float] = []

    async def open(self, id: str) -> None:
        """Make a conversation of Ada's."""
        people = [{"id": "ada", "kind": "person", "name": "Ada"}]
        await self._post("", "open", {"id": id, "participants": people})

    async def say(self, id: str, key: str) -> None:
        """Post a turn, again and again under its key, until it is acked or all is over."""
        text = f"{id} {key} " + "and so on " * 30
        self._ledger.write(Posted(id, key, "ada", digest(text)))
        body = {"author": {"kind": "person", "id": "ada"}, "text": text}
        answer = await self._post(f"/{id}/messages", key, body)
        if answer is not None:
            version = Version.parse(answer["version"])
            self._ledger.write(Acked(id, key, version, answer["repeated"], at=time.monotonic()))
            self.acked += 1

    async def _post(self, path: str, key: str, body: dict[str, Any]) -> dict[str, Any] | None:
        url = f"{self._url}/api/v1/conversations{path}"
        content = msgspec.json.encode(body)
        while True:
            try:
                async with self._session.post(
                    url, data=content, headers={"Idempotency-Key": key}
                ) as response:
                    answer: dict[str, Any] = msgspec.json.decode(await response.read())
            except (aiohttp.ClientError, OSError):
                # A connection that was idle for too long; the key makes repeating safe.
                continue
            if response.status == 201:
                return answer
            assert response.status == 503, f"{url}: {response.status} {answer}"
            self.refusals[answer["code"]] += 1
            wait_s = float(response.headers["Retry-After"])
            if answer["code"] == "overloaded":
                self.waits.append(wait_s)
            if not self._keep():
                return None
            await asyncio.sleep(min(wait_s, 5.0))


class Watch:
    """Looks at a server's status all the time.

    Over a new connection each time: a server that stood still closes all idle ones at once.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._headers = {"Authorization": f"Bearer {cluster.token}"}
        (self._server,) = cluster.servers
        self.looks: list[Look] = []

    async def look(self) -> Look:
        """Ask once."""
        async with aiohttp.request(
            "GET",
            f"{self._server.url}/status",
            headers=self._headers,
            timeout=aiohttp.ClientTimeout(total=120),
        ) as response:
            said = (await response.json())["conversations"]
        look = Look(
            time.monotonic(),
            said["pressure"],
            said["dirty"],
            int(said["held_bytes"]),
            _resident_bytes(self._server.pid),
        )
        self.looks.append(look)
        return look

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_S)

    @property
    def peak(self) -> Look:
        most = [max(getattr(look, name) for look in self.looks) for name in _MEASURES]
        return Look(self.looks[-1].at, self.looks[-1].colour, *most)

    @property
    def recovery_s(self) -> float:
        red = next(look.at for look in self.looks if look.colour == "red")
        return (
            next(look.at for look in self.looks if look.at > red and look.colour == "green") - red
        )

    @property
    def colours(self) -> list[str]:
        seen: list[str] = []
        for look in self.looks:
            if not seen or seen[-1] != look.colour:
                seen.append(look.colour)
        return seen


def _resident_bytes(pid: int | None) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(resident.split()[1]) << 10


_MEASURES = ("dirty", "held_bytes", "rss_bytes")


async def press(
    database_url: str,
    redis_url: str,
    folder: Path,
    *,
    conversations: int,
    writers: int,
    slow_s: float,
    settings: dict[str, str],
    tell: Callable[[str], None] = lambda _: None,
) -> Pressed:
    """Play the whole of it on one server with these settings."""
    async with open_cluster(database_url, redis_url, folder, settings=settings, count=1) as cluster:
        headers = {
            "Authorization": f"Bearer {cluster.token}",
            "Content-Type": "application/json",
        }
        with Ledger(folder / "ledger") as ledger:
            async with aiohttp.ClientSession(
                headers=headers,
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=120),
            ) as session:
                return await _play(cluster, session, ledger, conversations, writers, slow_s, tell)


async def _play(
    cluster: Cluster,
    session: aiohttp.ClientSession,
    ledger: Ledger,
    conversations: int,
    writers: int,
    slow_s: float,
    tell: Callable[[str], None],
) -> Pressed:
    over = False
    client = Client(session, cluster.urls[0], ledger, lambda: not over)
    watch = Watch(cluster)
    slowness = SlowCommits(cluster.database)
    await slowness.install()

    async def say_first(id: str) -> None:
        await client.say(id, "first")

    ids = [f"pressed-{number}" for number in range(conversations)]

    async def write_on(id: str) -> None:
        for number in count(1):
            if over:
                return
            await client.say(id, f"more-{number}")

    tell(f"opening {conversations} conversations")
    await _each(ids, client.open)
    await all_flushed(cluster.database, _FLUSHED_WITHIN_S)
    before = await watch.look()
    tell("making all of them dirty")
    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch.run())
        # Flushes alone are slow meanwhile, or they would keep up with the first turns.
        await slowness.slow(slow_s, ["snapshots"])
        await _each(ids, say_first)
        await slowness.slow(slow_s)
        began = time.monotonic()
        writing = [tasks.create_task(write_on(id)) for id in ids[:writers]]
        tell(f"{slow_s} s for each transaction")
        await eventually(
            lambda: "red" in watch.colours and watch.looks[-1].colour == "green",
            _FLUSHED_WITHIN_S,
            what="red, and green again although PostgreSQL is still slow",
        )
        await slowness.slow(0)
        ended = time.monotonic()
        over = True
        await asyncio.gather(*writing)
        tell("recovering")
        await all_flushed(cluster.database, _FLUSHED_WITHIN_S)
        await eventually(lambda: _is_quiet(watch), 60.0, what="green, nothing dirty")
        watching.cancel()
    return Pressed(
        conversations,
        client.acked,
        client.refusals["overloaded"],
        client.refusals.total() - client.refusals["overloaded"],
        client.waits,
        before,
        watch.peak,
        watch.looks[-1],
        watch.colours,
        ended - began,
        watch.recovery_s,
        await _verdict(cluster.database, ledger),
    )


async def _verdict(database: asyncpg.Connection, ledger: Ledger) -> Sequence[Violation]:
    return check(ledger.read(), history_of(await events_of(database)))


async def _each(ids: Sequence[str], work: Callable[[str], Awaitable[None]]) -> None:
    """Do it for each, some at a time."""
    left = iter(ids)

    async def one_after_another() -> None:
        for id in left:
            await work(id)

    await asyncio.gather(*(one_after_another() for _ in range(_AT_ONCE)))


def _is_quiet(watch: Watch) -> bool:
    newest = watch.looks[-1]
    return newest.colour == "green" and newest.dirty == 0
