"""Who may enter a room, as what, and under which name. Pure: a caller, a state, a wish.

host        publishes, subscribes, sends data, and may mute or remove others: who made the room or
            its conversation, and administrators
speaker     publishes, subscribes, sends data: who belongs to the conversation; guests of open rooms
listener    subscribes: who reads all conversations

An identity is the caller's own: who enters under it is believed to be that person, and puts out
whoever was in under it before. Bots and workers, who act for others, may name another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import msgspec

from src.api.auth.principals import Principal, Right, Role
from src.api.auth.rules import check_read, may_speak, speaker
from src.api.errors import Forbidden, Unauthorized
from src.state.records.rooms import Room
from src.swarm.rooms.protocols import AGENT_PREFIX, BOT_PREFIX
from src.swarm.shapes.models import ConversationState

GUEST_PREFIX = "guest-"


class Part(StrEnum):
    """As what somebody is in a room."""

    HOST = "host"
    SPEAKER = "speaker"
    LISTENER = "listener"


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """What was asked for of what is anybody's to choose."""

    identity: str | None = None
    name: str | None = None
    attributes: Mapping[str, str] = {}


class Admission(msgspec.Struct, frozen=True, gc=False):
    """What a token says."""

    room_id: str
    conversation_id: str
    identity: str
    user_id: str
    """Who that is, for those who hear it speak."""
    name: str
    part: Part
    attributes: Mapping[str, str] = {}


def admitted(caller: Principal, state: ConversationState, room: Room, wanted: Wanted) -> Admission:
    """Let a caller in.

    Raises:
        Forbidden: it has no right to this room, or none to this identity.
    """
    check_read(caller, state)
    own = speaker(caller, state).id
    identity = own if wanted.identity in (None, caller.id) else wanted.identity
    assert identity is not None
    if identity != own and not caller.may(Right.WRITE_CONVERSATIONS):
        raise Forbidden("you may enter in your own name only; leave participant_identity out")
    member = state.participant(identity)
    is_bot = member is not None and member.kind == "bot"
    # By these beginnings everybody in the room knows whose word counts for the swarm's.
    if is_bot or identity.startswith((BOT_PREFIX, AGENT_PREFIX)):
        raise Forbidden(f"{identity} is a bot's; the worker of its swarm brings it in")
    known = (identity, identity) if member is None else (member.user_id or member.id, member.name)
    return Admission(
        room.id,
        room.conversation_id,
        identity,
        caller.id if identity == own else known[0],
        wanted.name or known[1],
        _part(caller, state, room, own=identity == own),
        wanted.attributes,
    )


def guest(room: Room | None, wanted: Wanted, number: str) -> Admission:
    """Let somebody in who has no token, under an identity that is nobody's.

    Raises:
        Unauthorized: the room is not open; whether it is there is not said.
        Forbidden: an identity was asked for.
    """
    if room is None or room.deleted or not room.open:
        raise Unauthorized("guests may enter open rooms only")
    if wanted.identity is not None:
        raise Forbidden("guests get an identity of their own; leave participant_identity out")
    identity = GUEST_PREFIX + number
    given = (room.id, room.conversation_id, identity, identity, wanted.name or "Guest")
    return Admission(*given, Part.SPEAKER, wanted.attributes)


def check_change(caller: Principal, state: ConversationState, room: Room) -> None:
    """Raises Forbidden unless the caller may rename, open and end the room."""
    if not caller.may(Right.WRITE_CONVERSATIONS) and not _made(caller, state, room):
        check_read(caller, state)
        raise Forbidden(f"{room.created_by} made room {room.id} and may change this")


def check_send(caller: Principal, state: ConversationState) -> None:
    """Raises Forbidden unless the caller may have the swarm come to the conversation's room."""
    if not may_speak(caller, state):
        check_read(caller, state)
        raise Forbidden("who speaks in a conversation may send for its swarm")


def _part(caller: Principal, state: ConversationState, room: Room, *, own: bool) -> Part:
    if own and (Role.ADMIN in caller.roles or _made(caller, state, room)):
        return Part.HOST
    return Part.SPEAKER if may_speak(caller, state) else Part.LISTENER


def _made(caller: Principal, state: ConversationState, room: Room) -> bool:
    makers = (room.created_by, state.created_by)
    return caller.id in makers and may_speak(caller, state)
