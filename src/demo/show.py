"""The demonstration from beginning to end: stores and servers up, the acts, the outcome.

Everything is started for it, in a folder of its own that is removed afterwards, so it can run
beside anything else.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
from redis.exceptions import RedisError

from src.api.auth.principals import Role
from src.api.auth.tokens import issue_token
from src.api.serving import allow_connections
from src.demo.acts.dialogue import edited_bot_is_obeyed, nothing_was_lost, play
from src.demo.acts.losing import killed_owner_loses_nothing, paused_owner_is_fenced
from src.demo.acts.reading import read_on_the_other_server, tiers_cost_what_they_should
from src.demo.acts.writing import updates_collapse
from src.demo.client import Client, Ledger
from src.demo.cluster import Stores, open_cluster, open_stores
from src.demo.errors import ClusterError
from src.demo.meeting import Meeting
from src.demo.outside import look_from_outside
from src.demo.processes import free_ports
from src.demo.promises import KEPT_BY, Guard, Name, Outcome, Promise
from src.demo.screen import Audience
from src.demo.stage import Stage

_ACTS: dict[Name, Callable[[Stage], Awaitable[Promise]]] = {
    Name.READ_ANYWHERE: read_on_the_other_server,
    Name.TIERS: tiers_cost_what_they_should,
    Name.COLLAPSE: updates_collapse,
    Name.HOT_RELOAD: edited_bot_is_obeyed,
    Name.FENCED: paused_owner_is_fenced,
    Name.SURVIVES_KILL: killed_owner_loses_nothing,
    # The last: it checks what all the others wrote.
    Name.NOTHING_LOST: nothing_was_lost,
}
_TOKEN_LIFETIME = timedelta(hours=1)
_REQUEST_S = 40.0
"""Longer than a paused server stays paused: what waits in its socket is answered in the end."""


def perform(meeting: Meeting, audience: Audience, *, sabotage: Guard | None = None) -> Outcome:
    """Run the demonstration and return what was found of each promise.

    With `sabotage` both servers run without that guard, and only the promise that it keeps is
    checked. Must not be called from a running event loop.

    Raises:
        EmbeddedError, ClusterError: the servers could not be started.
    """
    # Of a thousand readers each has a connection of its own.
    allow_connections()
    steps = 1 if sabotage is not None else len(meeting.turns) + len(_ACTS)
    with (
        TemporaryDirectory(prefix="swarmstate-demo-", ignore_cleanup_errors=True) as folder,
        audience.live(steps),
        # Whatever the environment says: the promises are those of the defaults, on own stores.
        open_stores(Path(folder), {}) as stores,
    ):
        return asyncio.run(_perform(stores, meeting, audience, sabotage))


async def _perform(
    stores: Stores, meeting: Meeting, audience: Audience, sabotage: Guard | None
) -> Outcome:
    token = issue_token(stores.jwt_secret, "demo", [Role.ADMIN], lifetime=_TOKEN_LIFETIME)
    urls = stores.servers.database_url, stores.servers.redis_url
    began = time.perf_counter()
    ledger = Ledger()
    without = () if sabotage is None else sabotage.switches
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=_REQUEST_S)
    async with (
        open_cluster(stores, free_ports(2), without=without) as servers,
        look_from_outside(*urls) as outside,
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
    ):
        clients = [Client(session, one.name, one.url, token, ledger) for one in servers]
        audience.note(f"{stores.servers.postgres}, {stores.servers.redis}, servers A and B")
        stage = Stage(servers, clients, ledger, outside, audience)
        if sabotage is None:
            await play(stage, meeting)
            promises = [await _check(stage, name) for name in _ACTS]
        else:
            promises = [await _check(stage, KEPT_BY[sabotage])]
    stage.figures["seconds"] = round(time.perf_counter() - began, 1)
    promises.sort(key=lambda promise: promise.promise)
    return Outcome(tuple(promises), tuple(stage.tiers), stage.figures)


async def _check(stage: Stage, name: Name) -> Promise:
    return await check(name, _ACTS[name](stage), stage.audience)


async def check(name: Name, act: Awaitable[Promise], audience: Audience) -> Promise:
    """Play one act. An act that comes to no end has not shown its promise kept."""
    try:
        promise = await act
    except (ClusterError, aiohttp.ClientError, RedisError, OSError, TimeoutError) as error:
        found = f"could not be shown: {str(error) or type(error).__name__}"
        promise = Promise(name, False, "an act without failures", found)
    audience.promise(promise)
    audience.advance()
    return promise
