"""Configs of bots and teams: one door, canonical behind it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from src.state.errors import Refused
from src.swarm.configs import (
    BotConfig,
    BotTool,
    Membership,
    ProviderNames,
    TeamConfig,
    decode_bot,
    decode_team,
    encode_config,
    stage_options,
)
from tests.unit.swarm.given import raw

BOT: dict[str, Any] = {
    "name": "Tutor",
    "persona": "Patient.",
    "goal": "Teach.",
    "role": "teacher",
    "instructions": "Ask before you tell.",
    "providers": {
        "stt": "openai/whisper",
        "llm": "offline/rules",
        "tts": "offline/tone",
        "options": {"llm": {"rules": [{"when": "why", "say": "Because, {speaker}."}]}},
        "fallback": ["openai/small"],
    },
    "voice": "alto",
    "tools": [{"name": "look", "kind": "http", "target": "https://example.org/look"}],
    "subscriptions": ["swarm/#"],
    "capabilities": ["maths"],
    "max_tokens": 200,
    "mode": "addressed_only",
}
TEAM: dict[str, Any] = {
    "name": "School",
    "members": [{"bot": "tutor", "role": "teacher", "priority": 3}],
    "objectives": ["Learn."],
    "structure": {"type": "MOISE+", "content": "..."},
    "defaults": {
        "limits": {"credits": 5},
        "scheduling": {"tool_delays": {"look": 10}},
        "policy": {"visibility": "private"},
        "responder": {"default_bot": "tutor"},
        "blackboard": [{"id": "pace", "value": {"words": 120}}],
    },
}


def body(value: object) -> bytes:
    return msgspec.json.encode(value)


def test_a_bot_survives_its_own_json() -> None:
    bot = decode_bot(body(BOT))

    assert bot.providers.fallback == ("openai/small",)
    assert bot.tools == (BotTool("look", "http", "https://example.org/look"),)
    assert decode_bot(encode_config(bot)) == bot
    assert (
        msgspec.json.decode(encode_config(bot))["providers"]["options"]
        == (BOT["providers"]["options"])
    )


def test_a_team_survives_its_own_json() -> None:
    team = decode_team(body(TEAM))

    assert team.members == (Membership("tutor", "teacher", 3),)
    assert team.defaults.limits.credits == 5
    assert decode_team(encode_config(team)) == team


def test_a_name_is_all_that_a_bot_or_team_needs() -> None:
    assert decode_bot(b'{"name":"A"}') == BotConfig("A")
    assert decode_team(b'{"name":"A"}') == TeamConfig("A")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"),
        ({"nickname": "T"}, "nickname"),
        ({"schema": 2}, "schema"),
        ({"persona": "x" * 32_769}, "persona"),
        ({"mode": "loud"}, "mode"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"subscriptions": ["swarm/#/x"]}, "subscriptions[0]"),
        ({"tools": [{"name": "a"}, {"name": "a"}]}, "tools[1].name"),
        ({"tools": [{"name": "a", "input_schema": 1}]}, "tools[0].input_schema"),
        ({"providers": {"options": []}}, "providers.options"),
        ({"providers": {"options": {"llm": 1}}}, "providers.options[...]"),
        ({"providers": {"options": {"wings": {}}}}, "providers.options"),
        (
            {"providers": {"options": {"llm": {"rules": [{"say": "x"}]}}}},
            "providers.options.llm.rules[0].when",
        ),
        (
            {"providers": {"options": {"llm": {"default": "{password}"}}}},
            "providers.options.llm.default",
        ),
    ],
)
def test_a_bad_bot_is_refused_at_its_place(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        decode_bot(body(BOT | change))

    assert refused.value.field == field


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": None}, "name"),
        ({"members": [{"bot": "a"}, {"bot": "a"}]}, "members[1].bot"),
        ({"members": [{"bot": "two words"}]}, "members[0].bot"),
        ({"defaults": {"scheduling": {"tool_delays": []}}}, "defaults.scheduling.tool_delays"),
        (
            {"defaults": {"blackboard": [{"id": "a", "value": 1}, {"id": "a", "value": 1}]}},
            "defaults.blackboard[1].id",
        ),
    ],
)
def test_a_bad_team_is_refused_at_its_place(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        decode_team(body(TEAM | change))

    assert refused.value.field == field


@pytest.mark.parametrize("bad", [b"", b"[]", b"\xff", b'{"name":"a\\u0000"}', b"[" * 5_000])
def test_bytes_that_are_no_config_are_refused(bad: bytes) -> None:
    for decode in (decode_bot, decode_team):
        with pytest.raises(Refused):
            decode(bad)


def test_options_of_another_provider_are_none_of_our_business() -> None:
    providers = {"llm": "openai/large", "options": {"llm": {"temperature": 0.2}}}

    bot = decode_bot(body({"name": "A", "providers": providers}))

    assert stage_options(bot.providers, "llm") == raw({"temperature": 0.2})
    assert stage_options(bot.providers, "tts") == raw({})
    assert stage_options(ProviderNames(), "llm") == raw({})
