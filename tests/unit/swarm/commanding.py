"""Random commands, drawn from so few names that most of them mean something."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import Raw

from src.swarm.shapes.commands import (
    AddParticipant,
    ChangeStatus,
    Command,
    CountUsage,
    CutSpeech,
    NewParticipant,
    NoteSpeech,
    PassBaton,
    PatchConfig,
    PostMessage,
    RemoveParticipant,
    ReportConfigVersion,
    SavedMessage,
    SaveSession,
    SaveTurn,
    SetParticipantState,
    SetTeam,
    SetTools,
    Speaker,
    UpdateParticipant,
)
from src.swarm.shapes.free_json import NULL
from src.swarm.shapes.models import TeamRef, Tool, ToolUse
from src.swarm.shapes.work import (
    Assignment,
    DecideToolCall,
    DeleteSubtask,
    EditBlackboard,
    FinishToolCall,
    Increment,
    RequestToolCall,
    SetSubtask,
)

PEOPLE = st.sampled_from(["ada", "ben", "guest"])
BOTS = st.sampled_from(["scout", "tutor", "critic", "stranger"])
ANYONE = PEOPLE | BOTS
THINGS = st.sampled_from(["a", "b", "c"])
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=40)
WORDS = TEXTS.filter(bool)

_scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXTS
_numbers = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    _scalars | _numbers,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
RAWS = VALUES.map(lambda value: Raw(msgspec.json.encode(value)))
OBJECTS = st.dictionaries(TEXTS, VALUES, max_size=3).map(lambda v: Raw(msgspec.json.encode(v)))
# Older zones have offsets with seconds, which RFC 3339 can't say.
MOMENTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.timezones())  # noqa: DTZ001


def _some(values: st.SearchStrategy[Any], size: int = 2) -> st.SearchStrategy[Any]:
    return st.lists(values, max_size=size).map(tuple)


_assignments = _some(st.builds(Assignment, THINGS, RAWS))
_speakers = st.builds(Speaker, st.just("person"), PEOPLE) | st.builds(Speaker, st.just("bot"), BOTS)
_patches = st.fixed_dictionaries(
    {},
    optional={
        "goal": TEXTS | st.none(),
        "team_id": THINGS | st.none(),
        "limits": st.fixed_dictionaries({}, optional={"credits": st.integers(0, 9) | st.none()}),
        "event_subscriptions": st.dictionaries(THINGS, st.lists(BOTS, max_size=2), max_size=2),
        "scheduling": st.fixed_dictionaries(
            {"requires_approval": st.sampled_from(["none", "all", ["a"]])}
        ),
        "policy": st.fixed_dictionaries({"visibility": st.sampled_from(["open", "private"])}),
        "unknown": st.just(1),
    },
)

COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.builds(
        PostMessage,
        _speakers,
        WORDS,
        metrics=OBJECTS,
        interrupted=st.booleans(),
        reply_to=st.none() | THINGS,
        started_at=st.none() | MOMENTS,
        tool_calls=_some(st.builds(ToolUse, THINGS, THINGS, OBJECTS, RAWS)),
    ),
    st.builds(NoteSpeech, THINGS, BOTS, WORDS, st.integers(0, 40), MOMENTS, st.none() | THINGS),
    st.builds(CutSpeech, THINGS),
    st.builds(SaveTurn, WORDS, WORDS, st.none() | PEOPLE, st.none() | BOTS),
    st.builds(
        SaveSession,
        THINGS,
        _some(
            st.builds(
                SavedMessage,
                WORDS,
                st.sampled_from(["user", "assistant", "tool"]),
                author=st.none() | _speakers,
                started_at=st.none() | MOMENTS,
            )
        ),
        seen_seq=st.integers(0, 20),
    ),
    st.builds(PatchConfig, _patches.map(lambda value: Raw(msgspec.json.encode(value)))),
    st.builds(SetTeam, st.none() | st.builds(TeamRef, THINGS, TEXTS, st.integers(0, 9))),
    st.builds(SetTools, _some(st.builds(Tool, THINGS, TEXTS, OBJECTS))),
    st.builds(
        AddParticipant,
        st.builds(NewParticipant, PEOPLE, st.just("person"), WORDS)
        | st.builds(NewParticipant, BOTS, st.just("bot"), WORDS, tracks=OBJECTS),
    ),
    st.builds(UpdateParticipant, ANYONE, name=st.none() | WORDS, tracks=st.just(NULL) | OBJECTS),
    st.builds(RemoveParticipant, ANYONE),
    st.builds(SetParticipantState, ANYONE, st.sampled_from(["ready", "busy", "muted", "left"])),
    st.builds(ReportConfigVersion, BOTS, st.integers(0, 9)),
    st.builds(PassBaton, st.none() | BOTS),
    st.builds(
        EditBlackboard,
        _assignments,
        _assignments,
        _some(st.builds(Increment, THINGS, st.integers(-5, 5) | st.just(0.5))),
        _assignments,
        _assignments,
        _some(THINGS),
    ),
    st.builds(
        SetSubtask,
        THINGS,
        TEXTS,
        st.sampled_from(["todo", "done"]),
        st.none() | ANYONE,
        _some(THINGS),
    ),
    st.builds(DeleteSubtask, THINGS),
    st.builds(RequestToolCall, THINGS, BOTS, OBJECTS, st.none() | THINGS),
    st.builds(DecideToolCall, THINGS, st.sampled_from(["approve", "reject"]), TEXTS),
    st.builds(
        FinishToolCall,
        THINGS,
        st.sampled_from(["executing", "succeeded", "failed", "cancelled"]),
        RAWS,
        TEXTS,
        st.integers(0, 9),
    ),
    st.builds(CountUsage, st.integers(0, 3), st.integers(0, 99), st.none() | BOTS, st.booleans()),
    st.builds(
        ChangeStatus, st.sampled_from(["start", "stop", "pause", "suspend", "resume"]), TEXTS
    ),
)
