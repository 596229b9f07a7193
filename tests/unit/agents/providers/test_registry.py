"""Providers by name: what is there is built, what is not is named with the package to add."""

import pytest
from livekit.plugins import openai
from msgspec import Raw

from src.agents.errors import BadProvider, ProviderMissing
from src.agents.providers import registry
from src.agents.providers.energy import EnergyDetector
from src.agents.providers.phrases import PhraseHearing
from src.agents.providers.tone import ToneVoice
from src.swarm.configs.bots import ProviderNames


def test_without_names_all_is_offline() -> None:
    stt, vad = registry.hearing(ProviderNames())
    assert isinstance(stt, PhraseHearing)
    assert isinstance(vad, EnergyDetector)
    assert isinstance(registry.voice(ProviderNames(), ""), ToneVoice)


def test_options_of_a_stage_reach_its_provider() -> None:
    names = ProviderNames(
        options=Raw(b'{"stt": {"phrases": {"440": "hello"}}, "tts": {"hz": 300}}')
    )
    stt, _ = registry.hearing(names)
    assert isinstance(stt, PhraseHearing)
    assert stt.understood(441.0) == "hello"
    voice = registry.voice(names, "")
    assert isinstance(voice, ToneVoice)
    assert voice.hz == 300


async def test_plugin_is_built_by_name_with_model_voice_and_options() -> None:
    names = ProviderNames(
        tts="openai/gpt-4o-mini-tts", options=Raw(b'{"tts": {"api_key": "none", "speed": 1.5}}')
    )
    voice = registry.voice(names, "coral")
    assert isinstance(voice, openai.TTS)
    assert voice.model == "gpt-4o-mini-tts"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nowhere/nothing", "add the package livekit-plugins-nowhere"),
        ("just-a-word", "write plugin/model"),
    ],
)
def test_provider_that_is_missing_names_the_package_to_add(name: str, hint: str) -> None:
    with pytest.raises(ProviderMissing, match=hint):
        registry.voice(ProviderNames(tts=name), "")


def test_options_that_a_provider_does_not_take_are_named() -> None:
    names = ProviderNames(options=Raw(b'{"tts": {"herz": 300}}'))
    with pytest.raises(BadProvider, match=r"offline/tone.*herz.*providers\.options\.tts"):
        registry.voice(names, "")
