"""Sessions saved at their end: what of them the log has already, and the turns that it has not.

A turn was logged if one of its id was, or else if its author said the same words at about that
time. Each logged turn stands for one of the session at most: who said "yes" twice said it twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from msgspec.structs import replace

from src.state.errors import Refused
from src.state.models import Context
from src.swarm.rules import members, turns
from src.swarm.shapes import bounds
from src.swarm.shapes.commands import PostMessage, SavedMessage, SaveSession, Speaker
from src.swarm.shapes.events import MessageAdded, ParticipantAdded, SessionSaved
from src.swarm.shapes.models import ConversationState, Message

NEAR = timedelta(seconds=60)
"""How far the times of who logged a turn and of who saved its session may differ."""


def save(
    state: ConversationState, command: SaveSession, context: Context
) -> tuple[ParticipantAdded | MessageAdded | SessionSaved, ...]:
    """Decide what the log lacks: members, turns, and last that the session was saved.

    Of turns up to `seen_seq` the log was asked before; newer ones are in the window.

    Raises:
        Refused: an author who is no member, or too many members.
    """
    there = with_members(state, command, context.at)
    new = there.participants[len(state.participants) :]
    if len(there.participants) > bounds.PARTICIPANTS:
        detail = f"{bounds.PARTICIPANTS} participants fit; remove some that have left"
        raise Refused("too_many", detail, field="participants")
    bounds.unique((one.id for one in new), "participants[{}].id")
    ids = (message.id for message in command.messages if message.id is not None)
    bounds.unique(ids, "messages[{}].id")
    since = [message for message in state.messages if message.seq > command.seen_seq]
    lacking = unlogged(authored(there, command.messages), since)
    added = tuple(
        _added(there, message, context, len(new) + place) for place, message in enumerate(lacking)
    )
    saved = SessionSaved(command.id, command.duration_s, len(added))
    return (*map(ParticipantAdded, new), *added, saved)


def with_members(state: ConversationState, command: SaveSession, at: datetime) -> ConversationState:
    """Return the state with the members of the session that it lacks."""
    new = tuple(
        members.joined(participant, at, f"participants[{index}]")
        for index, participant in enumerate(command.participants)
        if state.participant(participant.id) is None
    )
    return replace(state, participants=(*state.participants, *new))


def authored(
    state: ConversationState, messages: Iterable[SavedMessage]
) -> tuple[SavedMessage, ...]:
    """Return the messages with their authors named: the usual one of the role where none is."""
    return tuple(
        message
        if message.author is not None
        else replace(message, author=turns.usual_author(state, message.role))
        for message in messages
    )


def unlogged(
    session: Sequence[SavedMessage], logged: Iterable[Message]
) -> tuple[SavedMessage, ...]:
    """Return the messages that none of these logged ones stands for, in their order."""
    left = dict(enumerate(session))
    by_id = {message.id: place for place, message in left.items() if message.id is not None}
    by_words: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for place, message in left.items():
        assert message.author is not None
        by_words[message.author.id, message.text].append(place)
    for turn in logged:
        if turn.id in by_id:
            left.pop(by_id[turn.id], None)
            continue
        places = [place for place in by_words[turn.author.id, turn.text] if place in left]
        near = [one for one in places if _distance(left[one], turn) <= NEAR]
        if near:
            del left[min(near, key=lambda one: _distance(session[one], turn))]
    return tuple(left.values())


def _distance(message: SavedMessage, turn: Message) -> timedelta:
    if message.started_at is None:
        return timedelta(0)
    return min(abs(message.started_at - turn.started_at), abs(message.started_at - turn.ended_at))


def _added(
    state: ConversationState, message: SavedMessage, context: Context, index: int
) -> MessageAdded:
    """Decide one turn as if it was posted; its times default to each other."""
    author = message.author or Speaker("system", "session")
    posted = PostMessage(
        author,
        message.text,
        id=message.id,
        role=message.role,
        started_at=message.started_at or message.ended_at,
        ended_at=message.ended_at or message.started_at,
    )
    return turns.post(state, posted, context, index)
