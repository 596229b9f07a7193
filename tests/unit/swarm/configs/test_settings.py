"""Global settings: the key says what kind of value there is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from src.state.errors import Refused
from src.swarm.configs.bots import ProviderNames
from src.swarm.configs.decoding import encode_config
from src.swarm.configs.inheritance import SECTIONS
from src.swarm.configs.settings import VALUES, decode_setting, value_of
from src.swarm.shapes.limits import Limits
from tests.unit.swarm.given import raw


def body(value: object) -> bytes:
    return msgspec.json.encode({"value": value})


def test_every_section_that_is_inherited_can_be_set_for_all() -> None:
    assert tuple(VALUES) == SECTIONS


@pytest.mark.parametrize("key", VALUES)
def test_an_empty_value_sets_nothing(key: str) -> None:
    setting = decode_setting(key, body({}))

    assert value_of(key, setting) == VALUES[key]()


def test_a_setting_survives_its_own_json() -> None:
    setting = decode_setting("limits", b'{"value": {"credits": 5 }, "description": "For all"}')

    assert value_of("limits", setting) == Limits(credits=5)
    assert setting.value == raw({"credits": 5})
    assert decode_setting("limits", encode_config(setting)) == setting
    names = decode_setting("providers", body({"llm": "a/b"}))
    assert value_of("providers", names) == ProviderNames(llm="a/b")


@pytest.mark.parametrize(
    ("key", "value", "field"),
    [
        ("colours", {}, "id"),
        ("limits", {"credits": -1}, "value.credits"),
        ("limits", {"loop_cap": 1}, "value.loop_cap"),
        ("limits", [], "value"),
        ("policy", {"acl": ["two words"]}, "value.acl[0]"),
        ("responder", {"keywords": []}, "value.keywords"),
        ("responder", {"policy": "loudest"}, "value.policy"),
        ("scheduling", {"tool_delays": {"pay": "soon"}}, "value.tool_delays[...]"),
        ("providers", {"options": {"wings": {}}}, "value.options"),
        ("providers", {"options": {"llm": {"rules": 1}}}, "value.options.llm.rules"),
    ],
)
def test_a_bad_setting_is_refused_at_its_place(key: str, value: Any, field: str) -> None:
    with pytest.raises(Refused) as refused:
        decode_setting(key, body(value))

    assert refused.value.field == field


def test_an_unknown_key_is_told_the_known_ones() -> None:
    with pytest.raises(Refused, match="limits, scheduling, policy, responder, providers"):
        decode_setting("colours", body({}))
