"""Providers by name: what is there is built, what is not is named with the package to add."""

import pytest
from livekit.plugins import openai
from msgspec import Raw

from src.agents.errors import BadProvider, ProviderMissing
from src.agents.providers import registry
from src.agents.providers.energy import EnergyDetector
from src.agents.providers.phrases import PhraseHearing
from src.agents.providers.plugins import Plugins
from src.agents.providers.tone import ToneVoice
from src.agents.settings import NamedProvider
from src.swarm.configs.bots import ProviderNames
from tests.support.openai_server import openai_server


def test_without_names_all_is_offline() -> None:
    stt, vad = registry.hearing(Plugins(), ProviderNames())
    assert isinstance(stt, PhraseHearing)
    assert isinstance(vad, EnergyDetector)
    assert isinstance(registry.voice(Plugins(), ProviderNames(), ""), ToneVoice)


def test_options_of_a_stage_reach_its_provider() -> None:
    names = ProviderNames(
        options=Raw(b'{"stt": {"phrases": {"440": "hello"}}, "tts": {"hz": 300}}')
    )
    stt, _ = registry.hearing(Plugins(), names)
    assert isinstance(stt, PhraseHearing)
    assert stt.understood(441.0) == "hello"
    voice = registry.voice(Plugins(), names, "")
    assert isinstance(voice, ToneVoice)
    assert voice.hz == 300


async def test_plugin_is_built_by_name_with_model_voice_and_options() -> None:
    names = ProviderNames(
        tts="openai/gpt-4o-mini-tts", options=Raw(b'{"tts": {"api_key": "none", "speed": 1.5}}')
    )
    voice = registry.voice(Plugins(), names, "coral")
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
        registry.voice(Plugins(), ProviderNames(tts=name), "")


async def test_name_of_the_operator_is_a_plugin_with_its_key_and_address() -> None:
    async with openai_server() as server:
        given = NamedProvider(plugin="openai", options={"api_key": "ours", "base_url": server.url})
        names = ProviderNames(stt="eu/whisper", tts="eu/loud")
        plugins = Plugins({"eu": given})
        voice = registry.voice(plugins, names, "coral")
        async with voice.synthesize("Hello") as stream:
            [*frames] = [event.frame async for event in stream]
        hearing, _ = registry.hearing(plugins, names)
        event = await hearing.recognize(frames)
        assert event.alternatives[0].text == server.transcript
        spoken, heard = server.asked
        assert (spoken["model"], spoken["voice"], spoken["input"]) == ("loud", "coral", "Hello")
        assert heard["model"] == "whisper"
        assert server.keys == ["Bearer ours"] * 2
        await voice.aclose()
        await hearing.aclose()
        assert isinstance(hearing, openai.STT)
        await hearing._client.close()  # the plugin leaves it open


def test_what_the_operator_gave_goes_before_what_a_config_says() -> None:
    given = NamedProvider(plugin="openai", options={"api_key": "ours", "speed": 1.0})
    names = ProviderNames(tts="eu/loud", options=Raw(b'{"tts": {"speed": 3.0}}'))
    voice = registry.voice(Plugins({"eu": given}), names, "")
    assert isinstance(voice, openai.TTS)
    assert voice._opts.speed == 1.0


def test_options_that_a_provider_does_not_take_are_named() -> None:
    names = ProviderNames(options=Raw(b'{"tts": {"herz": 300}}'))
    with pytest.raises(BadProvider, match=r"offline/tone.*herz.*providers\.options\.tts"):
        registry.voice(Plugins(), names, "")
