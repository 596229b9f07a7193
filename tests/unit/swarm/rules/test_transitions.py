"""Creating, deleting, and what holds for every history of commands."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.state.errors import NotFound, Refused, Undecodable
from src.state.models import Context, Event, Meta, Version
from src.swarm.rules.transitions import decide, fold
from src.swarm.shapes import bounds
from src.swarm.shapes.codec import (
    decode_command,
    decode_event,
    decode_state,
    describe,
    encode_command,
    encode_event,
    encode_state,
)
from src.swarm.shapes.commands import (
    AddParticipant,
    Command,
    Create,
    Delete,
    NewParticipant,
    PostMessage,
    SetTeam,
    SetTools,
    Speaker,
)
from src.swarm.shapes.config import Config
from src.swarm.shapes.events import Deleted, StatusChanged, TeamChanged
from src.swarm.shapes.models import ConversationState, Participant, TeamRef, Tool
from src.swarm.shapes.work import Assignment, SetSubtask
from tests.unit.swarm.commanding import COMMANDS
from tests.unit.swarm.given import ADA, SCOUT, START, Story, raw, rebuilt

HISTORIES = st.lists(COMMANDS, max_size=25)
THOROUGH = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def told(commands: list[Command]) -> Story:
    story = Story()
    for command in commands:
        with contextlib.suppress(Refused):
            story.tell(command)
    return story


def test_a_conversation_begins_with_all_that_its_creator_gave() -> None:
    story = Story(
        create=Create(
            "c-9",
            Config(goal="Learn."),
            (ADA, SCOUT),
            TeamRef("team", "The team", 3),
            (Tool("look"),),
            (Assignment("a", raw(1)),),
        )
    )

    state = story.state
    assert (state.id, state.status, state.version) == ("c-9", "ready", Version(1, 1))
    assert (state.created_by, state.created_at, state.updated_at) == ("somebody", START, START)
    assert state.config.goal == "Learn."
    assert state.participants == (
        Participant("ada", "person", "Ada", START),
        Participant("scout", "bot", "Scout", START),
    )
    assert state.team == TeamRef("team", "The team", 3)
    assert state.available_tools == (Tool("look"),)
    assert [(item.id, item.value, item.by) for item in state.blackboard] == [
        ("a", raw(1), "somebody")
    ]


@pytest.mark.parametrize(
    ("create", "field"),
    [
        (Create("c", participants=(ADA, SCOUT, ADA)), "participants[2].id"),
        (Create("c", available_tools=(Tool("a"), Tool("a"))), "available_tools[1].name"),
        (
            Create("c", blackboard=(Assignment("a", raw(1)), Assignment("a", raw(1)))),
            "blackboard[1].id",
        ),
    ],
)
def test_a_conversation_does_not_begin_with_one_id_twice(create: Create, field: str) -> None:
    with pytest.raises(Refused) as refused:
        Story(create=create)

    assert (refused.value.code, refused.value.field) == ("exists", field)


def test_a_conversation_does_not_begin_too_large() -> None:
    tools = tuple(Tool(f"t-{n}", input_schema=raw({"a": "x" * 15_000})) for n in range(10))

    with pytest.raises(Refused) as refused:
        Story(create=Create("c", available_tools=tools))

    assert refused.value.code == "too_large"


@pytest.mark.parametrize("text", ["nul \x00", "half \ud83d a pair"])
def test_no_text_that_cannot_be_stored_gets_in_from_within_either(text: str) -> None:
    story = Story()
    for command in (
        AddParticipant(NewParticipant("zoe", "person", text)),
        SetSubtask("plan", text),
        SetTeam(TeamRef("team", text)),
        PostMessage(Speaker("person", "guest", text), "Hello."),
        PostMessage(Speaker("system", text), "Hello."),
    ):
        with pytest.raises(Refused) as refused:
            story.tell(command)
        assert refused.value.code == "invalid"
    with pytest.raises(Refused):
        Story(Config(goal=text))


def test_an_id_is_created_once() -> None:
    with pytest.raises(Refused) as refused:
        Story().tell(Create("c-1"))

    assert (refused.value.code, refused.value.field) == ("exists", "id")


def test_what_was_never_created_is_not_found() -> None:
    with pytest.raises(NotFound):
        decide(None, Delete(), Context("key", "somebody", START))


def test_a_log_that_does_not_begin_with_a_creation_is_undecodable() -> None:
    with pytest.raises(Undecodable):
        fold(None, StatusChanged("ready"), Meta(Version(1, 1), "key:0", "somebody", START))


def test_a_deleted_conversation_leaves_its_id_and_nothing_of_what_was_said() -> None:
    story = Story()
    story.says("ada", "Nobody must know.")

    story.tell(Delete())

    state = story.state
    assert state == ConversationState(
        id="c-1",
        version=Version(1, 3),
        status="deleted",
        created_at=START,
        updated_at=story.at,
        created_by="somebody",
    )
    assert b"must know" not in encode_state(state)


def test_the_tombstone_alone_folds_to_what_the_whole_log_does() -> None:
    story = Story()
    story.says("ada")
    story.tell(Delete(), actor="operator")

    event, meta = story.log[-1]
    assert fold(None, event, meta) == story.state


def test_a_tombstone_of_an_older_release_folds_alone_too() -> None:
    logged = Event("c-1", Version(2, 9), "key:0", "deleted", 1, b"{}", "somebody", START)

    state = fold(None, Deleted(), logged.meta)

    assert (state.id, state.status, state.version) == ("c-1", "deleted", logged.version)
    assert state.created_by == "somebody"


def test_a_team_is_named_and_the_same_again_changes_nothing() -> None:
    story = Story()

    assert story.tell(SetTeam(TeamRef("team"))) == (TeamChanged(TeamRef("team")),)
    assert story.tell(SetTeam(TeamRef("team"))) == ()
    assert story.tell(SetTeam(None)) == (TeamChanged(None),)
    assert story.state.team is None


def test_each_event_moves_version_and_time() -> None:
    story = Story()

    story.says("ada")

    assert story.state.version == Version(1, 2)
    assert story.state.updated_at == story.at
    assert story.state.created_at == START


def test_the_largest_state_that_can_be_made_is_below_the_cap_of_a_snapshot() -> None:
    story = Story()
    for _ in range(8):
        story.says("ada", '"' * 16_000)
    tools = [Tool(f"t-{n}", input_schema=raw({"a": "x" * 4_000})) for n in range(40)]
    while tools and story.state.available_tools == ():
        with contextlib.suppress(Refused):
            story.tell(SetTools(tuple(tools)))
        tools.pop()

    assert 250 * 1024 < len(encode_state(story.state)) <= 256 * 1024


@THOROUGH
@given(HISTORIES)
def test_a_state_survives_its_own_json_exactly(commands: list[Command]) -> None:
    state = told(commands).state
    body = encode_state(state)

    assert decode_state(body) == state
    assert encode_state(decode_state(body)) == body


@THOROUGH
@given(HISTORIES)
def test_the_log_read_back_folds_to_the_same_state(commands: list[Command]) -> None:
    story = told(commands)

    read_back = [
        (decode_event(*describe(event), encode_event(event)), meta) for event, meta in story.log
    ]

    assert read_back == story.log
    assert rebuilt(read_back) == story.state
    assert encode_state(rebuilt(read_back)) == encode_state(story.state)


@THOROUGH
@given(HISTORIES, st.integers(0, 25))
def test_a_snapshot_and_its_tail_fold_to_the_same_state(
    commands: list[Command], snapshot_at: int
) -> None:
    story = told(commands)
    cut = min(snapshot_at, len(story.log) - 1) + 1

    state = decode_state(encode_state(rebuilt(story.log[:cut])))
    for event, meta in story.log[cut:]:
        state = fold(state, event, meta)

    assert state == story.state


@THOROUGH
@given(HISTORIES, COMMANDS)
def test_deciding_changes_nothing_and_answers_the_same_each_time(
    commands: list[Command], command: Command
) -> None:
    state = told(commands).state
    before = encode_state(state)
    context = Context("key", "somebody", state.updated_at)

    answers = []
    for _ in range(2):
        try:
            answers.append(msgspec.json.encode(decide(state, command, context)))
        except Refused as refused:
            answers.append(str(refused).encode())

    assert answers[0] == answers[1]
    assert encode_state(state) == before


@THOROUGH
@given(HISTORIES)
def test_a_command_means_the_same_after_it_was_forwarded(commands: list[Command]) -> None:
    forwarded = [decode_command(encode_command(command)) for command in commands]

    assert told(forwarded).state == told(commands).state


@THOROUGH
@given(HISTORIES)
def test_every_state_keeps_its_promises(commands: list[Command]) -> None:
    story = told(commands)
    state = story.state

    assert state.version.seq == len(story.log)
    assert len(state.messages) <= bounds.WINDOW_MESSAGES
    assert state.window_bytes == sum(len(msgspec.json.encode(m)) + 1 for m in state.messages)
    assert [m.seq for m in state.messages] == sorted({m.seq for m in state.messages})
    ids = [member.id for member in state.participants]
    assert len(ids) == len(set(ids))
    assert {bot.bot for bot in state.stats.bots} <= set(ids)
    subtasks = {subtask.id for subtask in state.subtasks}
    assert all(set(subtask.depends_on) <= subtasks for subtask in state.subtasks)
