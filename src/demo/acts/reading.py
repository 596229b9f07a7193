"""Reads: on the other server, from each tier, and a thousand at once."""

from __future__ import annotations

import asyncio
import time

from src.demo.client import Client
from src.demo.errors import NotAnswered
from src.demo.promises import Latency, Name, Promise
from src.demo.stage import PEOPLE, Stage, milliseconds

_TURNS = 20
_BOUND_S = 2.0
_WARM_READS = 1000
_READERS = 1000
_SAMPLES = 10
_FLUSHED_WITHIN_S = 8.0
_COUNTED_WITHIN_S = 12.0
_SETTLED_WITHIN_S = 40.0


async def read_on_the_other_server(stage: Stage) -> Promise:
    """Post on A and read on B, every second time with the version that the ack gave."""
    expected = "unlabelled reads within 2 s, reads with X-Swarm-Version at once"
    room = "demo-elsewhere"
    stage.audience.note(f"{_TURNS} turns posted on server A, read on server B")
    await stage.a.begin(room, PEOPLE)
    # B has a copy from now on: what it answers next must not be that one.
    await stage.b.read(room)
    plain, missing, wrong = [], 0, 0
    for number in range(_TURNS):
        acked = await stage.a.say(room, "zoe", f"Turn {number}.", f"elsewhere-{number}")
        if number % 2:
            reading = await stage.b.read(room, acked.version)
            wrong += reading is None or reading.version < acked.version
            continue
        seconds = await _until_read(stage.b, room, acked.version)
        if seconds is None:
            missing += 1
            break
        plain.append(seconds)
    if missing or wrong:
        found = (
            f"after {_BOUND_S:.0f} s server B still answers as fresh without the turn"
            if missing
            else f"{wrong} of {_TURNS // 2} reads with a version were older than it"
        )
        return Promise(Name.READ_ANYWHERE, False, expected, found)
    median, worst = milliseconds(plain)
    stage.figures["read_elsewhere_p50_ms"] = median
    stage.figures["read_elsewhere_worst_ms"] = worst
    found = f"{_TURNS} turns: {median} ms after the ack (worst {worst} ms); with version: all"
    return Promise(Name.READ_ANYWHERE, True, expected, found)


async def _until_read(server: Client, room: str, version: tuple[int, int]) -> float | None:
    """Return how long the server's own copy was behind; None if for longer than it may be."""
    began = time.perf_counter()
    while True:
        asked = time.perf_counter() - began
        reading = await server.read(room)
        if reading is not None and reading.version >= version:
            return time.perf_counter() - began
        if reading is not None and not reading.labelled and asked > _BOUND_S:
            return None
        if asked > 2 * _BOUND_S:
            raise NotAnswered(f"for {asked:.0f} s server {server.name} called its answers old")


async def tiers_cost_what_they_should(stage: Stage) -> Promise:
    """Read from L1, L2 and L3 on B, and count in PostgreSQL and Redis what that took."""
    stage.audience.note("tiers: fill conversations on A, wait until they are flushed")
    shared = [f"demo-l2-{number}" for number in range(_SAMPLES)]
    cold = [f"demo-l3-{number}" for number in range(_SAMPLES + 1)]
    await asyncio.gather(*(stage.a.begin(room, PEOPLE) for room in (*shared, *cold)))
    # All, those of earlier acts too: a flush in the middle would be counted.
    if not await stage.outside.all_flushed(_FLUSHED_WITHIN_S):
        raise NotAnswered("conversations were not flushed, so no tier below L1 could be filled")
    await stage.outside.in_l2((*shared, *cold), _FLUSHED_WITHIN_S)
    await stage.outside.drop_from_l2(cold)
    stage.audience.note("tiers: wait until PostgreSQL's statistics are complete (10 s)")
    await stage.outside.settled(_SETTLED_WITHIN_S)
    results = [await _l2(stage, shared), await _l1(stage, shared[0])]
    stampede, l3 = await _l3(stage, cold)
    results.append(l3)
    for latency in sorted(results, key=lambda one: one.tier):
        stage.show_tier(latency)
    l2, l1, _ = results
    kept = (
        (l1.database_reads, l1.redis_commands) == (0, 0)
        and (l2.database_reads, l2.redis_commands) == (0, _SAMPLES)
        and stampede == 1
    )
    found = (
        f"L1: {l1.database_reads} and {l1.redis_commands} for {l1.reads} reads; "
        f"L2: {l2.database_reads} and {l2.redis_commands} for {l2.reads}; "
        f"{_READERS} at once: {stampede} database read{'' if stampede == 1 else 's'}"
    )
    expected = (
        "L1: 0 database reads, 0 Redis commands; L2: 0 and 1 each; "
        f"{_READERS} readers of a cold conversation: 1 load"
    )
    return Promise(Name.TIERS, kept, expected, found)


async def _l2(stage: Stage, rooms: list[str]) -> Latency:
    """The first read on a server that never saw the conversation."""
    stage.audience.note("L2: first reads on server B")
    before = await stage.outside.counts()
    seconds = [await _seconds(stage.b, room) for room in rooms]
    counted = (await stage.outside.counts()).since(before)
    return Latency(
        "L2", len(rooms), counted.database_reads, counted.redis_commands, *milliseconds(seconds)
    )


async def _l1(stage: Stage, room: str) -> Latency:
    """Reads of what the server has in its own memory."""
    stage.audience.note(f"L1: {_WARM_READS} reads on server B")
    before = await stage.outside.counts()
    seconds = [await _seconds(stage.b, room) for _ in range(_WARM_READS)]
    counted = (await stage.outside.counts()).since(before)
    return Latency(
        "L1", _WARM_READS, counted.database_reads, counted.redis_commands, *milliseconds(seconds)
    )


async def _l3(stage: Stage, rooms: list[str]) -> tuple[int, Latency]:
    """Return the loads that a stampede on the first room made, and what the others took."""
    stage.audience.note(f"L3: {_READERS} concurrent reads of one cold conversation on server B")
    before = await stage.outside.counts()
    await _stampede(stage.b, rooms[0], _READERS)
    await stage.outside.until_read(before, 1, _COUNTED_WITHIN_S)
    await stage.outside.pause()
    between = await stage.outside.counts()
    alone = rooms[1:]
    seconds = [await _seconds(stage.b, room) for room in alone[:-1]]
    # Its backend reports what it kept back with the first statement after a pause.
    await stage.outside.pause()
    seconds.append(await _seconds(stage.b, alone[-1]))
    total = await stage.outside.until_read(before, 1 + len(alone), _COUNTED_WITHIN_S)
    commands = (await stage.outside.counts()).since(between).redis_commands
    # What the stampede's backends may have kept back is in the total now: it is not hidden.
    loads = total - len(alone)
    return loads, Latency("L3", len(alone), total - loads, commands, *milliseconds(seconds))


async def _seconds(server: Client, room: str) -> float:
    reading = await server.read(room)
    if reading is None:
        raise NotAnswered(f"server {server.name} could not read {room}")
    return reading.seconds


async def _stampede(server: Client, room: str, readers: int) -> None:
    """Open a connection per reader, then send all requests at once and read all answers."""
    host, port = server.url.removeprefix("http://").split(":")
    lines = "".join(f"{name}: {value}\r\n" for name, value in server.headers.items())
    path = f"/api/v1/conversations/{room}"
    request = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{lines}\r\n".encode()
    connections = await asyncio.gather(
        *(asyncio.open_connection(host, int(port)) for _ in range(readers))
    )
    try:
        for _, writer in connections:
            writer.write(request)
        answers = await asyncio.gather(*(reader.read() for reader, _ in connections))
    finally:
        for _, writer in connections:
            writer.close()
    refused = sum(not answer.startswith(b"HTTP/1.1 200") for answer in answers)
    if refused:
        raise NotAnswered(f"{refused} of {readers} concurrent reads were not answered with 200")
