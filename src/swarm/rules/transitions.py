"""From command to events to state: the two functions that everything else exists to feed.

`decide` asks what a command means for a state, and refuses or answers with facts; `fold` applies a
fact. Both are pure: same arguments, same answer, on every server and in every year. That is why a
state can be rebuilt from its log, a command decided again after a lost race, and a batch of events
folded before it is written.
"""

from __future__ import annotations

from typing import assert_never

import msgspec
from msgspec.structs import replace

from src.state.errors import NotFound, Refused, Undecodable
from src.state.models import ZERO, Context, Meta, event_id
from src.swarm.configs.inheritance import Inherited, in_effect
from src.swarm.rules import (
    blackboard,
    branching,
    configuring,
    creating,
    lifecycle,
    members,
    sessions,
    speeches,
    subtasks,
    tool_calls,
    turns,
    usage,
)
from src.swarm.shapes import bounds, free_json
from src.swarm.shapes.accepting import accepted_tools
from src.swarm.shapes.commands import (
    AddParticipant,
    Branch,
    ChangeStatus,
    Command,
    CountUsage,
    Create,
    CutSpeech,
    Delete,
    NoteSpeech,
    PassBaton,
    PatchConfig,
    PostMessage,
    RemoveParticipant,
    ReportConfigVersion,
    SaveSession,
    SaveTurn,
    SetParticipantState,
    SetTeam,
    SetTools,
    SummariseSession,
    UpdateParticipant,
)
from src.swarm.shapes.events import (
    BatonPassed,
    BlackboardChanged,
    Branched,
    ConfigChanged,
    ConfigVersionReported,
    ConversationEvent,
    Created,
    Deleted,
    MessageAdded,
    ParticipantAdded,
    ParticipantRemoved,
    ParticipantStateChanged,
    ParticipantUpdated,
    SessionSaved,
    SessionSummarised,
    SpeechHeard,
    StatusChanged,
    SubtaskDeleted,
    SubtaskSet,
    TeamChanged,
    ToolCallDecided,
    ToolCallProgressed,
    ToolCallRequested,
    ToolsChanged,
    UsageCounted,
)
from src.swarm.shapes.models import ConversationState
from src.swarm.shapes.work import (
    DecideToolCall,
    DeleteSubtask,
    EditBlackboard,
    FinishToolCall,
    RequestToolCall,
    SetSubtask,
)

_encode = msgspec.json.Encoder().encode


_Growing = (
    PatchConfig
    | SetTeam
    | SetTools
    | AddParticipant
    | UpdateParticipant
    | EditBlackboard
    | SetSubtask
    | RequestToolCall
    | FinishToolCall
    | SaveSession
    | NoteSpeech
)
"""The commands that can make the state larger than a snapshot may be."""
_Bounded = (
    SaveTurn
    | SummariseSession
    | CutSpeech
    | CountUsage
    | SetParticipantState
    | ReportConfigVersion
    | PassBaton
    | ChangeStatus
    | RemoveParticipant
    | DeleteSubtask
    | DecideToolCall
    | Delete
    | Create
    | Branch
)


def decide(
    state: ConversationState | None,
    command: Command,
    context: Context,
    inherited: Inherited = (),
) -> tuple[ConversationEvent, ...]:
    """Return the events that the command means here; none if all is so already.

    Event n gets the id `<context.key>:<n>`. `inherited` stands above the conversation; only what
    `inheritance.is_ruled` looks at it.

    Raises:
        NotFound: no such conversation, or it was deleted.
        Refused: not allowed in this state; `field` names the place in the command.
    """
    if state is None:
        begun = _begun(command, context)
        _check_size(None, begun, context)
        return begun
    lifecycle.admit(state, command)
    ruled = in_effect(state, inherited)
    if isinstance(command, PostMessage):  # by far the most frequent: asked about first
        return (turns.post(ruled, command, context),)
    if isinstance(command, _Growing):
        events = _growing(ruled, command, context)
        _check_size(state, events, context)
        return events
    return _bounded(ruled, command, context)


def fold(
    state: ConversationState | None, event: ConversationEvent, meta: Meta
) -> ConversationState:
    """Return the state after the event.

    Total over the events that `decide` made: it refuses nothing and never fails on them.

    Raises:
        Undecodable: a log that begins neither with `created` or `branched` nor, erased, with
            `deleted`.
    """
    if state is None:
        if isinstance(event, Branched):
            return branching.first(event, meta)
        if isinstance(event, Deleted):
            return lifecycle.erased(event, meta)
        if not isinstance(event, Created):
            raise Undecodable(f"event {meta.event_id}", "the log does not begin with `created`")
        return creating.created(event, meta)
    changes = _changes(state, event, meta)
    return replace(state, version=meta.version, updated_at=meta.at, **changes)


def _bounded(
    state: ConversationState, command: _Bounded, context: Context
) -> tuple[ConversationEvent, ...]:
    """Decide the commands that need no look at the size, the frequent ones first."""
    match command:
        case SaveTurn():
            return turns.save(state, command, context)
        case CutSpeech():
            return speeches.cut(state, command)
        case SummariseSession():
            return (SessionSummarised(command.session),)
        case CountUsage():
            return usage.count(state, command)
        case SetParticipantState():
            return members.set_state(state, command)
        case ReportConfigVersion():
            return members.report_version(state, command)
        case PassBaton():
            return members.pass_baton(state, command)
        case ChangeStatus():
            return lifecycle.change_status(state, command)
        case RemoveParticipant():
            return (members.remove(state, command),)
        case DeleteSubtask():
            return (subtasks.delete(state, command),)
        case DecideToolCall():
            return tool_calls.decide_call(state, command, context)
        case Delete():
            return (lifecycle.delete(state),)
        case Create() | Branch():
            detail = f"conversation {state.id} is already there; choose another id or use it"
            raise Refused("exists", detail, field="id")
        case _:
            assert_never(command)


def _growing(
    state: ConversationState, command: _Growing, context: Context
) -> tuple[ConversationEvent, ...]:
    """Decide the commands after which the size is looked at."""
    match command:
        case PatchConfig():
            return configuring.patch(state, command)
        case SetTeam():
            return () if command.team == state.team else (TeamChanged(command.team),)
        case SetTools():
            tools = accepted_tools(command.tools, "tools")
            return () if tools == state.available_tools else (ToolsChanged(tools),)
        case AddParticipant():
            return members.add(state, command, context)
        case UpdateParticipant():
            return members.update(state, command)
        case EditBlackboard():
            return blackboard.edit(state, command)
        case SetSubtask():
            return subtasks.assign(state, command, context)
        case RequestToolCall():
            return tool_calls.request(state, command, context)
        case SaveSession():
            return sessions.save(state, command, context)
        case NoteSpeech():
            return speeches.note(state, command)
        case FinishToolCall():
            return tool_calls.finish(state, command, context)
        case _:
            assert_never(command)


def _changes(state: ConversationState, event: ConversationEvent, meta: Meta) -> dict[str, object]:
    """Say which fields of the state the event changes, the frequent events first."""
    match event:
        case MessageAdded():
            return turns.added(state, event, meta)
        case SpeechHeard():
            return speeches.heard(state, event, meta)
        case UsageCounted():
            return {"stats": usage.counted(state, event, meta)}
        case ParticipantStateChanged(id=member, state=now):
            return {"participants": members.with_member(state.participants, member, state=now)}
        case BlackboardChanged():
            return {"blackboard": blackboard.changed(state, event, meta)}
        case BatonPassed():
            return {"baton": members.passed(event, meta)}
        case SessionSaved():
            return {"started_seq": meta.version.seq}
        case StatusChanged(status="running"):
            return {"status": "running", "started_seq": meta.version.seq}
        case StatusChanged(status=status) if status in lifecycle.FINAL:
            return {"status": status, "speech": None}
        case StatusChanged(status=status):
            return {"status": status}
        case ConfigChanged(config=config):
            return {"config": config}
        case TeamChanged(team=team):
            return {"team": team}
        case ToolsChanged(tools=tools):
            return {"available_tools": tools}
        case ParticipantAdded(participant=new):
            return {"participants": (*state.participants, new)}
        case ParticipantUpdated():
            return {"participants": members.replaced(state, event)}
        case ParticipantRemoved():
            return members.removed(state, event)
        case ConfigVersionReported(bot=bot, version=version):
            changed = members.with_member(state.participants, bot, config_version=version)
            return {"participants": changed}
        case SubtaskSet():
            return {"subtasks": subtasks.assigned(state, event)}
        case SubtaskDeleted():
            return {"subtasks": subtasks.deleted(state, event)}
        case ToolCallRequested():
            return {"pending_tool_calls": tool_calls.requested(state, event)}
        case ToolCallDecided():
            return {"pending_tool_calls": tool_calls.decided(state, event, meta)}
        case ToolCallProgressed():
            return {"pending_tool_calls": tool_calls.progressed(state, event)}
        case Deleted():
            return lifecycle.deleted()
        case Created() | Branched() | SessionSummarised():
            return {}
        case _:
            assert_never(event)


def _begun(command: Command, context: Context) -> tuple[ConversationEvent, ...]:
    if isinstance(command, Create):
        return (creating.create(command, context),)
    if isinstance(command, Branch):
        return branching.begin(command, context)
    raise NotFound("conversation", "with this id")


def _check_size(
    state: ConversationState | None, events: tuple[ConversationEvent, ...], context: Context
) -> None:
    """Refuse events that would make the state, without its window, too large or unwritable."""
    meta = Meta(ZERO, event_id(context.key, 0), context.actor, context.at)
    for event in events:
        state = fold(state, event, meta)
    if state is None or not events:
        return
    try:
        body = _encode(replace(state, messages=()))
    except UnicodeEncodeError as exc:
        detail = "a text contains half of a surrogate pair; remove it"
        raise Refused("invalid", detail) from exc
    if free_json.has_nul(body):
        raise Refused("invalid", "a text contains the character U+0000; remove it")
    if len(body) > bounds.REST_BYTES:
        detail = (
            f"conversation {state.id} would hold {len(body)} bytes beside its messages, at most"
            f" {bounds.REST_BYTES} fit; store large values as files and refer to them"
        )
        raise Refused("too_large", detail)
