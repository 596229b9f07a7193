"""Hearing and voices by name, `plugin/model`: any LiveKit plugin that is installed, or offline.

    stt    offline/phrases    tts    offline/tone

A name's plugin is the package `livekit-plugins-<plugin>` or what the operator named so, its model
the argument `model`, and the options of the stage are the other arguments of the plugin's class.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec
from livekit.agents import stt, tts, vad

from src.agents.providers.energy import EnergyDetector
from src.agents.providers.phrases import PhraseHearing
from src.agents.providers.plugins import Plugins, build
from src.agents.providers.tone import ToneVoice
from src.swarm.configs.bots import ProviderNames, stage_options

PHRASES, TONE = "offline/phrases", "offline/tone"

Hearing: TypeAlias = tuple[stt.STT, vad.VAD]  # type: ignore[type-arg]  # a plugin's own event
"""What a person is heard with, and what tells that somebody speaks."""


def hearing(plugins: Plugins, names: ProviderNames) -> Hearing:
    """Return what a person is heard with, and what tells that somebody speaks.

    Raises:
        ProviderMissing, BadProvider: say what to add or to mend.
    """
    detector = EnergyDetector() if (names.stt or PHRASES) == PHRASES else _detector()
    return understanding(plugins, names), detector


def understanding(plugins: Plugins, names: ProviderNames) -> stt.STT:  # type: ignore[type-arg]
    """Return what makes text of speech; raises what `hearing` does."""
    options = _options(names, "stt")
    name = names.stt or PHRASES
    if name == PHRASES:
        return build("stt", name, PhraseHearing, options)
    made: stt.STT = plugins.make("stt", name, "STT", options)  # type: ignore[type-arg]
    return made


def voice(plugins: Plugins, names: ProviderNames, sound: str) -> tts.TTS:  # type: ignore[type-arg]
    """Return what a bot speaks with; `sound` is the voice that its config names, if any.

    Raises:
        ProviderMissing, BadProvider: say what to add or to mend.
    """
    options = _options(names, "tts")
    name = names.tts or TONE
    if name == TONE:
        return build("tts", name, ToneVoice, options)
    if sound:
        options = {"voice": sound, **options}
    made: tts.TTS = plugins.make("tts", name, "TTS", options)  # type: ignore[type-arg]
    return made


def _detector() -> vad.VAD:
    from livekit.agents import inference  # loads a model: not before it is needed

    return inference.VAD()


def _options(names: ProviderNames, stage: str) -> dict[str, Any]:
    options = msgspec.json.decode(stage_options(names, stage))
    assert isinstance(options, dict)
    return options
