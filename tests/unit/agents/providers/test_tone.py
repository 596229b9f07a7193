"""The offline voice and hearing: what one says in a tone the other understands by it."""

import numpy as np
import pytest
from livekit import rtc
from livekit.agents import APIConnectOptions, vad

from src.agents.providers.energy import EnergyDetector
from src.agents.providers.phrases import PhraseHearing, pitch
from src.agents.providers.tone import SAMPLE_RATE, ToneVoice, tone


def frames(data: bytes, seconds: float = 0.01) -> list[rtc.AudioFrame]:
    size = 2 * int(seconds * SAMPLE_RATE)
    return [
        rtc.AudioFrame(data[at : at + size], SAMPLE_RATE, 1, size // 2)
        for at in range(0, len(data) - size + 1, size)
    ]


async def test_voice_speaks_each_character_for_its_time_at_its_pitch() -> None:
    voice = ToneVoice(hz=600.0, ms_per_char=50.0)
    async with voice.synthesize("0123456789") as stream:
        spoken = rtc.combine_audio_frames([audio.frame async for audio in stream])
    assert spoken.duration == pytest.approx(0.5, abs=0.02)
    samples = np.frombuffer(spoken.data, dtype=np.int16).astype(np.float32)
    assert pitch(samples, SAMPLE_RATE) == pytest.approx(600.0, abs=3.0)


@pytest.mark.parametrize("options", [{"hz": 10.0}, {"ms_per_char": 0.0}])
def test_voice_out_of_bounds_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="hz is 50 to 8000"):
        ToneVoice(**options)


@pytest.mark.parametrize(
    ("hz", "understood"), [(440.0, "hello"), (452.0, "hello"), (700.0, "bye"), (1200.0, "")]
)
async def test_tone_is_the_nearest_phrase_within_reach(hz: float, understood: str) -> None:
    hearing = PhraseHearing(phrases={"440": "hello", "700": "bye"})
    event = await hearing.recognize(
        frames(tone(hz, 0.4)), conn_options=APIConnectOptions(max_retry=0)
    )
    assert event.alternatives[0].text == understood


async def test_speech_begins_with_a_sound_and_ends_with_silence() -> None:
    stream = EnergyDetector().stream()
    silence = bytes(2 * int(0.5 * SAMPLE_RATE))
    for frame in frames(silence + tone(440.0, 0.3) + silence):
        stream.push_frame(frame)
    stream.end_input()
    events = [event async for event in stream]
    begun, ended = [event for event in events if event.type is not vad.VADEventType.INFERENCE_DONE]
    assert (begun.type, ended.type) == (
        vad.VADEventType.START_OF_SPEECH,
        vad.VADEventType.END_OF_SPEECH,
    )
    assert begun.samples_index == pytest.approx(0.55 * SAMPLE_RATE, abs=0.02 * SAMPLE_RATE)
    said = rtc.combine_audio_frames(ended.frames)
    assert said.duration == pytest.approx(0.3 + 0.25, abs=0.03)


async def test_click_is_no_speech() -> None:
    stream = EnergyDetector().stream()
    for frame in frames(tone(440.0, 0.02) + bytes(SAMPLE_RATE)):
        stream.push_frame(frame)
    stream.end_input()
    kinds = {event.type async for event in stream}
    assert kinds == {vad.VADEventType.INFERENCE_DONE}
