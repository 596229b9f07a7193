"""`offline/tone`: a voice that needs no key. Every character is a stretch of one steady tone.

Options: `hz`, the tone's pitch, by which a listener can tell bots apart (default 440), and
`ms_per_char` (default 60), about the pace of speech.
"""

from __future__ import annotations

import numpy as np
from livekit.agents import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions, tts, utils

SAMPLE_RATE = 24_000
_VOLUME = 0.3 * 32_767
_EDGE_S = 0.005
"""Rise and fall of a tone, so that it does not click."""


def tone(hz: float, seconds: float) -> bytes:
    """Return mono PCM of 16 bits, 24 000 samples a second."""
    count = int(seconds * SAMPLE_RATE)
    wave = np.sin(2 * np.pi * hz * np.arange(count) / SAMPLE_RATE) * _VOLUME
    edge = min(int(_EDGE_S * SAMPLE_RATE), count // 2)
    if edge:
        ramp = np.linspace(0.0, 1.0, edge)
        wave[:edge] *= ramp
        wave[-edge:] *= ramp[::-1]
    return wave.astype(np.int16).tobytes()


class ToneVoice(tts.TTS):  # type: ignore[type-arg]  # the parameter is a plugin's own event
    """Speaks in a tone."""

    def __init__(self, *, hz: float = 440.0, ms_per_char: float = 60.0) -> None:
        if not 50 <= hz <= 8_000 or not 1 <= ms_per_char <= 1_000:
            raise ValueError("hz is 50 to 8000, ms_per_char 1 to 1000")
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=False),
            sample_rate=SAMPLE_RATE,
            num_channels=1,
        )
        self.hz, self.ms_per_char = hz, ms_per_char

    @property
    def model(self) -> str:
        return "tone"

    @property
    def provider(self) -> str:
        return "offline"

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        return _Tone(tts=self, input_text=text, conn_options=conn_options)


class _Tone(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        voice = self._tts
        assert isinstance(voice, ToneVoice)
        output_emitter.initialize(
            request_id=utils.shortuuid(),
            sample_rate=SAMPLE_RATE,
            num_channels=1,
            mime_type="audio/pcm",
        )
        output_emitter.push(tone(voice.hz, len(self._input_text) * voice.ms_per_char / 1000))
        output_emitter.flush()
