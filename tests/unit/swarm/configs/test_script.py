"""Scripts: the first rule that applies speaks, and templates reach nothing but their places."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from src.state.errors import Refused
from src.swarm.configs.script import Line, Script, parse, play
from src.swarm.shapes import free_json
from tests.unit.swarm.given import raw

PLACES = {"speaker": "Ada", "text": "Will it rain?", "bot": "Scout"}
WEATHER = {
    "rules": [
        {"when": ["rain", "snow"], "say": "Take an umbrella, {speaker}."},
        {"when": "rain", "say": "Never reached."},
        {"when": "note", "call": {"tool": "blackboard_set", "arguments": {"id": "n"}}},
    ],
    "default": ["One.", "Two."],
}


def script(value: object) -> Script:
    return parse(raw(value), "script")


@pytest.mark.parametrize(
    ("text", "turn", "said"),
    [
        ("Will it rain?", 0, "Take an umbrella, Ada."),
        ("Snow!", 0, "Take an umbrella, Ada."),
        ("A train.", 0, "One."),
        ("A train.", 1, "Two."),
        ("A train.", 2, "One."),
    ],
)
def test_the_first_rule_that_applies_speaks(text: str, turn: int, said: str) -> None:
    assert play(script(WEATHER), text, PLACES, turn) == Line(said)


def test_a_rule_may_call_without_a_word() -> None:
    line = play(script(WEATHER), "Note it.", PLACES, 0)

    assert line.text == ""
    assert line.call is not None
    assert line.call.tool == "blackboard_set"


def test_texts_in_arguments_are_templates_at_every_depth() -> None:
    arguments = {"id": "n", "value": [{"who": "{speaker}"}, 1, None]}
    rule = {"when": "note", "call": {"tool": "blackboard_set", "arguments": arguments}}

    line = play(script({"rules": [rule]}), "note", PLACES, 0)

    assert line.call is not None
    assert free_json.read(line.call.arguments) == {"id": "n", "value": [{"who": "Ada"}, 1, None]}


def test_an_empty_script_has_something_to_say() -> None:
    assert play(script({}), "Hello.", PLACES, 0).text == "I hear you, Ada."


def test_what_is_inserted_is_not_read_as_a_template_again() -> None:
    line = play(script({"default": "{speaker}"}), "x", {"speaker": "{bot}", "bot": "Scout"}, 0)

    assert line.text == "{bot}"


def test_a_short_template_makes_no_endless_text() -> None:
    line = play(script({"default": "{text}" * 300}), "x", {"text": "x" * 32_768}, 0)

    assert len(line.text) <= 300 * 500


@pytest.mark.parametrize(
    ("value", "field"),
    [
        (Raw(b"{"), "script"),
        (raw([]), "script"),
        (raw({"rule": []}), "script.rule"),
        (raw({"default": "{password}"}), "script.default"),
        (raw({"default": ["ok", "{turn} {x}"]}), "script.default[1]"),
        (raw({"rules": [{"when": [], "say": "x"}]}), "script.rules[0].when"),
        (raw({"rules": [{"when": "a", "say": "{x}"}]}), "script.rules[0].say"),
        (raw({"rules": [{"when": "x" * 201}]}), "script.rules[0].when"),
        (raw({"rules": [{"when": "a"}] * 101}), "script.rules"),
        (
            raw({"rules": [{"when": "a", "call": {"tool": "t", "arguments": [1]}}]}),
            "script.rules[0].call.arguments",
        ),
        (
            raw({"rules": [{"when": "a", "call": {"tool": "t", "arguments": {"b": ["{x}"]}}}]}),
            "script.rules[0].call.arguments.b[0]",
        ),
    ],
)
def test_a_bad_script_is_refused_at_its_place(value: Raw, field: str) -> None:
    with pytest.raises(Refused) as refused:
        parse(value, "script")

    assert (refused.value.code, refused.value.field) == ("bad_script", field)


@pytest.mark.parametrize("template", ["{speaker.__class__}", "{0}", "{speaker!r}", "{}", "{a b}"])
def test_braces_are_no_format_string(template: str) -> None:
    places: Any = PLACES
    try:
        line = play(script({"default": template}), "x", places, 0)
    except Refused as refused:
        assert refused.field == "script.default"  # noqa: PT017  refusing is as good as leaving
    else:
        assert line.text == template
