"""Who may see and change a conversation. Pure: a caller, a state, a command, and nothing else.

read                          the creator, whose a participant is, or who reads all
speak                         the same, in their own name
shared work, members, status  the same
a person's name and leaving   that one itself, or the creator; a bot's name the creator
another id than one's subject given by the creator
config, team, tools, deletion the creator
files                         uploaded by those who speak, deleted by uploader or creator
what bots and workers report  the roles admin and service, which may do all of the above too
what a host reports           nobody: only the server does, of itself
"""

from __future__ import annotations

from src.api.auth.principals import Principal, Right
from src.api.errors import Forbidden
from src.swarm.rules.members import whose
from src.swarm.shapes.commands import (
    OF_HOSTS,
    AddParticipant,
    Command,
    CountUsage,
    Delete,
    NewParticipant,
    PatchConfig,
    PostMessage,
    RemoveParticipant,
    ReportConfigVersion,
    SaveSession,
    SaveTurn,
    SetTeam,
    SetTools,
    Speaker,
    UpdateParticipant,
)
from src.swarm.shapes.models import ConversationState
from src.swarm.shapes.work import DecideToolCall, FinishToolCall, RequestToolCall

_CREATORS = (PatchConfig, SetTeam, SetTools, Delete)
_WORKERS = (CountUsage, ReportConfigVersion, RequestToolCall, FinishToolCall, SaveSession)


def may_read(caller: Principal, state: ConversationState) -> bool:
    """Say whether the caller may see the conversation."""
    return caller.reads_all or (Right.TALK in caller.rights and _belongs(caller.id, state))


def check_read(caller: Principal, state: ConversationState) -> None:
    """Raises Forbidden unless the caller may see the conversation."""
    if not may_read(caller, state):
        raise _not_a_member(state)


def check_right(caller: Principal, right: Right) -> None:
    """Raises Forbidden unless the caller has the right."""
    if right not in caller.rights:
        roles = ", ".join(caller.roles) or "none"
        raise Forbidden(f"this needs the right {right.value}; your roles are: {roles}")


def check_command(caller: Principal, state: ConversationState, command: Command) -> None:
    """Raises Forbidden unless the caller may submit this command to this conversation."""
    if isinstance(command, OF_HOSTS):
        raise Forbidden("only the server that hosts the conversation reports this")
    if caller.may(Right.WRITE_CONVERSATIONS):
        return
    check_right(caller, Right.TALK)
    if not _belongs(caller.id, state):
        # Who may read all may not therefore write.
        raise _not_a_member(state)
    if isinstance(command, _WORKERS):
        raise Forbidden("bots and workers report this, with a token of the role service")
    if isinstance(command, DecideToolCall) and command.decision == "time_out":
        raise Forbidden("the time to approve ends by itself; approve or reject the call")
    if isinstance(command, _CREATORS) and caller.id != state.created_by:
        raise Forbidden(f"{state.created_by} created conversation {state.id} and may change this")
    own = _own_ids(caller.id, state)
    if isinstance(command, PostMessage):
        _check_speech(state, own, command)
    if isinstance(command, SaveTurn) and (command.user_id or caller.id) not in own:
        raise Forbidden("you may save your own turns only; leave `user_id` out")
    if isinstance(command, UpdateParticipant):
        if command.user_id is not None:
            raise Forbidden("whose member it is was said when it was added; leave `user_id` out")
        if command.name is not None:
            _check_own(caller, state, command.id, "name", command.name)
    if isinstance(command, RemoveParticipant):
        _check_own(caller, state, command.id, "kind", "bot")
    if isinstance(command, AddParticipant):
        _check_identity(caller, state, command.participant)


def may_speak(caller: Principal, state: ConversationState) -> bool:
    """Say whether the caller may say something in the conversation."""
    if caller.may(Right.WRITE_CONVERSATIONS):
        return True
    return caller.may(Right.TALK) and _belongs(caller.id, state)


def check_upload(caller: Principal, state: ConversationState) -> None:
    """Raises Forbidden unless the caller may add a file to the conversation."""
    if not caller.may(Right.WRITE_CONVERSATIONS):
        check_right(caller, Right.TALK)
        if not _belongs(caller.id, state):
            raise _not_a_member(state)


def check_delete_file(caller: Principal, state: ConversationState, uploader: str) -> None:
    """Raises Forbidden unless the caller may delete a file of that uploader."""
    if not caller.may(Right.WRITE_CONVERSATIONS):
        check_right(caller, Right.TALK)
        if caller.id not in (uploader, state.created_by):
            raise Forbidden("who uploaded a file, or began its conversation, may delete it")


def speaker(caller: Principal, state: ConversationState) -> Speaker:
    """Return as whom the caller speaks: its participant, else a person of its own id."""
    for member in state.participants:
        if whose(member) == caller.id:
            return Speaker(member.kind, member.id)
    return Speaker("person", caller.id)


def _check_speech(state: ConversationState, own: set[str], said: PostMessage) -> None:
    """Refuse a turn that is said to be somebody else's, by id, by name or by role."""
    author = said.author
    if author.kind != "person" or author.id not in own:
        raise Forbidden("you may speak in your own name only; leave `author` out")
    if author.name and state.participant(author.id) is None:
        # A participant's own name is held by the owner, which knows the newest one.
        raise Forbidden("who is no participant has its id for a name; leave `author.name` out")
    if said.role not in (None, "user"):
        raise Forbidden("people speak in the role user; leave `role` out")


def _check_identity(caller: Principal, state: ConversationState, new: NewParticipant) -> None:
    """Refuse to make of oneself, or of anybody else, a member that somebody else is or was.

    Who was removed is not remembered: so only the creator gives a person another id than its
    subject, which nobody else has.
    """
    owner = whose(new)
    before = {member.id: whose(member) for member in state.participants}
    before.setdefault(state.created_by, state.created_by)
    if before.get(new.id, owner) != owner or (owner == caller.id and new.id != caller.id):
        raise Forbidden(f"{new.id} is another one's member; choose another `id` or `user_id`")
    if new.id not in before and new.id != owner and caller.id != state.created_by:
        raise Forbidden(f"only {state.created_by} gives others an id; leave `user_id` out")
    _check_own(caller, state, new.id, "name", new.name)


def _check_own(
    caller: Principal, state: ConversationState, id: str, field: str, value: str
) -> None:
    """Refuse to have this field of another one's participant be anything but this value."""
    member = state.participant(id)
    if member is None or caller.id in (state.created_by, whose(member)):
        return
    if getattr(member, field) != value:
        raise Forbidden(f"{id} itself, or {state.created_by}, who began {state.id}, may do this")


def _not_a_member(state: ConversationState) -> Forbidden:
    return Forbidden(f"conversation {state.id} is for its members; ask one to add you")


def _belongs(id: str, state: ConversationState) -> bool:
    if state.created_by == id:
        return True
    for member in state.participants:  # noqa: SIM110  # on the hot path, a generator costs more
        if whose(member) == id:
            return True
    return False


def _own_ids(id: str, state: ConversationState) -> set[str]:
    others = {member.id for member in state.participants if whose(member) != id}
    return ({id} | {member.id for member in state.participants}) - others
