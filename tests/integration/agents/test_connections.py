"""Entering a room of a real LiveKit whose answers are late: whoever is given up leaves it again."""

from __future__ import annotations

import asyncio

import pytest
from livekit import api

from src.agents.connections import Connections
from src.swarm.rooms.settings import LiveKitSettings
from tests.support.cluster_settings import eventually
from tests.support.livekit import needs_livekit
from tests.support.proxies import Proxy, open_proxy

ROOM = "late"
LATE_S = 0.4
"""For each of several answers until somebody is in."""

pytestmark = needs_livekit


async def test_who_is_given_up_half_way_enters_and_leaves(livekit: LiveKitSettings) -> None:
    url, key, secret = livekit.account
    async with api.LiveKitAPI(url, key, secret) as server, open_proxy(Proxy(url, 80)) as slow:
        wanted = api.ListParticipantsRequest(room=ROOM)

        async def is_there(identity: str) -> bool:
            found = await server.room.list_participants(wanted)
            return identity in [one.identity for one in found.participants]

        await server.room.create_room(api.CreateRoomRequest(name=ROOM))
        slow.back_s = LATE_S
        connect = Connections(slow.url, key, secret, ROOM, patience_s=LATE_S / 2)
        with pytest.raises(TimeoutError):
            await connect("bot-ada", "Ada")
        await eventually(lambda: is_there("bot-ada"), what="Ada, who was given up")
        await connect.aclose()
        assert not await is_there("bot-ada")

        connect = Connections(slow.url, key, secret, ROOM)
        entering = asyncio.create_task(connect("bot-ben", "Ben"))
        await eventually(lambda: is_there("bot-ben"), what="Ben, who does not know it yet")
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering
        await connect.aclose()
        assert not await is_there("bot-ben")
