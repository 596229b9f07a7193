"""A bot's script: what the offline provider says and calls, as data in the bot's config.

    {"rules": [{"when": ["weather", "rain"],
                "say": "I would take an umbrella, {speaker}.",
                "call": {"tool": "blackboard_set", "arguments": {"id": "rain", "value": true}}}],
     "default": "Tell me more about that."}

The first rule counts of which one phrase of `when` occurs in the turn, as whole words and without
case. Plain phrases and no regular expressions: nobody can write one here that never ends. Several
texts in `say` take turns. With `"think_ms": [300, 800]` an answer takes its time.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Raw

from src.state.errors import Refused
from src.swarm.shapes import free_json, words
from src.swarm.shapes.bounds import Name, Note
from src.swarm.shapes.free_json import EMPTY, Json

PLACES = (
    *("speaker", "text", "goal", "bot", "role", "turn", "people", "bots"),
    # What is taught, and what came of the rule's call.
    *("subtopic", "content", "outcome"),
)
"""What a template may name in braces."""

_PLACE = re.compile(r"\{(\w+)\}")
_INSERTED = 500
"""A value is cut to this many characters, so that a short template makes no endless text."""


_Ms = Annotated[int, Meta(ge=0, le=10_000)]


class Call(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """A tool call; texts in `arguments` are templates."""

    tool: Name
    arguments: Raw = EMPTY


class Rule(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """What to say or call when one of these phrases occurs."""

    when: Annotated[tuple[Name, ...], Meta(min_length=1, max_length=50)] | Name
    say: Annotated[tuple[Note, ...], Meta(min_length=1, max_length=20)] | Note = ""
    call: Call | None = None


class Script(msgspec.Struct, frozen=True, gc=False, forbid_unknown_fields=True):
    """Rules in order of precedence, and what to say when none applies ("" for nothing)."""

    rules: Annotated[tuple[Rule, ...], Meta(max_length=100)] = ()
    default: Annotated[tuple[Note, ...], Meta(min_length=1, max_length=20)] | Note = (
        "I hear you, {speaker}."
    )
    think_ms: tuple[_Ms, _Ms] = (0, 0)
    """How long an answer takes, from and to, as a model would: for demos and for load."""

    def think_s(self, turn_id: str) -> float:
        """Return how long the answer to a turn takes, the same each time."""
        shortest, longest = self.think_ms
        if longest <= shortest:
            return shortest / 1000
        return (shortest + zlib.crc32(turn_id.encode()) % (longest - shortest + 1)) / 1000


class Line(msgspec.Struct, frozen=True, gc=False):
    """What the script has a bot do in one turn."""

    text: str = ""
    call: Call | None = None


def parse(options: Raw, field: str) -> Script:
    """Read a script.

    Raises:
        Refused: no script, or a template with an unknown place; names where.
    """
    try:
        script = msgspec.json.decode(options, type=Script)
    except (msgspec.MsgspecError, RecursionError, ValueError) as exc:
        raise Refused("bad_script", f"{field}: {exc}", field=free_json.place(exc, field)) from exc
    _check(script.default, f"{field}.default")
    for index, rule in enumerate(script.rules):
        _check(rule.say, f"{field}.rules[{index}].say")
        if rule.call is not None:
            place = f"{field}.rules[{index}].call.arguments"
            arguments = free_json.read(free_json.accept(rule.call.arguments, place))
            if not isinstance(arguments, dict):
                raise Refused("bad_script", f"{place} is not an object", field=place)
            _check(arguments, place)
    return script


def play(script: Script, text: str, places: Mapping[str, str], turn: int) -> Line:
    """Return what the script answers to a text; the same arguments give the same line.

    `turn` counts the bot's turns and chooses among several texts.
    """
    heard = words.spoken(text)
    for rule in script.rules:
        phrases = (rule.when,) if isinstance(rule.when, str) else rule.when
        if any(words.spoken(phrase) in heard for phrase in phrases):
            call = rule.call
            if call is not None:
                arguments = _filled(free_json.read(call.arguments), places)
                call = Call(call.tool, free_json.write(arguments))
            return Line(_said(rule.say, places, turn), call)
    return Line(_said(script.default, places, turn))


def _said(say: str | tuple[str, ...], places: Mapping[str, str], turn: int) -> str:
    template = say if isinstance(say, str) else say[turn % len(say)]
    return _fill(template, places)


def _fill(template: str, places: Mapping[str, str]) -> str:
    """Put values in the braces; unlike `str.format` this reaches no attribute of anything."""
    return _PLACE.sub(lambda found: places.get(found[1], found[0])[:_INSERTED], template)


def _filled(value: Json, places: Mapping[str, str]) -> Json:
    if isinstance(value, str):
        return _fill(value, places)
    if isinstance(value, list):
        return [_filled(item, places) for item in value]
    if isinstance(value, dict):
        return {name: _filled(item, places) for name, item in value.items()}
    return value


def _check(value: Json, field: str) -> None:
    if isinstance(value, str):
        for name in _PLACE.findall(value):
            if name not in PLACES:
                detail = f"{field} names {{{name}}}; there are {', '.join(PLACES)}"
                raise Refused("bad_script", detail, field=field)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check(item, f"{field}[{index}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            _check(item, f"{field}.{name}")
