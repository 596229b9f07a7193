"""Providers by name, and a way on when one is missing."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from src.swarm.configs.bots import BotConfig, ProviderNames
from src.swarm.errors import UnknownProvider
from src.swarm.providers.offline import OfflineProvider
from src.swarm.providers.registry import Registry, Stage
from src.swarm.shapes.config import Config, LlmConfig
from tests.support.asking import HELLO, request


def test_the_offline_provider_is_always_there() -> None:
    assert isinstance(Registry().get("offline/rules"), OfflineProvider)


def test_a_provider_is_found_under_the_name_it_was_given() -> None:
    mine = OfflineProvider()

    registry = Registry({"mine/model": mine})

    assert registry.get("mine/model") is mine
    assert registry.names == ("mine/model", "offline/rules")


class Closable(OfflineProvider):
    closed = 0

    async def aclose(self) -> None:
        self.closed += 1


async def test_a_provider_that_is_found_by_its_name_is_kept_and_closed() -> None:
    asked: list[tuple[str, str]] = []
    mine = Closable()

    def find(stage: Stage, name: str) -> Closable | None:
        asked.append((stage, name))
        return mine if name == "mine/model" else None

    registry = Registry(find=find)

    assert registry.get("mine/model") is registry.get("mine/model")
    with pytest.raises(UnknownProvider, match="yours/model"):
        registry.get("yours/model")
    assert registry.get("mine/model", "realtime") is mine
    assert asked == [("llm", "mine/model"), ("llm", "yours/model"), ("realtime", "mine/model")]
    await registry.aclose()
    assert mine.closed == 2


@pytest.mark.parametrize(
    ("name", "way_on"),
    [
        ("openai/large", "livekit-plugins-openai"),
        ("large", "plugin/model"),
        ("", "plugin/model"),
    ],
)
def test_an_unknown_provider_is_named_with_a_way_on(name: str, way_on: str) -> None:
    with pytest.raises(UnknownProvider, match=way_on) as unknown:
        Registry().get(name)

    assert unknown.value.name == name
    assert "offline/rules" in str(unknown.value)


@pytest.mark.parametrize(
    ("own", "shared", "chain"),
    [
        (ProviderNames(), LlmConfig(), ("offline/rules",)),
        (ProviderNames(), LlmConfig("a/b", ("c/d",)), ("a/b", "c/d")),
        (ProviderNames(llm="e/f"), LlmConfig("a/b"), ("e/f",)),
        (ProviderNames(llm="e/f", fallback=("g/h", "e/f")), LlmConfig(), ("e/f", "g/h")),
        (ProviderNames(fallback=("g/h",)), LlmConfig("a/b"), ("g/h",)),
    ],
)
def test_a_bots_own_models_come_before_the_conversations(
    own: ProviderNames, shared: LlmConfig, chain: tuple[str, ...]
) -> None:
    bot, config = BotConfig("A", providers=own), Config(llm_config=shared)

    assert Registry().language_models(bot, config) == chain


def test_in_a_room_of_sound_a_model_with_a_voice_of_its_own_comes_first() -> None:
    asked = request(HELLO)
    names = ProviderNames(llm="e/f")
    asked = replace(asked, bot=replace(asked.bot, providers=names))
    assert Registry().chain(asked) == (("llm", "e/f"),)
    voiced = replace(asked, voiced=ProviderNames(realtime="a/b"))
    assert Registry().chain(voiced) == (("realtime", "a/b"), ("llm", "e/f"))


def test_missing_realtime_model_is_named_with_a_way_on() -> None:
    with pytest.raises(UnknownProvider, match=r"livekit-plugins-openai.*leave it empty"):
        Registry().get("openai/gpt-realtime", "realtime")
