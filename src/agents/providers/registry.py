"""Hearing and voices by name, `plugin/model`: any LiveKit plugin that is installed, or offline.

    stt    offline/phrases    tts    offline/tone

A name's plugin is the package `livekit-plugins-<plugin>` or what the operator named so, its model
the argument `model`, and the options of the stage are the other arguments of the plugin's class.
What has the same name and options is one model (`models.py`), whoever hears and speaks with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import msgspec
from livekit.agents import stt, vad

from src.agents.providers.detector import DetectorThreads
from src.agents.providers.energy import EnergyDetector
from src.agents.providers.model import Loaded
from src.agents.providers.models import Lease, Make, Models, Stage
from src.agents.providers.phrases import PhraseHearing
from src.agents.providers.plugins import build
from src.agents.providers.shared import SharedDetector, SharedHearing, SharedVoice
from src.agents.providers.tone import ToneVoice
from src.swarm.configs.bots import ProviderNames, stage_options

PHRASES, TONE = "offline/phrases", "offline/tone"
DETECTOR = "livekit/silero"

_T = TypeVar("_T")


class Hearing:
    """What a person is heard with, and what tells that somebody speaks."""

    def __init__(self, words: SharedHearing, detector: vad.VAD) -> None:
        self.stt: stt.STT = words  # type: ignore[type-arg]  # a plugin's own event
        self.vad = detector

    async def aclose(self) -> None:
        """Give up their use."""
        await self.stt.aclose()
        if isinstance(self.vad, SharedDetector):
            await self.vad.aclose()


async def hearing(models: Models, names: ProviderNames) -> Hearing:
    """Return what a person is heard with, and what tells that somebody speaks.

    Raises:
        ProviderMissing, BadProvider, ProviderFailed: say what to add or to mend.
    """
    words = await understanding(models, names)
    try:
        if (names.stt or PHRASES) == PHRASES:
            return Hearing(words, EnergyDetector())
        detector = await _shared(models, "vad", DETECTOR, {}, _threads, SharedDetector)
    except BaseException:
        await words.aclose()
        raise
    return Hearing(words, detector)


async def understanding(models: Models, names: ProviderNames) -> SharedHearing:
    """Return what makes text of speech; raises what `hearing` does."""
    name = names.stt or PHRASES
    make: Make = partial(models.plugins.make, "stt", name, "STT")
    if name == PHRASES:
        make = partial(build, "stt", name, PhraseHearing)
    return await _shared(models, "stt", name, _options(names, "stt"), make, SharedHearing)


async def voice(models: Models, names: ProviderNames, sound: str) -> SharedVoice:
    """Return what a bot speaks with; `sound` is the voice that its config names, if any.

    Raises:
        ProviderMissing, BadProvider, ProviderFailed: say what to add or to mend.
    """
    options = _options(names, "tts")
    name = names.tts or TONE
    make: Make = partial(models.plugins.make, "tts", name, "TTS")
    if name == TONE:
        make = partial(build, "tts", name, ToneVoice)
    elif sound:
        options = {"voice": sound, **options}
    return await _shared(models, "tts", name, options, make, SharedVoice)


async def _shared(
    models: Models,
    stage: Stage,
    name: str,
    options: Mapping[str, Any],
    make: Make,
    view: Callable[[Lease, Loaded], _T],
) -> _T:
    lease = models.lease(stage, name, options, make)
    try:
        return view(lease, await lease.loaded())
    except BaseException:
        lease.release()
        raise


def _threads(_: Mapping[str, Any]) -> DetectorThreads:
    return DetectorThreads()


def _options(names: ProviderNames, stage: str) -> dict[str, Any]:
    options = msgspec.json.decode(stage_options(names, stage))
    assert isinstance(options, dict)
    return options
