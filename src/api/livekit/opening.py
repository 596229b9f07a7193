"""Opens LiveKit when there is one. Its library costs 14 MB and half a second to load: others do
without."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from src.api.livekit.admissions import Admission
from src.swarm.rooms.protocols import Heard, Media
from src.swarm.rooms.settings import LiveKitSettings


class Keys(Protocol):
    """What LiveKit's secret is for."""

    def token(self, admission: Admission) -> str:
        """Return a token that lets one participant into one room."""

    def heard(self, body: bytes, authorization: str | None) -> Heard | None:
        """Return what LiveKit says of a room; raises Unauthorized if it is not LiveKit's word."""


@asynccontextmanager
async def open_media(settings: LiveKitSettings) -> AsyncIterator[Media | None]:
    """Open the way to LiveKit for the length of the block; None when none is configured."""
    if not settings.configured:
        yield None
        return
    from src.api.livekit.client import open_livekit

    async with open_livekit(settings) as media:
        yield media


def keys_of(settings: LiveKitSettings) -> Keys | None:
    """Return what signs and checks; None when no LiveKit is configured."""
    if not settings.configured:
        return None
    from src.api.livekit.keys import LiveKitKeys

    return LiveKitKeys(settings)
