"""`offline/phrases`: hears tones as sentences, by a table. For tests, demos and load.

Options: `phrases`, {pitch in Hz: what it means}. A stretch of sound is the phrase whose pitch is
nearest to its own, at most `tolerance_hz` (default 20) away; anything else is not understood.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from livekit import rtc
from livekit.agents import APIConnectOptions, LanguageCode, stt, utils
from livekit.agents.types import NOT_GIVEN, NotGivenOr


def pitch(samples: np.ndarray, sample_rate: int) -> float:
    """Return the strongest frequency of mono samples in Hz; 0.0 when there is none."""
    if len(samples) < 2:
        return 0.0
    strength = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(strength.argmax() * sample_rate / len(samples))


class PhraseHearing(stt.STT):  # type: ignore[type-arg]  # the parameter is a plugin's own event
    """Understands the tones of its table."""

    def __init__(
        self, *, phrases: Mapping[str, str] | None = None, tolerance_hz: float = 20.0
    ) -> None:
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        self._phrases = {float(hz): text for hz, text in (phrases or {}).items()}
        self._tolerance_hz = tolerance_hz

    @property
    def model(self) -> str:
        return "phrases"

    @property
    def provider(self) -> str:
        return "offline"

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        frame = rtc.combine_audio_frames(buffer)
        samples = np.frombuffer(frame.data, dtype=np.int16).astype(np.float32)
        text = self.understood(pitch(samples, frame.sample_rate))
        return stt.SpeechEvent(
            type=stt.SpeechEventType.FINAL_TRANSCRIPT,
            alternatives=[stt.SpeechData(language=LanguageCode("en"), text=text)],
        )

    def understood(self, hz: float) -> str:
        """Return what a pitch means; empty: nothing."""
        if not self._phrases:
            return ""
        nearest = min(self._phrases, key=lambda known: abs(known - hz))
        return self._phrases[nearest] if abs(nearest - hz) <= self._tolerance_hz else ""
