"""The trip of a write through the edge: may the caller do this, then the owner decides."""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from src.api.auth.principals import Principal, Right
from src.api.auth.rules import check_command, check_right, speaker
from src.api.bodies import Body, command
from src.api.dependencies import Wish
from src.state.models import Durability, Version
from src.swarm.configs.inheritance import in_effect
from src.swarm.erasing import Erasing
from src.swarm.forwarding import Receipt
from src.swarm.rules.sessions import authored, unlogged, with_members
from src.swarm.service import SwarmService
from src.swarm.shapes.commands import Command, Delete, SaveSession
from src.swarm.shapes.models import ConversationState

_PAGE = 1000


async def submit(
    service: SwarmService, caller: Principal, conversation_id: str, asked: Command, wish: Wish
) -> Receipt:
    """Have a command taken, if the caller may submit it."""
    if not caller.may(Right.WRITE_CONVERSATIONS):
        state = await _state(service, conversation_id, wish.at_least)
        check_command(caller, state, asked)
    return await service.submit(
        conversation_id,
        asked,
        key=wish.key,
        actor=caller.id,
        if_version=wish.if_version,
        durability=wish.durability,
    )


async def erase(
    service: SwarmService, erasing: Erasing, caller: Principal, conversation_id: str, wish: Wish
) -> None:
    """Delete a conversation if it was not deleted yet, and let nothing remain of what was said.

    Who may delete it may erase it, later too.
    """
    at_least = wish.at_least
    left = await erasing.tombstone(conversation_id)
    if left is None:
        # Logged, since nothing may come after it and nothing be erased before it.
        safe = msgspec.structs.replace(wish, durability=Durability.LOGGED)
        at_least = (await submit(service, caller, conversation_id, Delete(), safe)).version
    else:
        check_command(caller, left, Delete())
    await erasing.erase(conversation_id, at_least=at_least)


async def say(
    service: SwarmService, caller: Principal, conversation_id: str, body: Body, wish: Wish
) -> Receipt:
    """Add one message; without an author it is the caller's."""
    if "author" not in body:
        _check_may_write(caller)
        state = await _state(service, conversation_id, wish.at_least)
        author = speaker(caller, state)
        body = {**body, "author": {"kind": author.kind, "id": author.id}}
    return await submit(service, caller, conversation_id, command("post_message", body), wish)


async def save_turn(
    service: SwarmService, caller: Principal, conversation_id: str, body: Body, wish: Wish
) -> Receipt:
    """Add a user's and an assistant's message; a member saves its own."""
    if body.get("user_id") is None and not caller.may(Right.WRITE_CONVERSATIONS):
        _check_may_write(caller)
        state = await _state(service, conversation_id, wish.at_least)
        body = {**body, "user_id": speaker(caller, state).id}
    return await submit(service, caller, conversation_id, command("save_turn", body), wish)


async def save_session(
    service: SwarmService,
    caller: Principal,
    conversation_id: str,
    session: SaveSession,
    wish: Wish,
) -> Receipt:
    """Add what the log lacks of a session, once: its id is the key."""
    state = await _state(service, conversation_id, wish.at_least)
    check_command(caller, state, session)
    ruled = in_effect(state, await service.in_force.inherited(state))
    lacking = authored(with_members(ruled, session, state.updated_at), session.messages)
    before: int | None = None
    seen = state.version.seq
    while lacking:
        page = await service.messages(conversation_id, before=before, limit=_PAGE)
        # All of the log's up to the newest one of the first page are looked at.
        seen = max(seen, *(message.seq for message in page.messages), 0)
        lacking = unlogged(lacking, page.messages)
        if page.next_cursor is None:
            break
        before = int(page.next_cursor)
    asked = replace(session, messages=lacking, seen_seq=seen)
    wish = Wish(session.id, wish.if_version, wish.durability, wish.at_least, True)
    return await submit(service, caller, conversation_id, asked, wish)


def _check_may_write(caller: Principal) -> None:
    """Before the state is looked at: who may write nothing learns nothing."""
    if not caller.may(Right.WRITE_CONVERSATIONS):
        check_right(caller, Right.TALK)


async def _state(
    service: SwarmService, conversation_id: str, at_least: Version | None
) -> ConversationState:
    return (await service.read(conversation_id, at_least=at_least)).entry.state
