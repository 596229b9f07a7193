"""How soon another server knows: from the call that announces to its copy being doubted."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from time import perf_counter

from src.invalidation.messages import encode_changes
from src.state.models import Announcement, Version
from tests.benchmarks.lab import Lab
from tests.benchmarks.row import Round, Sample, Target, quantile, row

_ID, _CHANNEL = "announced", "bench:bare"


class _Peer:
    """The other server's process."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def line(self) -> str:
        assert self._process.stdout is not None
        return (await self._process.stdout.readline()).decode()

    async def heard(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return when it heard of each version, and when the bare subscriber was called."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        heard, called = json.loads(await self.line())
        return heard, called


@asynccontextmanager
async def _open_peer(lab: Lab) -> AsyncIterator[_Peer]:
    urls = (lab.servers.database_url, lab.servers.redis_url)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.peer", *urls, _ID, _CHANNEL),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 22,
    )
    try:
        peer = _Peer(process)
        if not (await peer.line()).startswith("ready"):
            raise RuntimeError("the other server did not come up")
        yield peer
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await process.wait()


@row(
    "announce",
    path="announce -> applied on another server, p99",
    against="bare redis-py publish -> callback",
    unit="s",
    target=Target(ratio_at_most=2.0, at_most=0.010),
    rounds=4,
)
@asynccontextmanager
async def announce(lab: Lab) -> AsyncIterator[Round]:
    await lab.make([_ID], turns=1)
    numbers = itertools.count(1000)

    async def measure() -> Sample:
        # Opened for the round alone: a listener more makes every ack of the other rows dearer.
        async with _open_peer(lab) as peer:
            return await _race(lab, peer, numbers)

    yield measure


async def _race(lab: Lab, peer: _Peer, numbers: Iterator[int]) -> Sample:
    """Announce and publish in turns; return p99 of both."""
    sent, published = {}, {}
    for _ in range(lab.scaled(300, 20)):
        number = next(numbers)
        change = Announcement("conversation", _ID, Version(1, number))
        sent[str(number)] = perf_counter()
        await lab.inside.announcer.publish([change])
        await asyncio.sleep(0.001)
        payload = f"{number} ".encode() + encode_changes("bench", (change,))
        published[str(number)] = perf_counter()
        await lab.redis.publish(_CHANNEL, payload)
        await asyncio.sleep(0.001)
    # Whatever is still on its way: the pull finds an announcement within half a second.
    await asyncio.sleep(0.7)
    heard, called = await peer.heard()
    ours = [heard[number] - began for number, began in sent.items()]
    bare = [called[number] - began for number, began in published.items()]
    return Sample(quantile(ours, 0.99), quantile(bare, 0.99))
