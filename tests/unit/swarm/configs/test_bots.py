"""Configs of bots: one door, canonical behind it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from src.state.errors import Refused
from src.swarm.configs.bots import BotConfig, BotTool, ProviderNames, decode_bot, stage_options
from src.swarm.configs.decoding import encode_config
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


def test_a_name_is_all_that_a_bot_needs() -> None:
    assert decode_bot(b'{"name":"A"}') == BotConfig("A")


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


@pytest.mark.parametrize("bad", [b"", b"[]", b"\xff", b'{"name":"a\\u0000"}', b"[" * 5_000])
def test_bytes_that_are_no_config_are_refused(bad: bytes) -> None:
    with pytest.raises(Refused):
        decode_bot(bad)


def test_options_of_another_provider_are_none_of_our_business() -> None:
    providers = {"llm": "openai/large", "options": {"llm": {"temperature": 0.2}}}

    bot = decode_bot(body({"name": "A", "providers": providers}))

    assert stage_options(bot.providers, "llm") == raw({"temperature": 0.2})
    assert stage_options(bot.providers, "tts") == raw({})
    assert stage_options(ProviderNames(), "llm") == raw({})
