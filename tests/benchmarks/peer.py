"""Another server, in a process of its own, that notes when it hears of a change.

`python -m tests.benchmarks.peer DATABASE_URL REDIS_URL ID CHANNEL` joins the servers, says
`ready`, and answers each line on its standard input with two lists: when it heard of the versions
of conversation ID, and when a bare subscriber to CHANNEL was called, both on the clock that all
processes of the machine share.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from time import perf_counter

import structlog
import uvloop
from pydantic import SecretStr
from redis.asyncio import Redis

from src.state.models import Version
from src.state.settings import StateSettings
from src.swarm.runtime import open_runtime
from src.swarm.settings import RuntimeSettings, SwarmSettings


async def main(database_url: str, redis_url: str, id: str, channel: str) -> None:
    """Listen until standard input ends."""
    heard: dict[int, float] = {}
    called: dict[int, float] = {}

    def note(name: str, version: Version) -> None:
        if name == id:
            heard.setdefault(version.seq, perf_counter())

    async def listen() -> None:
        async for message in subscription.listen():
            if message["type"] == "message":
                called[int(message["data"].split(b" ")[0])] = perf_counter()

    settings = RuntimeSettings(
        StateSettings(database_url=SecretStr(database_url), redis_url=SecretStr(redis_url)),
        SwarmSettings(server_url="http://127.0.0.1:2", internal_secret=SecretStr("x" * 32)),
    )
    redis = Redis.from_url(redis_url)
    subscription = redis.pubsub()
    await subscription.subscribe(channel)
    listening = asyncio.create_task(listen())
    async with open_runtime(settings) as runtime:
        runtime.status._conversations.store.listeners.append(note)
        _say("ready")
        while await asyncio.to_thread(sys.stdin.readline):
            _say(json.dumps([heard, called]))
            heard.clear()
            called.clear()
    listening.cancel()
    await subscription.aclose()  # type: ignore[no-untyped-call]  # its stubs leave it out
    await redis.aclose()


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    uvloop.run(main(*sys.argv[1:5]))
