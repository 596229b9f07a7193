"""Two server processes over HTTP: reads after writes, edits obeyed, logouts, a takeover."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import perf_counter
from urllib.parse import urlsplit

import aiohttp
import msgspec

from src.state.models import Version
from tests.benchmarks.cluster import Answer, Cluster, Front
from tests.benchmarks.duel import eventually
from tests.benchmarks.lab import Lab
from tests.benchmarks.load import requests_per_second
from tests.benchmarks.processes import cpu_seconds, open_bare_app
from tests.benchmarks.row import Round, Sample, Target, quantile, row
from tests.support.nginx import in_front_of

_READ = "/conversations/{}"


@row(
    "http-get",
    path="GET conversation over HTTP: 8 KB, L1, with auth, 64 connections",
    against="bare Starlette route returning the same bytes",
    unit="/s",
    target=Target(ratio_at_least=1.0),
)
@asynccontextmanager
async def http_get(lab: Lab) -> AsyncIterator[Round]:
    cluster = await lab.cluster()
    id = await cluster.begin(cluster.a)
    path = f"/api/v1/conversations/{id}"
    file = lab.folder / "state.json"
    file.write_bytes((await cluster.done("GET", cluster.a, _READ.format(id))).body)
    seconds = lab.scaled(15, 3) / 10
    async with open_bare_app(file) as (bare_url, bare_pid):

        async def load(url: str, pid: int) -> tuple[float, float]:
            """Return requests/s and the server's CPU time per request in microseconds."""
            began, cpu = perf_counter(), cpu_seconds(pid)
            rate = await requests_per_second(url + path, cluster.token, seconds)
            used = cpu_seconds(pid) - cpu
            return rate, used / (rate * (perf_counter() - began)) * 1e6

        async def measure() -> Sample:
            await cluster.done("GET", cluster.a, _READ.format(id))
            assert cluster.a.pid is not None
            ours, our_cpu = await load(cluster.a.url, cluster.a.pid)
            bare, bare_cpu = await load(bare_url, bare_pid)
            # The generator's start is in the time and hardly in the rate: the same for both.
            note = f"the server's CPU per request {our_cpu / bare_cpu:.2f}x of the bare one's"
            return Sample(ours, bare, note)

        yield measure


async def _write_then_read(
    lab: Lab, cluster: Cluster, read: Callable[[str, str], Awaitable[None]]
) -> Sample:
    """Return p99 and p50 of the time from an ack on A to the read of that version on B."""
    id = await cluster.begin(cluster.a)
    await cluster.done("GET", cluster.b, _READ.format(id))
    taken = []
    for _ in range(lab.scaled(100, 5)):
        written = await cluster.speak(cluster.a, id)
        began = perf_counter()
        await read(id, written.version)
        taken.append(perf_counter() - began)
    return Sample(quantile(taken, 0.99), note=f"p50 {quantile(taken, 0.5) * 1e3:.1f} ms")


@row(
    "read-token",
    path="write on A -> read on B with the version token, after the ack, p99",
    against="",
    unit="s",
    target=Target(at_most=0.010),
)
@asynccontextmanager
async def read_token(lab: Lab) -> AsyncIterator[Round]:
    cluster = await lab.cluster()

    async def read(id: str, version: str) -> None:
        while True:
            found = await cluster.send("GET", cluster.b, _READ.format(id), X_Swarm_Version=version)
            if found.status == 200:
                return

    async def measure() -> Sample:
        return await _write_then_read(lab, cluster, read)

    yield measure


@row(
    "read-plain",
    path="write on A -> read on B without the token, after the ack, p99",
    against="",
    unit="s",
    target=Target(at_most=0.010),
)
@asynccontextmanager
async def read_plain(lab: Lab) -> AsyncIterator[Round]:
    cluster = await lab.cluster()

    async def read(id: str, version: str) -> None:
        wanted = Version.parse(version)
        while True:
            found = await cluster.done("GET", cluster.b, _READ.format(id))
            if Version.parse(found.version) >= wanted:
                return

    async def measure() -> Sample:
        return await _write_then_read(lab, cluster, read)

    yield measure


def _bot(says: str, **more: str) -> bytes:
    options = {"llm": {"default": says}}
    providers = {"llm": "offline/rules", "options": options}
    return msgspec.json.encode({"name": "Ada", "providers": providers, **more})


@row(
    "obeyed",
    path="bot edited on B -> a reply on A obeys, p99",
    against="",
    unit="s",
    target=Target(at_most=1.0),
)
@asynccontextmanager
async def obeyed(lab: Lab) -> AsyncIterator[Round]:
    cluster = await lab.cluster()
    numbers = itertools.count(1)
    await cluster.done("POST", cluster.a, "/bots", _bot("nothing yet", id="ada"))

    async def measure() -> Sample:
        id = await cluster.begin(cluster.a, turns=0)
        start = msgspec.json.encode({"type": "lifecycle", "action": "start"})
        await cluster.done("POST", cluster.a, f"/conversations/{id}/commands", start)
        taken = []
        for _ in range(lab.scaled(15, 2)):
            says = f"edition {next(numbers)}"
            await cluster.done("PUT", cluster.b, "/bots/ada", _bot(says))
            began = perf_counter()
            while not await _replied(cluster, id, says):
                pass
            taken.append(perf_counter() - began)
        return Sample(quantile(taken, 0.99), note=f"p50 {quantile(taken, 0.5) * 1e3:.1f} ms")

    yield measure


async def _replied(cluster: Cluster, id: str, says: str) -> bool:
    """Say something to the bot; return whether its reply is the one wanted."""
    turn = {"author": {"kind": "person", "id": "person-1"}, "text": "@ada what now?"}
    posted = await cluster.done(
        "POST", cluster.a, f"/conversations/{id}/messages", msgspec.json.encode(turn)
    )
    after = Version.parse(posted.version).seq
    texts: list[str] = []

    async def answered() -> bool:
        state = (await cluster.done("GET", cluster.a, _READ.format(id))).json()
        newer = [m for m in state["messages"] if m["seq"] > after and m["author"]["id"] == "ada"]
        texts[:] = [message["text"] for message in newer]
        return bool(texts)

    await eventually(answered, every_s=0.002)
    return says in texts


@row(
    "logout",
    path="logout through nginx -> the token is refused by A and by B, p99",
    against="",
    unit="s",
    target=Target(at_most=2.0),
    rounds=3,
)
@asynccontextmanager
async def logout(lab: Lab) -> AsyncIterator[Round]:
    cluster = await lab.cluster()
    folder = lab.folder / "nginx"
    folder.mkdir()
    ports = [urlsplit(server.url).port or 0 for server in (cluster.a, cluster.b)]
    with in_front_of(folder, *ports) as url:

        async def measure() -> Sample:
            taken = [await _logged_out(cluster, Front(url)) for _ in range(lab.scaled(100, 3))]
            note = f"p50 {quantile(taken, 0.5) * 1e3:.1f} ms, of {len(taken)} logouts a round"
            return Sample(quantile(taken, 0.99), note=note)

        yield measure


async def _logged_out(cluster: Cluster, front: Front) -> float:
    """Log out by whichever server nginx chooses; return how long either one let the token in."""
    shown = f"Bearer {cluster.stranger()}"
    for server in (cluster.a, cluster.b):
        # Both have verified it, and would let it in from memory.
        await cluster.done("GET", server, "/profile", Authorization=shown)
    await cluster.done("POST", front, "/auth/logout", Authorization=shown)
    began = perf_counter()
    for server in (cluster.a, cluster.b):
        while (await cluster.send("GET", server, "/profile", Authorization=shown)).status != 401:
            pass
    return perf_counter() - began


@row(
    "takeover",
    path="kill -9 of the owner -> its 20 busy conversations are written on B again, p99",
    against="",
    unit="s",
    target=Target(at_most=8.0),
    rounds=3,
)
@asynccontextmanager
async def takeover(lab: Lab) -> AsyncIterator[Round]:
    cluster = await lab.cluster()

    async def measure() -> Sample:
        ids = [await cluster.begin(cluster.a, turns=1) for _ in range(20)]
        for id in ids:
            await cluster.speak(cluster.a, id)
        cluster.a.kill()
        await cluster.a.ended()
        began = perf_counter()
        taken = await asyncio.gather(*(_until_written(cluster, id, began) for id in ids))
        await cluster.a.start()
        return Sample(quantile(taken, 0.99), note=f"first after {min(taken):.1f} s")

    yield measure


async def _until_written(cluster: Cluster, id: str, began: float) -> float:
    """Send one turn, under one key, until B takes it."""
    body, key = cluster.turn(), f"after-{id}"
    while True:
        try:
            answer: Answer | None = await cluster.send(
                "POST", cluster.b, f"/conversations/{id}/messages", body, Idempotency_Key=key
            )
        except aiohttp.ClientError:
            answer = None
        if answer is not None and answer.status < 300:
            return perf_counter() - began
        await asyncio.sleep(0.05)
