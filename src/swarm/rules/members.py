"""Who takes part: joining, leaving, states, applied config versions, and the baton."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec.structs import replace

from src.state.errors import Refused
from src.state.models import Context, Meta
from src.swarm.shapes import bounds, free_json
from src.swarm.shapes.commands import (
    AddParticipant,
    NewParticipant,
    PassBaton,
    RemoveParticipant,
    ReportConfigVersion,
    SetParticipantState,
    UpdateParticipant,
)
from src.swarm.shapes.events import (
    BatonPassed,
    ConfigVersionReported,
    ParticipantAdded,
    ParticipantRemoved,
    ParticipantStateChanged,
    ParticipantUpdated,
)
from src.swarm.shapes.models import Baton, ConversationState, Participant


def whose(member: Participant | NewParticipant) -> str:
    """Return the subject of the tokens that stand for a member: its user, else itself.

    Never both: somebody's subject may happen to be the id of another one's participant.
    """
    return member.user_id or member.id


def joined(new: NewParticipant, at: datetime, field: str) -> Participant:
    """Make a member of what a command describes."""
    return Participant(
        id=new.id,
        kind=new.kind,
        name=new.name,
        joined_at=at,
        role=new.role,
        priority=new.priority,
        mode=new.mode,
        user_id=new.user_id,
        tracks=free_json.accept_map(new.tracks, dict[str, Any], f"{field}.tracks"),
    )


def add(
    state: ConversationState, command: AddParticipant, context: Context
) -> tuple[ParticipantAdded | ParticipantUpdated, ...]:
    """Decide a new member, or the return of one that had left."""
    new = joined(command.participant, context.at, "participant")
    known = state.participant(new.id)
    if known is not None:
        if known.state != "left" or known.kind != new.kind:
            detail = f"{known.kind} {new.id} is already in conversation {state.id}; update it"
            raise Refused("exists", detail, field="participant.id")
        return (ParticipantUpdated(replace(new, config_version=known.config_version)),)
    if len(state.participants) >= bounds.PARTICIPANTS:
        detail = f"{bounds.PARTICIPANTS} participants are in; remove one that has left"
        raise Refused("too_many", detail, field="participant")
    return (ParticipantAdded(new),)


def update(state: ConversationState, command: UpdateParticipant) -> tuple[ParticipantUpdated, ...]:
    """Decide the change of a member; nothing if it is so already."""
    known = member(state, command.id, "id")
    given: dict[str, Any] = {
        name: value
        for name in ("name", "role", "priority", "mode", "user_id")
        if (value := getattr(command, name)) is not None
    }
    if command.tracks != free_json.NULL:
        given["tracks"] = free_json.accept_map(command.tracks, dict[str, Any], "tracks")
    changed = replace(known, **given)
    return () if changed == known else (ParticipantUpdated(changed),)


def remove(state: ConversationState, command: RemoveParticipant) -> ParticipantRemoved:
    """Decide that a member goes. A baton stays with it: nobody inherits it unasked."""
    return ParticipantRemoved(member(state, command.id, "id").id)


def set_state(
    state: ConversationState, command: SetParticipantState
) -> tuple[ParticipantStateChanged, ...]:
    """Decide a member's state; nothing if it is in it already."""
    if member(state, command.id, "id").state == command.state:
        return ()
    return (ParticipantStateChanged(command.id, command.state),)


def report_version(
    state: ConversationState, command: ReportConfigVersion
) -> tuple[ConfigVersionReported, ...]:
    """Decide that a bot runs with this version of its config."""
    if bot(state, command.bot, "bot").config_version == command.version:
        return ()
    return (ConfigVersionReported(command.bot, command.version),)


def pass_baton(state: ConversationState, command: PassBaton) -> tuple[BatonPassed, ...]:
    """Decide who holds the conversation. Passing it again reserves the floor again."""
    if command.to is None:
        return () if state.baton is None else (BatonPassed(None),)
    return (BatonPassed(bot(state, command.to, "to").id),)


def member(state: ConversationState, participant_id: str, field: str) -> Participant:
    """Return a member.

    Raises:
        Refused: there is none with this id.
    """
    known = state.participant(participant_id)
    if known is None:
        detail = f"{participant_id} is not in conversation {state.id}; add it first"
        raise Refused("not_a_participant", detail, field=field)
    return known


def bot(state: ConversationState, participant_id: str, field: str) -> Participant:
    """Return a member that is a bot; refuses like `member`."""
    known = member(state, participant_id, field)
    if known.kind != "bot":
        raise Refused("wrong_kind", f"{participant_id} is a person; name a bot", field=field)
    return known


def with_member(
    members: tuple[Participant, ...], participant_id: str, **changes: object
) -> tuple[Participant, ...]:
    """Return the members with one of them changed; an unknown id changes nothing.

    A buffered change may be logged after its member was removed.
    """
    return tuple(
        replace(known, **changes) if known.id == participant_id else known for known in members
    )


def replaced(state: ConversationState, event: ParticipantUpdated) -> tuple[Participant, ...]:
    """Fold the new value of a member."""
    new = event.participant
    return tuple(new if known.id == new.id else known for known in state.participants)


def removed(state: ConversationState, event: ParticipantRemoved) -> dict[str, object]:
    """Fold a removal; the bot's own statistics go with it, its share of the totals stays.

    What it was saying becomes no turn: it is nobody's.
    """
    speech = state.speech
    return {
        "speech": None if speech is not None and speech.bot == event.id else speech,
        "participants": tuple(known for known in state.participants if known.id != event.id),
        "stats": replace(
            state.stats, bots=tuple(bot for bot in state.stats.bots if bot.bot != event.id)
        ),
    }


def passed(event: BatonPassed, meta: Meta) -> Baton | None:
    """Fold the passing of the baton."""
    return None if event.to is None else Baton(event.to, meta.actor, meta.at)
