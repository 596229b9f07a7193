"""Rooms: the voices of conversations on LiveKit, and the tokens that let people in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from swarmstate_client.answers import Json
from swarmstate_client.asks import Ask, at, conditional, query, write
from swarmstate_client.decoding import read
from swarmstate_client.pages import pages
from swarmstate_client.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A room; `room_id` is its name on LiveKit."""

    room_id: str
    name: str
    conversation_id: str
    open: bool
    live: bool
    """Whether it is there on LiveKit now."""
    sid: str
    agent: str
    """Who hosts the swarm in it; empty while nobody does."""
    swarm: bool
    """Whether a swarm was asked for."""
    dispatch_id: str | None
    version: int
    created_by: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomToken:
    """Where to connect, and with what."""

    server_url: str
    participant_token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomSwarm:
    """How the swarm comes to a room: it waits in line while no server has a free place."""

    room_id: str
    conversation_id: str
    dispatch_id: str | None
    state: str
    """`waiting`, `placed`, `expired` (no place came free in time) or `dead` (for the operator)."""
    position: int | None
    """Its place in line, 1 for the next; None when it does not wait."""
    enqueued_at: datetime
    deadline: datetime
    attempts: int
    why: str
    agent_name: str = "swarmstate"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomRecording:
    """Whether a room is to be recorded, and whether it is."""

    room_id: str
    conversation_id: str
    wanted: bool
    under_way: bool | None
    """None: LiveKit did not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomSession:
    """All that is needed to talk; `session_id` is the room's id."""

    room_url: str
    token: str = field(repr=False)
    session_id: str
    conversation_id: str
    swarm: RoomSwarm


class Rooms:
    """What `Client.rooms` does; NotConfigured on servers without a LiveKit."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def begin(
        self, *, team: str | None = None, user: str | None = None, key: str | None = None
    ) -> RoomSession:
        """Make a room with its conversation, send the swarm there, and let the user in."""
        body = _given(team=team, user=user)
        path = at("/agent/voice/automatic")
        ask = Ask(method="POST", path=path, body=body, headers=write(key=key))
        return read(RoomSession, (await self._transport.send(ask)).body)

    async def create(
        self,
        id: str | None = None,
        *,
        name: str | None = None,
        conversation_id: str | None = None,
        user_id: str | None = None,
        bots: Sequence[str] = (),
        team: str | None = None,
        open: bool = False,
        key: str | None = None,
    ) -> Room:
        """Make a room, with a new conversation unless one is named."""
        body = _given(
            id=id,
            name=name,
            conversation_id=conversation_id,
            user_id=user_id,
            bots=list(bots),
            team=team,
            open=open,
        )
        ask = Ask(method="POST", path=at("/rooms"), body=body, headers=write(key=key))
        return read(Room, (await self._transport.send(ask)).body)

    def list(self, *, page: int = 50) -> AsyncIterator[Room]:
        """Give rooms, in order of id."""
        ask = Ask(method="GET", path=at("/rooms"), query=query(limit=page))
        return pages(self._transport, ask, "rooms", Room)

    async def get(self, id: str) -> Room:
        """Return a room."""
        ask = Ask(method="GET", path=at("/rooms/{}", id))
        return read(Room, (await self._transport.send(ask)).body)

    async def patch(self, id: str, change: Json, *, if_match: int | None = None) -> Room:
        """Apply a JSON merge patch to `name` and `open`."""
        headers = conditional(if_match)
        ask = Ask(method="PATCH", path=at("/rooms/{}", id), body=change, headers=headers)
        return read(Room, (await self._transport.send(ask)).body)

    async def delete(self, id: str, *, if_match: int | None = None) -> None:
        """End a room for good, whoever is in; its conversation stays."""
        headers = conditional(if_match)
        await self._transport.send(Ask(method="DELETE", path=at("/rooms/{}", id), headers=headers))

    async def send_swarm(self, id: str) -> RoomSwarm:
        """Have the conversation's bots in the room, now and in each later life of it.

        Refused when it was tried too often, and waits for an operator.
        """
        ask = Ask(method="POST", path=at("/rooms/{}/swarm", id))
        return read(RoomSwarm, (await self._transport.send(ask)).body)

    async def swarm(self, id: str) -> RoomSwarm:
        """Return how the swarm comes; NotFound when nobody asked for one."""
        ask = Ask(method="GET", path=at("/rooms/{}/swarm", id))
        return read(RoomSwarm, (await self._transport.send(ask)).body)

    async def record(self, id: str, recording: bool = True) -> RoomRecording:
        """Have a room recorded from now on, or not any more; the files are its conversation's."""
        body = {"recording": recording}
        ask = Ask(method="POST", path=at("/rooms/{}/recording", id), body=body)
        return read(RoomRecording, (await self._transport.send(ask)).body)

    async def recording(self, id: str) -> RoomRecording:
        """Say whether a room is recorded."""
        ask = Ask(method="GET", path=at("/rooms/{}/recording", id))
        return read(RoomRecording, (await self._transport.send(ask)).body)

    async def agent_joined(self, id: str, identity: str, *, bot_id: str | None = None) -> None:
        """Say that an agent of one's own worker is in the room, and for which bot it speaks."""
        body = _given(agent_identity=identity, bot_id=bot_id)
        path = at("/rooms/{}/agent-joined", id)
        await self._transport.send(Ask(method="POST", path=path, body=body))

    async def token(
        self,
        room: str | None = None,
        *,
        identity: str | None = None,
        name: str | None = None,
        attributes: Json | None = None,
    ) -> RoomToken:
        """Return a token for a room, or for a new one."""
        body = _given(
            room_name=room,
            participant_identity=identity,
            participant_name=name,
            participant_attributes=attributes,
        )
        ask = Ask(method="POST", path="/api/getToken", body=body, repeatable=room is not None)
        return read(RoomToken, (await self._transport.send(ask)).body)


def _given(**fields: object) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}
