"""The six operations, their order, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from src.state.errors import Refused
from src.swarm.shapes import bounds, free_json
from src.swarm.shapes.events import BlackboardChanged, Value
from src.swarm.shapes.work import Assignment, EditBlackboard, Increment
from tests.unit.swarm.given import Story, raw


def put(name: str, value: object) -> tuple[Assignment, ...]:
    return (Assignment(name, raw(value)),)


def story_with(**values: object) -> Story:
    story = Story()
    if values:
        story.tell(EditBlackboard(set=tuple(Assignment(k, raw(v)) for k, v in values.items())))
    return story


def board(story: Story) -> dict[str, Any]:
    return {item.id: free_json.read(item.value) for item in story.state.blackboard}


@pytest.mark.parametrize(
    ("before", "command", "after"),
    [
        ({}, EditBlackboard(set=put("a", [1, None, "é"])), {"a": [1, None, "é"]}),
        ({"a": 1}, EditBlackboard(set=put("a", {"b": 2})), {"a": {"b": 2}}),
        ({}, EditBlackboard(append=put("a", 1)), {"a": [1]}),
        ({"a": [1]}, EditBlackboard(append=put("a", [2])), {"a": [1, [2]]}),
        ({}, EditBlackboard(increment=(Increment("a"),)), {"a": 1}),
        ({"a": 2}, EditBlackboard(increment=(Increment("a", -5),)), {"a": -3}),
        ({"a": 1}, EditBlackboard(increment=(Increment("a", 0.5),)), {"a": 1.5}),
        ({"a": 2**53 - 1}, EditBlackboard(increment=(Increment("a"),)), {"a": 2**53}),
        ({"a": 2**53}, EditBlackboard(increment=(Increment("a", -1),)), {"a": 2**53 - 1}),
        ({}, EditBlackboard(merge=put("a", {"b": 1})), {"a": {"b": 1}}),
        (
            {"a": {"b": {"c": 1}, "d": 2}},
            EditBlackboard(merge=put("a", {"b": {"e": 3}, "f": None})),
            {"a": {"b": {"e": 3}, "d": 2, "f": None}},
        ),
        (
            {"a": {"b": {"c": 1}, "d": 2}},
            EditBlackboard(deep_merge=put("a", {"b": {"e": 3}, "d": {"f": 4}})),
            {"a": {"b": {"c": 1, "e": 3}, "d": {"f": 4}}},
        ),
        ({"a": 1, "b": 2}, EditBlackboard(delete=("a", "unknown")), {"b": 2}),
    ],
)
def test_an_operation_leaves_this(
    before: dict[str, Any], command: EditBlackboard, after: dict[str, Any]
) -> None:
    story = story_with(**before)

    story.tell(command)

    assert board(story) == after


def test_operations_apply_in_one_order_whatever_they_touch() -> None:
    story = Story()

    story.tell(
        EditBlackboard(
            set=(
                Assignment("list", raw([])),
                Assignment("sum", raw(10)),
                Assignment("map", raw({"in": {"a": 1}})),
                Assignment("gone", raw(1)),
            ),
            append=put("list", 1),
            increment=(Increment("sum", 5), Increment("gone")),
            merge=put("map", {"in": {"b": 2}}),
            deep_merge=put("map", {"in": {"c": 3}}),
            delete=("gone",),
        )
    )

    assert board(story) == {"list": [1], "sum": 15, "map": {"in": {"b": 2, "c": 3}}}


def test_the_event_holds_results_and_not_requests() -> None:
    story = story_with(a=1)

    (event,) = story.tell(EditBlackboard(increment=(Increment("a", 2),), delete=("b",)))

    assert event == BlackboardChanged((Value("a", raw(3)),), ())


def test_an_edit_without_effect_is_no_event() -> None:
    story = story_with(a=1)

    assert story.tell(EditBlackboard(set=put("a", 1), delete=("b",))) == ()


def test_an_item_says_who_changed_it_when_and_keeps_its_place() -> None:
    story = story_with(a=1, b=2)

    story.tell(EditBlackboard(set=put("a", 3)), actor="scout")

    changed, kept = story.state.blackboard
    assert (changed.id, changed.by, changed.updated_at) == ("a", "scout", story.at)
    assert (kept.id, kept.by) == ("b", "somebody")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (EditBlackboard(append=put("text", 1)), ("wrong_type", "append[0]")),
        (EditBlackboard(increment=(Increment("text"),)), ("wrong_type", "increment[0]")),
        (EditBlackboard(increment=(Increment("yes"),)), ("wrong_type", "increment[0]")),
        (EditBlackboard(merge=put("list", {})), ("wrong_type", "merge[0]")),
        (EditBlackboard(merge=put("map", 1)), ("wrong_type", "merge[0].value")),
        (EditBlackboard(deep_merge=put("text", {})), ("wrong_type", "deep_merge[0]")),
        (EditBlackboard(deep_merge=put("map", [])), ("wrong_type", "deep_merge[0].value")),
        (EditBlackboard(increment=(Increment("huge"),)), ("too_large", "increment[0].by")),
        (EditBlackboard(increment=(Increment("n", 2**53),)), ("too_large", "increment[0].by")),
        (EditBlackboard(set=(Assignment("x", Raw(b"{")),)), ("invalid", "set[0].value")),
        (EditBlackboard(set=put("x", "nul \x00")), ("invalid", "set[0].value")),
        (EditBlackboard(set=put("x", "x" * 16_384)), ("too_large", "set[0].value")),
        (EditBlackboard(append=put("list", "x" * 16_380)), ("too_large", "append[0]")),
    ],
)
def test_a_command_with_one_bad_operation_changes_nothing(
    command: EditBlackboard, expected: tuple[str, str]
) -> None:
    story = story_with(text="t", yes=True, list=[1], map={}, n=1, huge=10**400)
    before = story.state
    command = EditBlackboard(
        set=(*command.set, *put("other", 1)),
        append=command.append,
        increment=command.increment,
        merge=command.merge,
        deep_merge=command.deep_merge,
    )

    with pytest.raises(Refused) as refused:
        story.tell(command)

    assert (refused.value.code, refused.value.field) == expected
    assert story.state is before


@pytest.mark.parametrize(
    ("value", "kind"),
    [(None, "null"), (1, "a number"), ("x", "a text"), (True, "true or false"), ({}, "an object")],
)
def test_a_refusal_says_what_it_found(value: object, kind: str) -> None:
    with pytest.raises(Refused, match=f"item is {kind}, not a list"):
        story_with(item=value).tell(EditBlackboard(append=put("item", 1)))


@pytest.mark.parametrize("levels", [65, 900, 8_000])
def test_values_nested_beyond_reason_are_refused(levels: int) -> None:
    story = Story()
    value = Raw(b"[" * levels + b"]" * levels)

    with pytest.raises(Refused) as refused:
        story.tell(EditBlackboard(set=(Assignment("x", value),)))

    assert refused.value.field == "set[0].value"


def test_appending_can_not_nest_beyond_reason_either() -> None:
    story = story_with(x=[])
    nested: object = 1
    for _ in range(64):
        nested = [nested]
    story.tell(EditBlackboard(set=put("y", nested)))

    with pytest.raises(Refused) as refused:
        story.tell(EditBlackboard(append=put("x", nested)))

    assert (refused.value.code, refused.value.field) == ("too_large", "append[0]")


def test_there_is_an_end_to_the_items() -> None:
    story = Story()
    items = tuple(Assignment(f"i-{n}", raw(n)) for n in range(bounds.BLACKBOARD_ITEMS))
    story.tell(EditBlackboard(set=items))

    with pytest.raises(Refused) as refused:
        story.tell(EditBlackboard(set=put("one-more", 1)))

    assert refused.value.code == "too_many"
    story.tell(EditBlackboard(set=put("one-more", 1), delete=("i-0",)))


def test_the_state_never_outgrows_a_snapshot() -> None:
    story = Story()
    for number in range(8):
        story.tell(EditBlackboard(set=put(f"i-{number}", "x" * 16_000)))

    with pytest.raises(Refused) as refused:
        story.tell(EditBlackboard(set=put("i-8", "x" * 16_000)))

    assert refused.value.code == "too_large"
    assert len(story.state.blackboard) == 8
