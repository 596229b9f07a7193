"""Rooms and tokens for them: bodies of requests, and what answers look like."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from src.state.records.rooms import Room
from src.state.records.swarm_queue import Queued, Standing
from src.swarm.rooms.protocols import AGENT
from src.swarm.shapes import bounds
from src.swarm.shapes.bounds import Id, Name

_TAKEN = r"^(?!lk\.|swarmstate\.)[^\u0000]{1,100}(?![\s\S])"
# LiveKit's own attributes (`lk.agent.state`), and ours, say what bots do: only their word counts.
AttributeName = Annotated[str, Meta(pattern=_TAKEN)]
AttributeText = Annotated[str, Meta(max_length=500)]
Nothing = Literal[""]


class _Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A body, or a part of one."""


class NewRoom(_Input, frozen=True):
    """A room, and the conversation that it is the voice of: a new one unless it is named."""

    name: Name | None = None
    """What people call it; its id, if left out."""
    id: Id | None = None
    """Made by the server if left out; the name under which LiveKit knows the room."""
    conversation_id: Id | None = None
    """One that you began; it keeps its participants."""
    user_id: Id | None = None
    """The person for whom it is, if that is not you."""
    bots: Annotated[tuple[Id, ...], Meta(max_length=bounds.PARTICIPANTS - 1)] = ()
    team: Id | None = None
    """Its members are bots of the conversation, which inherits what the team sets."""
    open: bool = False
    """Whether guests may enter, where SWARMSTATE_API_GUESTS allows them at all."""


class RoomEdit(_Input, frozen=True):
    """What can be changed of a room."""

    name: Name
    open: bool


class RecordingWished(_Input, frozen=True):
    """Whether a room is to be recorded, from now on."""

    recording: bool


class AgentJoined(_Input, frozen=True):
    """A worker's agent has come into a room; `bot_id` names the bot that it speaks for."""

    agent_identity: Id
    bot_id: Id | None = None


class AgentWanted(_Input, frozen=True):
    """The swarm, as LiveKit's libraries ask for it."""

    agent_name: Literal["swarmstate"]
    metadata: Nothing = ""
    """The server's own: which conversation it is."""


class RoomConfig(_Input, frozen=True):
    """What of LiveKit's room configuration a client may wish for."""

    agents: Annotated[tuple[AgentWanted, ...], Meta(max_length=1)] = ()


class TokenWanted(_Input, frozen=True):
    """LiveKit's standard request for a token."""

    room_name: Id | None = None
    """A room's id; left out, a new room is made."""
    participant_identity: Id | None = None
    """Your own, which is what you get without it. Bots and workers may name another person."""
    participant_name: Name | None = None
    participant_metadata: Nothing = ""
    """The server's own: which user it is."""
    participant_attributes: Annotated[dict[AttributeName, AttributeText], Meta(max_length=16)] = {}
    room_config: RoomConfig | None = None


class Automatic(_Input, frozen=True):
    """Who talks with whom; yourself, with nobody yet, if left out."""

    team: Id | None = None
    user: Id | None = None


class RoomItem(msgspec.Struct, frozen=True, gc=False):
    """A room."""

    room_id: str
    """Also its name on LiveKit."""
    name: str
    conversation_id: str
    open: bool
    live: bool
    """Whether it lives on LiveKit, as far as was heard: half a minute old at most."""
    sid: str
    """LiveKit's name of its newest life; empty before the first."""
    agent: str
    """The swarm's agent, by its identity; empty while none is there."""
    swarm: bool
    """Whether a swarm was asked for."""
    dispatch_id: str | None
    version: int
    created_by: str
    created_at: datetime
    updated_at: datetime


class RoomList(msgspec.Struct, frozen=True, gc=False):
    """Rooms in order of id."""

    rooms: tuple[RoomItem, ...]
    next_cursor: str | None


class SwarmSent(msgspec.Struct, frozen=True, gc=False):
    """The way of a swarm to a room, which begins when a server has a free place for it."""

    room_id: str
    conversation_id: str
    dispatch_id: str | None
    """LiveKit's name of its way; null while it waits."""
    state: Standing
    """`waiting` in line; `placed`: on its way, or there; `expired`: no place came free in time;
    `dead`: sending it failed too often, and an operator has to look at it."""
    position: int | None
    """Its place in line, 1 for the next; null when it does not wait."""
    enqueued_at: datetime
    deadline: datetime
    """When it stops waiting."""
    attempts: int
    """How often it was sent, or was to be sent."""
    why: str
    """What was in the way last; empty when nothing was."""
    agent_name: str = AGENT


class RecordingState(msgspec.Struct, frozen=True, gc=False):
    """What is wished for, and what is done."""

    room_id: str
    conversation_id: str
    wanted: bool
    """Whether the room is to be recorded: what its conversation says, else its team or the global
    setting `policy`."""
    under_way: bool | None
    """Whether it is recorded now, which everybody in the room sees; null: LiveKit is away."""


class TokenMade(msgspec.Struct, frozen=True, gc=False):
    """Where to connect, and with what: LiveKit's standard answer."""

    server_url: str
    participant_token: str


class SessionBegun(msgspec.Struct, frozen=True, gc=False):
    """All that a client needs to talk; `session_id` is the room's id."""

    room_url: str
    token: str
    session_id: str
    conversation_id: str
    swarm: SwarmSent


def sent(queued: Queued) -> SwarmSent:
    """Return the answer for a swarm's way."""
    return SwarmSent(
        queued.room_id,
        queued.conversation_id,
        queued.dispatch_id,
        queued.state,
        queued.position or None,
        queued.enqueued_at,
        queued.deadline,
        queued.attempts,
        queued.why,
    )


def item(room: Room) -> RoomItem:
    """Return the answer for a room."""
    return RoomItem(
        room.id,
        room.name,
        room.conversation_id,
        room.open,
        not room.over,
        room.sid,
        room.agent,
        room.swarm,
        room.dispatch_id,
        room.version,
        room.created_by,
        room.created_at,
        room.updated_at,
    )
