"""Providers by name: what is there is built, what is not is named with the package to add."""

import threading
from collections.abc import AsyncIterator

import pytest
from livekit import rtc
from livekit.agents import stt, tts, vad
from livekit.plugins import openai
from msgspec import Raw

from src.agents.errors import BadProvider, ProviderMissing
from src.agents.providers import registry
from src.agents.providers.energy import EnergyDetector
from src.agents.providers.models import Models
from src.agents.providers.phrases import PhraseHearing
from src.agents.providers.plugins import Plugins
from src.agents.providers.shared import SharedHearing, SharedVoice
from src.agents.providers.tone import ToneVoice
from src.agents.settings import NamedProvider
from src.swarm.configs.bots import ProviderNames
from tests.support.openai_server import openai_server


@pytest.fixture
async def models() -> AsyncIterator[Models]:
    async with Models().running() as models:
        yield models


def made(view: tts.TTS | stt.STT) -> object:  # type: ignore[type-arg]  # a plugin's own event
    """Return the plugin's own object behind what a session has."""
    assert isinstance(view, SharedVoice | SharedHearing)
    return view.shared.made


async def test_without_names_all_is_offline(models: Models) -> None:
    hearing = await registry.hearing(models, ProviderNames())
    assert isinstance(made(hearing.stt), PhraseHearing)
    assert isinstance(hearing.vad, EnergyDetector)
    assert isinstance(made(await registry.voice(models, ProviderNames(), "")), ToneVoice)


async def test_options_of_a_stage_reach_its_provider(models: Models) -> None:
    names = ProviderNames(
        options=Raw(b'{"stt": {"phrases": {"440": "hello"}}, "tts": {"hz": 300}}')
    )
    stt = made((await registry.hearing(models, names)).stt)
    assert isinstance(stt, PhraseHearing)
    assert stt.understood(441.0) == "hello"
    voice = made(await registry.voice(models, names, ""))
    assert isinstance(voice, ToneVoice)
    assert voice.hz == 300


async def test_plugin_is_built_by_name_with_model_voice_and_options(models: Models) -> None:
    names = ProviderNames(
        tts="openai/gpt-4o-mini-tts", options=Raw(b'{"tts": {"api_key": "none", "speed": 1.5}}')
    )
    voice = await registry.voice(models, names, "coral")
    assert isinstance(made(voice), openai.TTS)
    assert voice.model == "gpt-4o-mini-tts"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nowhere/nothing", "add the package livekit-plugins-nowhere"),
        ("just-a-word", "write plugin/model"),
    ],
)
async def test_provider_that_is_missing_names_the_package_to_add(
    models: Models, name: str, hint: str
) -> None:
    with pytest.raises(ProviderMissing, match=hint):
        await registry.voice(models, ProviderNames(tts=name), "")


async def test_name_of_the_operator_is_a_plugin_with_its_key_and_address() -> None:
    async with openai_server() as server:
        given = NamedProvider(plugin="openai", options={"api_key": "ours", "base_url": server.url})
        names = ProviderNames(stt="eu/whisper", tts="eu/loud")
        async with Models(Plugins({"eu": given})).running() as models:
            voice = await registry.voice(models, names, "coral")
            async with voice.synthesize("Hello") as stream:
                [*frames] = [event.frame async for event in stream]
            hearing = await registry.hearing(models, names)
            event = await hearing.stt.recognize(frames)
            await voice.aclose()
            await hearing.aclose()
        assert event.alternatives[0].text == server.transcript
        spoken, heard = server.asked
        assert (spoken["model"], spoken["voice"], spoken["input"]) == ("loud", "coral", "Hello")
        assert heard["model"] == "whisper"
        assert server.keys == ["Bearer ours"] * 2


async def test_what_the_operator_gave_goes_before_what_a_config_says() -> None:
    given = NamedProvider(plugin="openai", options={"api_key": "ours", "speed": 1.0})
    names = ProviderNames(tts="eu/loud", options=Raw(b'{"tts": {"speed": 3.0}}'))
    async with Models(Plugins({"eu": given})).running() as models:
        voice = made(await registry.voice(models, names, ""))
    assert isinstance(voice, openai.TTS)
    assert voice._opts.speed == 1.0


async def test_options_that_a_provider_does_not_take_are_named(models: Models) -> None:
    names = ProviderNames(options=Raw(b'{"tts": {"herz": 300}}'))
    with pytest.raises(BadProvider, match=r"offline/tone.*herz.*providers\.options\.tts"):
        await registry.voice(models, names, "")


async def test_ears_share_the_threads_of_their_detector(models: Models) -> None:
    names = ProviderNames(stt="openai/whisper-1", options=Raw(b'{"stt": {"api_key": "none"}}'))
    ears = [await registry.hearing(models, names) for _ in range(2)]
    shown = {one.stage: one for one in models.report("here").models}
    assert {stage: one.users for stage, one in shown.items()} == {"stt": 2, "vad": 2}
    stream = ears[1].vad.stream()
    stream.push_frame(rtc.AudioFrame(bytes(2 * 1600), 16_000, 1, 1600))
    event = await anext(stream)
    assert (event.type, event.speaking) == (vad.VADEventType.INFERENCE_DONE, False)
    names_of_threads = {thread.name.rpartition("_")[0] for thread in threading.enumerate()}
    assert "detector" in names_of_threads
    assert "inference.vad" not in names_of_threads
    await stream.aclose()
    for ear in ears:
        await ear.aclose()
    assert {one.users for one in models.report("here").models} == {0}
