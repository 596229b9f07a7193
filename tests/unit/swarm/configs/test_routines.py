"""Routines: every kind of step, and what is wrong with one named by its place."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from src.state.errors import Refused
from src.swarm.configs.decoding import encode_config
from src.swarm.configs.routines import (
    BranchStep,
    LoopStep,
    ParallelStep,
    RoutineStep,
    decode_routine,
    sub_routines,
    walk,
)
from tests.unit.swarm.given import raw

WAIT = {"type": "wait", "seconds": 1}
LESSON: dict[str, Any] = {
    "name": "Lesson",
    "description": "One subtopic.",
    "inputs": {"type": "object", "properties": {"topic": {"type": "string"}}},
    "limits": {"credits": 9},
    "steps": [
        {"type": "prompt", "bot": "ada", "prompt": "Explain {topic}.", "save_as": "answer"},
        {"type": "tool", "tool": "look", "arguments": {"for": "{topic}"}, "save_as": "found"},
        {
            "type": "branch",
            "when": {"variable": "answer", "is": "contains", "value": "?"},
            "then": [{"type": "set", "variable": "asked", "value": [1, {"a": None}]}],
            "else": [{"type": "routine", "routine": "recap", "inputs": {"topic": "{topic}"}}],
        },
        {"type": "loop", "over": "found", "item": "one", "steps": [WAIT]},
        {"type": "loop", "while": {"variable": "asked"}, "steps": [WAIT], "max_rounds": 3},
        {"type": "parallel", "branches": [[WAIT], [{"type": "wait", "topic": "swarm/#"}]]},
    ],
}


def body(**changes: Any) -> bytes:
    return msgspec.json.encode(LESSON | changes)


def nested(levels: int) -> Any:
    step: Any = WAIT
    for _ in range(levels - 1):
        step = {"type": "parallel", "branches": [[step]]}
    return step


def test_a_routine_survives_its_own_json() -> None:
    routine = decode_routine("lesson", body())

    assert decode_routine("lesson", encode_config(routine)) == routine
    branch, loop, parallel = routine.steps[2], routine.steps[3], routine.steps[5]
    assert isinstance(branch, BranchStep)
    assert branch.when.value == raw("?")
    assert isinstance(loop, LoopStep)
    assert (loop.over, loop.item, loop.while_) == ("found", "one", None)
    assert isinstance(parallel, ParallelStep)
    assert len(parallel.branches) == 2


def test_every_step_has_a_place() -> None:
    places = [place for place, _ in walk(decode_routine("lesson", body()).steps)]

    assert places == [
        "steps[0]",
        "steps[1]",
        "steps[2]",
        "steps[2].then[0]",
        "steps[2].else[0]",
        "steps[3]",
        "steps[3].steps[0]",
        "steps[4]",
        "steps[4].steps[0]",
        "steps[5]",
        "steps[5].branches[0][0]",
        "steps[5].branches[1][0]",
    ]


def test_a_routine_names_the_routines_that_it_runs() -> None:
    named = list(sub_routines(decode_routine("lesson", body())))

    assert named == [("steps[2].else[0].routine", "recap")]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"steps": []}, "steps"),
        ({"steps": [{"type": "dance"}]}, "steps[0].type"),
        ({"steps": [WAIT, {"type": "tool", "tool": 1}]}, "steps[1].tool"),
        (
            {"steps": [{"type": "branch", "when": {"variable": "a"}, "then": [{"type": "tool"}]}]},
            "steps[0].then[0].tool",
        ),
        (
            {"steps": [{"type": "branch", "when": {"variable": "a", "is": "odd"}}]},
            "steps[0].when.is",
        ),
        ({"steps": [{"type": "set", "variable": "1st", "value": 1}]}, "steps[0].variable"),
        ({"steps": [{"type": "prompt", "prompt": ""}]}, "steps[0].prompt"),
        ({"steps": [{"type": "wait"}]}, "steps[0]"),
        ({"steps": [{"type": "wait", "seconds": -1}]}, "steps[0].seconds"),
        ({"steps": [{"type": "wait", "topic": "a/#/b"}]}, "steps[0].topic"),
        ({"steps": [{"type": "loop", "steps": [WAIT]}]}, "steps[0]"),
        (
            {"steps": [{"type": "loop", "steps": [], "over": "a", "while": {"variable": "b"}}]},
            "steps[0]",
        ),
        ({"steps": [{"type": "parallel", "branches": []}]}, "steps[0].branches"),
        ({"steps": [WAIT, {"type": "routine", "routine": "lesson"}]}, "steps[1].routine"),
        ({"steps": [{"type": "tool", "tool": "a", "arguments": []}]}, "steps[0].arguments"),
        ({"steps": [{"type": "routine", "routine": "a", "inputs": 1}]}, "steps[0].inputs"),
        ({"inputs": {"type": "string"}}, "inputs.type"),
        ({"outputs": []}, "outputs"),
        ({"limits": {"credits": -1}}, "limits.credits"),
    ],
)
def test_a_bad_routine_is_refused_at_its_place(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        decode_routine("lesson", body(**change))

    assert refused.value.field == field


def test_what_is_not_a_sub_routine_of_itself_may_run_others() -> None:
    routine = decode_routine("other", body(steps=[{"type": "routine", "routine": "lesson"}]))

    assert isinstance(routine.steps[0], RoutineStep)


def test_a_routine_is_bounded_in_depth_and_in_all() -> None:
    decode_routine("lesson", body(steps=[nested(16)]))
    with pytest.raises(Refused, match="deeper than 16"):
        decode_routine("lesson", body(steps=[nested(17)]))
    rows = [{"type": "parallel", "branches": [[WAIT] * 99]}] * 5
    decode_routine("lesson", body(steps=rows))
    with pytest.raises(Refused, match="501 steps"):
        decode_routine("lesson", body(steps=[*rows, WAIT]))
