"""The trip of a new room: LiveKit first, then the conversation, then the row.

Each step may be made again and finds that it was done, so a request that broke in the middle is
simply repeated. If it is not, nothing lasting is left by its first step: LiveKit forgets an empty
room.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from src.api.auth.idempotency import key_of
from src.api.auth.principals import Principal, Right, Role
from src.api.auth.rules import check_right
from src.api.errors import Forbidden
from src.api.ids import id_of
from src.api.schemas.rooms import NewRoom
from src.state.errors import NotFound, Refused
from src.state.records.rooms import Room
from src.swarm.rooms.service import RoomService, taken
from src.swarm.service import SwarmService
from src.swarm.shapes import bounds
from src.swarm.shapes.commands import Create, NewParticipant
from src.swarm.shapes.config import Config


async def make_room(
    rooms: RoomService, service: SwarmService, caller: Principal, new: NewRoom, id: str
) -> tuple[Room, bool]:
    """Return the room with this id, and whether it was made now.

    Raises:
        Forbidden: the caller may not make this.
        Refused: the id is another's, or the conversation has a room.
        NotFound: no such conversation or team.
        MediaUnavailable: LiveKit does not answer; nothing was made.
    """
    check_right(caller, Right.TALK)
    if new.user_id not in (None, caller.id) and not caller.may(Right.WRITE_CONVERSATIONS):
        raise Forbidden("you may make rooms for yourself only; leave `user_id` out")
    known = await rooms.find(id)
    if known is not None:
        _check_same(caller, known, new)
        return await rooms.enter(known), False
    if new.conversation_id is not None:
        await _check_conversation(service, caller, new, new.conversation_id)
    conversation_id = new.conversation_id or id
    create = None if new.conversation_id else await _beginning(service, caller, new, id)
    live = await rooms.prepare(id, conversation_id)
    if create is not None:
        key = key_of(caller, id_of("room", id))
        await service.submit(id, create, key=key, actor=caller.id, create=True)
    name = new.name or id
    return await rooms.create(id, name, conversation_id, new.open, caller.id, live), True


def _check_same(caller: Principal, known: Room, new: NewRoom) -> None:
    same_maker = caller.id == known.created_by or caller.may(Right.WRITE_CONVERSATIONS)
    other = new.conversation_id not in (None, known.conversation_id)
    if known.deleted or not same_maker or other:
        raise taken(known.id)


async def _check_conversation(
    service: SwarmService, caller: Principal, new: NewRoom, conversation_id: str
) -> None:
    if new.bots or new.team is not None or new.user_id is not None:
        detail = "bots, team and user_id are for a new conversation; this one has its participants"
        raise Refused("incoherent", detail, field="conversation_id")
    state = (await service.read(conversation_id)).entry.state
    if caller.id != state.created_by and not caller.may(Right.WRITE_CONVERSATIONS):
        raise Forbidden(f"{state.created_by} created conversation {state.id} and may give it voice")


async def _beginning(service: SwarmService, caller: Principal, new: NewRoom, id: str) -> Create:
    members: dict[str, NewParticipant] = {}
    if new.team is not None:
        members = {bot.id: bot for bot in await members_of(service, new.team)}
    for bot in new.bots:
        members.setdefault(bot, NewParticipant(bot, "bot", await _name_of(service, bot)))
    # A worker makes rooms for others, and is in none.
    person = new.user_id or (None if Role.SERVICE in caller.roles else caller.id)
    if person is not None and person not in members:
        members[person] = NewParticipant(person, "person", person, user_id=person)
    if len(members) > bounds.PARTICIPANTS:
        detail = f"a conversation has {bounds.PARTICIPANTS} participants at most"
        raise Refused("too_many", detail, field="team")
    create = Create(id, Config(team_id=new.team), tuple(members.values()))
    return await service.in_force.begun(create)


async def members_of(service: SwarmService, team: str) -> Sequence[NewParticipant]:
    """Return the bots of a team, as participants of a new conversation.

    Raises:
        NotFound: there is no such team.
    """
    members = (await service.configs.get("team", team)).body.members
    return [
        NewParticipant(one.bot, "bot", await _name_of(service, one.bot), one.role, one.priority)
        for one in members
    ]


async def _name_of(service: SwarmService, bot: str) -> str:
    try:
        record: Any = await service.configs.get("bot", bot)
    except NotFound:
        return bot
    return str(record.body.name)
