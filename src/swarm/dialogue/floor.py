"""The floor: who may speak now. People first, one voice at a time, and a reason for each answer.

Rules in order; the first that applies decides:

    not_a_member     no bot of this conversation, or one that has left
    muted            told to be silent, or disabled or unavailable
    person_speaking  people come first
    limit_...        the conversation has used up its credits or its bots' time (`budget.py`)
    loop_cap         bots took as many turns in a row as the config allows; a person must speak
    reserved         the baton was passed to another bot, which has not spoken yet
    held             another bot is speaking: one voice at a time
    free             granted

A floor lives in the memory of the server that owns the conversation. It is no part of the state:
what it loses with its server is at most who was just speaking.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec.structs import replace

from src.swarm.configs import inheritance
from src.swarm.configs.bots import BotConfig
from src.swarm.dialogue.responder import can_answer
from src.swarm.rules import budget
from src.swarm.shapes.models import ConversationState

FloorReason = Literal[
    "not_a_member",
    "muted",
    "person_speaking",
    "limit_credits",
    "limit_duration_s",
    "loop_cap",
    "reserved",
    "held",
    "free",
]


class Floor(msgspec.Struct, frozen=True, gc=False):
    """Who is speaking."""

    holder: str | None = None
    """The bot that was granted the floor: it thinks or speaks."""
    people: tuple[str, ...] = ()
    """The people who are speaking."""


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """Whether a bot may speak, and why or why not."""

    granted: bool
    reason: FloorReason


def ask(
    floor: Floor, state: ConversationState, bot_id: str, config: BotConfig | None = None
) -> Verdict:
    """Say whether the bot may speak now. Asking takes nothing: see `grant`."""
    reason = _reason(floor, state, bot_id, config)
    return Verdict(reason == "free", reason)


def grant(floor: Floor, bot_id: str) -> Floor:
    """Give the floor to a bot for which `ask` said yes."""
    return replace(floor, holder=bot_id)


def release(floor: Floor, bot_id: str) -> Floor:
    """Take the floor back from a bot; nothing changes if it had lost it already."""
    return replace(floor, holder=None) if floor.holder == bot_id else floor


def person_starts(floor: Floor, person_id: str) -> tuple[Floor, str | None]:
    """Let a person speak: barge-in. Also names the bot that has to stop, if one had the floor."""
    people = floor.people if person_id in floor.people else (*floor.people, person_id)
    return Floor(None, people), floor.holder


def person_stops(floor: Floor, person_id: str) -> Floor:
    """Note that a person has stopped, or is gone."""
    return replace(floor, people=tuple(person for person in floor.people if person != person_id))


def loop_cap_reached(state: ConversationState) -> bool:
    """Say whether bots have taken as many turns in a row as they may.

    A window that holds nothing but bots' turns and has lost older ones counts as reached: large
    turns shorten it, and then it can't show how long the row really is.
    """
    cap = inheritance.responder(state.config).loop_cap
    in_a_row = 0
    for message in reversed(state.messages):
        if message.author.kind == "person":
            return in_a_row >= cap
        in_a_row += message.author.kind == "bot"
    return in_a_row >= cap or (in_a_row > 0 and len(state.messages) < state.stats.turns)


def _reason(
    floor: Floor, state: ConversationState, bot_id: str, config: BotConfig | None
) -> FloorReason:
    member = state.participant(bot_id)
    if member is None or member.kind != "bot" or member.state == "left":
        return "not_a_member"
    if not can_answer(member, config):
        return "muted"
    if floor.people:
        return "person_speaking"
    used_up = budget.used_up(state)
    if used_up is not None:
        return used_up
    if loop_cap_reached(state):
        return "loop_cap"
    if _reserved_for_another(state, bot_id):
        return "reserved"
    if floor.holder not in (None, bot_id):
        return "held"
    return "free"


def _reserved_for_another(state: ConversationState, bot_id: str) -> bool:
    baton = state.baton
    if baton is None or baton.taken or baton.holder == bot_id:
        return False
    holder = state.participant(baton.holder)
    return holder is not None and can_answer(holder)
