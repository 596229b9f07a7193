"""Connections of bots to a room: each with a token of its own, of kind agent."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Protocol

from livekit import api, rtc

from src.agents.closing import Closing

_CONNECT_S = 10.0
_TOKEN = timedelta(minutes=10)
"""Long enough to connect with; who is connected is given fresh ones by LiveKit."""


class Connect(Protocol):
    """Connects a bot to the room that it was made for."""

    async def __call__(self, identity: str, name: str) -> rtc.Room:
        """Return a connected room.

        Raises:
            rtc.ConnectError, TimeoutError: LiveKit does not let it in, or does not answer.
        """
        ...


class Connections:
    """`Connect` with the server's own key."""

    def __init__(
        self, url: str, key: str, secret: str, room: str, *, patience_s: float = _CONNECT_S
    ) -> None:
        self._url, self._key, self._secret, self._room = url, key, secret, room
        self._patience_s = patience_s
        self._leaving = Closing()

    async def __call__(self, identity: str, name: str) -> rtc.Room:
        token = (
            api.AccessToken(self._key, self._secret)
            .with_identity(identity)
            .with_name(name)
            # Without this kind it would hold the room open, and other bots would take it for a
            # person.
            .with_kind("agent")
            .with_ttl(_TOKEN)
            .with_grants(
                api.VideoGrants(
                    room_join=True, room=self._room, agent=True, can_update_own_metadata=True
                )
            )
            .to_jwt()
        )
        room = rtc.Room()
        # A voice hears nobody: people are heard by the room's ears.
        entering = asyncio.create_task(
            room.connect(self._url, token, rtc.RoomOptions(auto_subscribe=False))
        )
        try:
            async with asyncio.timeout(self._patience_s):
                await asyncio.shield(entering)
        except (TimeoutError, asyncio.CancelledError):
            self._leaving.begin(_leave(room, entering))
            raise
        return room

    async def aclose(self) -> None:
        """Wait until nobody is on the way into the room who was given up.

        LiveKit's library gives every try up by itself, within half a minute.
        """
        await self._leaving.done()


async def _leave(room: rtc.Room, entering: asyncio.Task[None]) -> None:
    """Enter a room, and leave it: given up half-way, the native library ends the whole process."""
    try:
        await entering
    except rtc.ConnectError:
        return
    await room.disconnect()
