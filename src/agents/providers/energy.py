"""Whether somebody speaks, told by loudness alone: the detector beside `offline/phrases`.

The models made for speech do not notice tones.
"""

from __future__ import annotations

import time

import numpy as np
from livekit import rtc
from livekit.agents import vad

_WINDOW_S = 0.01


class EnergyDetector(vad.VAD):
    """Speech begins after `speech_s` of sound and ends after `silence_s` without."""

    def __init__(
        self, *, loudness: float = 500.0, speech_s: float = 0.05, silence_s: float = 0.25
    ) -> None:
        super().__init__(capabilities=vad.VADCapabilities(update_interval=_WINDOW_S))
        self.loudness, self.speech_s, self.silence_s = loudness, speech_s, silence_s
        """`loudness` is the root mean square of 16-bit samples from which on it is sound."""

    @property
    def model(self) -> str:
        return "energy"

    @property
    def provider(self) -> str:
        return "offline"

    def stream(self) -> vad.VADStream:
        return _Stream(self)


class _Stream(vad.VADStream):
    def __init__(self, detector: EnergyDetector) -> None:
        self._detector = detector
        self._reset()
        super().__init__(detector)

    def _reset(self) -> None:
        self._speaking = False
        self._sound_s = self._silence_s = self._speech_s = 0.0
        self._heard: list[rtc.AudioFrame] = []

    async def _main_task(self) -> None:
        samples = 0
        async for frame in self._input_ch:
            if not isinstance(frame, rtc.AudioFrame):
                self._reset()
                continue
            samples += frame.samples_per_channel
            self._take(frame, samples)

    def _take(self, frame: rtc.AudioFrame, samples: int) -> None:
        loud = np.sqrt(np.mean(np.frombuffer(frame.data, dtype=np.int16).astype(np.float32) ** 2))
        sounds = bool(loud >= self._detector.loudness)
        self._sound_s = self._sound_s + frame.duration if sounds else 0.0
        self._silence_s = 0.0 if sounds else self._silence_s + frame.duration
        if sounds or self._speaking:
            self._heard.append(frame)
        if self._speaking:
            self._speech_s += frame.duration
        elif not sounds:
            self._heard.clear()
        self._send(vad.VADEventType.INFERENCE_DONE, samples, [frame])
        if not self._speaking and self._sound_s >= self._detector.speech_s:
            self._speaking, self._speech_s = True, self._sound_s
            self._send(vad.VADEventType.START_OF_SPEECH, samples, list(self._heard))
        elif self._speaking and self._silence_s >= self._detector.silence_s:
            heard, speech_s = self._heard, self._speech_s
            self._speaking, self._heard = False, []
            self._send(vad.VADEventType.END_OF_SPEECH, samples, heard, speech_s)
            self._speech_s = 0.0

    def _send(
        self,
        kind: vad.VADEventType,
        samples: int,
        frames: list[rtc.AudioFrame],
        speech_s: float | None = None,
    ) -> None:
        self._event_ch.send_nowait(
            vad.VADEvent(
                type=kind,
                samples_index=samples,
                timestamp=time.time(),
                speech_duration=self._speech_s if speech_s is None else speech_s,
                silence_duration=self._silence_s,
                frames=frames,
                probability=1.0 if self._sound_s else 0.0,
                speaking=self._speaking,
                raw_accumulated_silence=self._silence_s,
                raw_accumulated_speech=self._sound_s,
            )
        )
