"""The demonstration with voices from beginning to end: LiveKit, stores and servers up, the acts.

Everything is started for it, in a folder of its own that is removed afterwards.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp

from src.api.auth.principals import Role
from src.api.auth.tokens import issue_token
from src.demo.client import Client, Ledger
from src.demo.cluster import Stores, open_cluster, open_stores
from src.demo.media import open_media
from src.demo.processes import free_ports
from src.demo.promises import Name, Outcome, Promise
from src.demo.screen import Audience
from src.demo.show import check
from src.demo.voice.acts import (
    bots_are_heard_again,
    bots_speak_one_after_another,
    cut_turn_is_kept,
    edit_is_obeyed_aloud,
    every_turn_is_written_once,
    person_silences_the_bot,
    session_is_summarised_once,
)
from src.demo.voice.stage import VoiceStage, open_stage

_ACTS: Mapping[Name, Callable[[VoiceStage], Awaitable[Promise]]] = {
    Name.ONE_VOICE: bots_speak_one_after_another,
    Name.BARGE_IN: person_silences_the_bot,
    Name.OBEYED_ALOUD: edit_is_obeyed_aloud,
    # After all that is said to servers that live ...
    Name.WRITTEN_ONCE: every_turn_is_written_once,
    # ... and before what is said to a dead one.
    Name.HEARD_AGAIN: bots_are_heard_again,
    Name.CUT_KEPT: cut_turn_is_kept,
    Name.SUMMARISED_ONCE: session_is_summarised_once,
}
_TOKEN_LIFETIME = timedelta(hours=1)
_REQUEST_S = 20.0


def perform(audience: Audience) -> Outcome:
    """Run the demonstration and return what was found of each promise.

    Must not be called from a running event loop.

    Raises:
        BinariesMissing: there is no livekit-server; says how to get one.
        EmbeddedError, ClusterError: the servers could not be started.
    """
    ports = free_ports(2)
    with (
        TemporaryDirectory(prefix="swarmstate-demo-", ignore_cleanup_errors=True) as folder,
        audience.live(len(_ACTS)),
        open_media(Path(folder), {}, ports) as media,
        open_stores(Path(folder), {}) as stores,
    ):
        return asyncio.run(_perform(stores, ports, media, audience))


async def _perform(
    stores: Stores, ports: list[int], media: Mapping[str, str], audience: Audience
) -> Outcome:
    token = issue_token(stores.jwt_secret, "demo", [Role.ADMIN], lifetime=_TOKEN_LIFETIME)
    began = time.perf_counter()
    timeout = aiohttp.ClientTimeout(total=_REQUEST_S)
    async with (
        open_cluster(stores, ports, media=media) as servers,
        aiohttp.ClientSession(timeout=timeout) as session,
    ):
        clients = [Client(session, one.name, one.url, token, Ledger()) for one in servers]
        async with open_stage(servers, clients, audience) as stage:
            promises = [await check(name, act(stage), audience) for name, act in _ACTS.items()]
    stage.figures["seconds"] = round(time.perf_counter() - began, 1)
    promises.sort(key=lambda promise: promise.promise)
    return Outcome(tuple(promises), (), stage.figures)
