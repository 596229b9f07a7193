"""Views of a shared model: what they give is the model's, what fails is their own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest
from livekit import rtc
from livekit.agents import APIConnectionError, APIConnectOptions, LanguageCode, stt, tts
from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, NOT_GIVEN, NotGivenOr
from livekit.agents.utils import AudioBuffer

from src.agents.providers.models import Models
from src.agents.providers.plugins import Plugins
from src.agents.providers.shared import SharedHearing, SharedVoice
from src.agents.settings import NamedProvider

NAME = "near/model"
ONCE = APIConnectOptions(max_retry=0)
PATIENT = APIConnectOptions(max_retry=1000, retry_interval=0.001)
SECOND = bytes(2 * 24_000)


class Speaker(tts.TTS):  # type: ignore[type-arg]  # a plugin's own event
    """Says a second of sound for each piece of text; fails at "fail"."""

    def __init__(self, *, streaming: bool) -> None:
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=streaming),
            sample_rate=24_000,
            num_channels=1,
        )
        self.loops: set[asyncio.AbstractEventLoop] = set()

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        return _Whole(tts=self, input_text=text, conn_options=conn_options)

    def stream(
        self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.SynthesizeStream:
        return _Pieces(tts=self, conn_options=conn_options)

    def speak(self, emitter: tts.AudioEmitter, text: str) -> None:
        self.loops.add(asyncio.get_running_loop())
        if text == "fail":
            raise APIConnectionError("no answer")
        emitter.push(SECOND)


class _Whole(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        assert isinstance(self._tts, Speaker)
        output_emitter.initialize(
            request_id="1", sample_rate=24_000, num_channels=1, mime_type="audio/pcm"
        )
        self._tts.speak(output_emitter, self._input_text)
        output_emitter.flush()


class _Pieces(tts.SynthesizeStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        assert isinstance(self._tts, Speaker)
        output_emitter.initialize(
            request_id="1", sample_rate=24_000, num_channels=1, mime_type="audio/pcm", stream=True
        )
        output_emitter.start_segment(segment_id="1")
        async for piece in self._input_ch:
            if isinstance(piece, str):
                self._tts.speak(output_emitter, piece)
        output_emitter.end_segment()


class Listener(stt.STT):  # type: ignore[type-arg]  # a plugin's own event
    """Says how many samples it has heard, at the end of a segment; fails at a single one."""

    def __init__(self) -> None:
        super().__init__(
            capabilities=stt.STTCapabilities(
                streaming=True, interim_results=False, keyterms=True, chat_context=True
            )
        )

    async def _recognize_impl(
        self,
        buffer: AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        return heard(rtc.combine_audio_frames(buffer).samples_per_channel)

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        return _Hearing(stt=self, conn_options=conn_options)


class _Hearing(stt.RecognizeStream):
    async def _run(self) -> None:
        samples = 0
        async for frame in self._input_ch:
            if isinstance(frame, rtc.AudioFrame):
                samples += frame.samples_per_channel
            elif samples == 1:
                raise ValueError("one sample is no word")
            elif samples:
                self._event_ch.send_nowait(heard(samples))
                samples = 0


def heard(samples: int) -> stt.SpeechEvent:
    data = stt.SpeechData(language=LanguageCode("en"), text=str(samples))
    return stt.SpeechEvent(type=stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives=[data])


@pytest.fixture
async def models() -> AsyncIterator[Models]:
    async with Models().running() as models:
        yield models


def bounded() -> AbstractAsyncContextManager[Models]:
    """Models of which one request is made at once, and nobody waits long for it."""
    given = {"near": NamedProvider(plugin="openai", concurrency=1)}
    return Models(Plugins(given), patience_s=0.01).running()


def failure_of(view: SharedHearing | SharedVoice) -> asyncio.Future[str]:
    """Return what the first failure of a view will be."""
    failure: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def told(error: stt.STTError | tts.TTSError) -> None:
        if not failure.done():
            failure.set_result(str(error.error))

    view.on("error", told)
    return failure


async def voices(models: Models, speaker: Speaker, count: int = 1) -> list[SharedVoice]:
    leases = [models.lease("tts", NAME, {}, lambda _: speaker) for _ in range(count)]
    return [SharedVoice(lease, await lease.loaded()) for lease in leases]


async def test_voice_speaks_in_the_models_loop_and_is_heard_here(models: Models) -> None:
    speaker = Speaker(streaming=False)
    [voice] = await voices(models, speaker)
    async with voice.synthesize("Hello") as stream:
        sounds = [event.frame async for event in stream]
    assert sum(sound.duration for sound in sounds) == pytest.approx(1.0, abs=0.05)
    assert asyncio.get_running_loop() not in speaker.loops


async def test_voice_that_streams_is_given_text_in_pieces(models: Models) -> None:
    [voice] = await voices(models, Speaker(streaming=True))
    assert voice.capabilities.streaming
    async with voice.stream() as stream:
        for piece in ("Hello ", "there"):
            stream.push_text(piece)
        stream.end_input()
        sounds = [event.frame async for event in stream]
    assert sum(sound.duration for sound in sounds) == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("streaming", [False, True])
async def test_failure_of_one_voice_is_not_told_to_the_other(
    models: Models, streaming: bool
) -> None:
    mine, other = await voices(models, Speaker(streaming=streaming), 2)
    told: list[str] = []
    mine.on("error", lambda error: told.append("mine"))
    other.on("error", lambda error: told.append("other"))
    stream = mine.stream(conn_options=ONCE) if streaming else None
    if stream is not None:
        stream.push_text("fail")
        stream.end_input()
    async with stream or mine.synthesize("fail", conn_options=ONCE) as failing:
        with pytest.raises(APIConnectionError, match="no answer"):
            [_ async for _ in failing]
    assert told == ["mine"]


async def test_voice_that_is_closed_is_given_up_once(models: Models) -> None:
    first, second = await voices(models, Speaker(streaming=False), 2)
    for _ in range(2):
        await first.aclose()
    assert [item.users for item in models.report("here").models] == [1]
    async with second.synthesize("Hello") as stream:
        assert [event async for event in stream]


async def test_speech_that_is_cut_off_ends_in_the_models_loop_too(models: Models) -> None:
    [voice] = await voices(models, Speaker(streaming=True))
    stream = voice.stream()
    stream.push_text("Hello")
    await anext(stream)
    assert [item.requests for item in models.report("here").models] == [1]
    await stream.aclose()
    assert [item.requests for item in models.report("here").models] == [0]


async def test_ear_that_streams_hears_what_the_model_heard(models: Models) -> None:
    lease = models.lease("stt", NAME, {}, lambda _: Listener())
    hearing = SharedHearing(lease, await lease.loaded())
    capabilities = hearing.capabilities
    assert (capabilities.streaming, capabilities.keyterms, capabilities.chat_context) == (
        True,
        False,
        False,
    )
    async with hearing.stream() as stream:
        for _ in range(2):
            stream.push_frame(rtc.AudioFrame(SECOND, 24_000, 1, 24_000))
        stream.flush()
        event = await anext(stream)
        assert event.alternatives[0].text == "48000"
        stream.end_input()
        assert [event async for event in stream] == []


async def test_ear_without_a_place_at_the_bound_tries_again_as_after_a_lost_connection() -> None:
    async with bounded() as models:
        lease = models.lease("stt", NAME, {}, lambda _: Listener())
        hearing = SharedHearing(lease, await lease.loaded())
        failed = failure_of(hearing)
        async with AsyncExitStack() as stack:
            async with hearing.shared.used():
                stream = await stack.enter_async_context(hearing.stream(conn_options=PATIENT))
                stream.push_frame(rtc.AudioFrame(SECOND, 24_000, 1, 24_000))
                stream.flush()
                assert "concurrency" in await asyncio.wait_for(failed, 10)
            event = await anext(stream)
    assert event.alternatives[0].text == "24000"


async def test_request_without_a_place_fails_as_one_without_a_connection() -> None:
    async with bounded() as models:
        lease = models.lease("stt", NAME, {}, lambda _: Listener())
        hearing = SharedHearing(lease, await lease.loaded())
        async with hearing.shared.used():
            with pytest.raises(APIConnectionError, match="concurrency"):
                await hearing.recognize(
                    [rtc.AudioFrame(SECOND, 24_000, 1, 24_000)], conn_options=ONCE
                )


async def test_whatever_an_ear_fails_with_is_no_reason_to_be_deaf(models: Models) -> None:
    lease = models.lease("stt", NAME, {}, lambda _: Listener())
    hearing = SharedHearing(lease, await lease.loaded())
    failed = failure_of(hearing)
    async with hearing.stream(conn_options=PATIENT) as stream:
        stream.push_frame(rtc.AudioFrame(bytes(2), 24_000, 1, 1))
        stream.flush()
        assert "one sample" in await asyncio.wait_for(failed, 10)
        stream.push_frame(rtc.AudioFrame(SECOND, 24_000, 1, 24_000))
        stream.flush()
        assert (await anext(stream)).alternatives[0].text == "24000"


@pytest.mark.parametrize("streaming", [False, True])
async def test_voice_without_a_place_at_the_bound_tries_again(streaming: bool) -> None:
    async with bounded() as models, AsyncExitStack() as stack:
        [voice] = await voices(models, Speaker(streaming=streaming))
        failed = failure_of(voice)
        async with voice.shared.used():
            stream: tts.SynthesizeStream | tts.ChunkedStream
            if streaming:
                stream = await stack.enter_async_context(voice.stream(conn_options=PATIENT))
                stream.push_text("Hello")
                stream.end_input()
            else:
                said = voice.synthesize("Hello", conn_options=PATIENT)
                stream = await stack.enter_async_context(said)
            assert "concurrency" in await asyncio.wait_for(failed, 10)
        sounds = [event.frame async for event in stream]
    assert sum(sound.duration for sound in sounds) == pytest.approx(1.0, abs=0.05)


async def test_ear_that_does_not_stream_asks_the_model(models: Models) -> None:
    lease = models.lease("stt", NAME, {}, lambda _: Listener())
    hearing = SharedHearing(lease, await lease.loaded())
    event = await hearing.recognize([rtc.AudioFrame(SECOND, 24_000, 1, 24_000)])
    assert event.alternatives[0].text == "24000"
    await hearing.aclose()
    assert [item.users for item in models.report("here").models] == [0]
