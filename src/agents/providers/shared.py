"""A session's own view of a model that it shares with others.

Sessions of livekit-agents listen to the errors and figures of what they speak and hear with. On an
object that several have, each would take the others' failures for its own. So each has a view, and
what happens to its requests happens to it alone; the requests themselves are the shared model's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import replace
from typing import TypeVar

from livekit.agents import (
    APIConnectionError,
    APIConnectOptions,
    APIError,
    inference,
    stt,
    tts,
    utils,
)
from livekit.agents.types import (
    DEFAULT_API_CONNECT_OPTIONS,
    NOT_GIVEN,
    USERDATA_TIMED_TRANSCRIPT,
    NotGivenOr,
)

from src.agents.providers.model import Loaded
from src.agents.providers.models import Lease

_T = TypeVar("_T")


def _once(options: APIConnectOptions) -> APIConnectOptions:
    """Return these options for the shared model: it is the view that tries again."""
    return replace(options, max_retry=0)


@contextmanager
def _as_livekit_says() -> Iterator[None]:
    """Raise APIError whatever fails: a session goes on after that, an ear is deaf after others."""
    try:
        yield
    except APIError:
        raise
    except Exception as error:
        raise APIConnectionError(str(error) or repr(error)) from error


@asynccontextmanager
async def _request(model: Loaded, context: AbstractAsyncContextManager[_T]) -> AsyncIterator[_T]:
    """Make one request of the model with a stream of it, open in its loop.

    Raises:
        APIError: there was no place for it, or it failed; the view tries again.
    """
    with _as_livekit_says():
        async with model.used(), model.opened(context) as stream:
            yield stream


class _View:
    """What a session asks of any shared model, an STT or a TTS; `aclose` gives up its use."""

    shared: Loaded
    _lease: Lease

    @property
    def model(self) -> str:
        name: str = self.shared.made.model
        return name

    @property
    def provider(self) -> str:
        name: str = self.shared.made.provider
        return name

    def prewarm(self) -> None:
        self.shared.prewarm()

    async def aclose(self) -> None:
        self._lease.release()


class SharedVoice(_View, tts.TTS):  # type: ignore[type-arg]  # the parameter is a plugin's own event
    """A shared TTS."""

    def __init__(self, lease: Lease, model: Loaded) -> None:
        made: tts.TTS = model.made  # type: ignore[type-arg]
        super().__init__(
            capabilities=made.capabilities,
            sample_rate=made.sample_rate,
            num_channels=made.num_channels,
        )
        self._lease, self.shared = lease, model

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        return _Synthesis(tts=self, input_text=text, conn_options=conn_options)

    def stream(
        self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.SynthesizeStream:
        return _SynthesisStream(tts=self, conn_options=conn_options)

    def begin(self, emitter: tts.AudioEmitter, *, stream: bool) -> None:
        """Say what sound comes."""
        emitter.initialize(
            request_id=utils.shortuuid(),
            sample_rate=self.sample_rate,
            num_channels=self.num_channels,
            mime_type="audio/pcm",
            stream=stream,
        )


class _Synthesis(tts.ChunkedStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        voice = self._tts
        assert isinstance(voice, SharedVoice)

        @asynccontextmanager
        async def synthesis() -> AsyncIterator[tts.ChunkedStream]:
            options = _once(self._conn_options)
            async with voice.shared.made.synthesize(self._input_text, conn_options=options) as one:
                yield one

        voice.begin(output_emitter, stream=False)
        async with _request(voice.shared, synthesis()) as stream:
            async for sound in voice.shared.each(stream):
                _push(output_emitter, sound)


class _SynthesisStream(tts.SynthesizeStream):
    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        voice = self._tts
        assert isinstance(voice, SharedVoice)

        @asynccontextmanager
        async def synthesis() -> AsyncIterator[tts.SynthesizeStream]:
            async with voice.shared.made.stream(conn_options=_once(self._conn_options)) as one:
                yield one

        voice.begin(output_emitter, stream=True)
        output_emitter.start_segment(segment_id=utils.shortuuid())
        async with _request(voice.shared, synthesis()) as stream:
            giving = asyncio.create_task(self._give(voice.shared, stream))
            try:
                async for sound in voice.shared.each(stream):
                    _push(output_emitter, sound)
            finally:
                await utils.aio.cancel_and_wait(giving)

    async def _give(self, model: Loaded, stream: tts.SynthesizeStream) -> None:
        async for piece in self._input_ch:
            if isinstance(piece, str):
                self._mark_started()
                model.tell(stream.push_text, piece)
            else:
                model.tell(stream.flush)
        model.tell(stream.end_input)


def _push(emitter: tts.AudioEmitter, sound: tts.SynthesizedAudio) -> None:
    if texts := sound.frame.userdata.get(USERDATA_TIMED_TRANSCRIPT):
        emitter.push_timed_transcript(texts)
    emitter.push_frame(sound.frame)


class SharedHearing(_View, stt.STT):  # type: ignore[type-arg]  # the parameter is a plugin's own event
    """A shared STT."""

    def __init__(self, lease: Lease, model: Loaded) -> None:
        made: stt.STT = model.made  # type: ignore[type-arg]
        # What a session lets its STT know besides sound would be known to all who share it.
        capabilities = replace(made.capabilities, keyterms=False, chat_context=False)
        super().__init__(capabilities=capabilities)
        self._lease, self.shared = lease, model

    async def _recognize_impl(
        self,
        buffer: utils.AudioBuffer,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions,
    ) -> stt.SpeechEvent:
        with _as_livekit_says():
            async with self.shared.used():
                options = _once(conn_options)
                return await self.shared.call(
                    self.shared.made.recognize(buffer, language=language, conn_options=options)
                )

    def stream(
        self,
        *,
        language: NotGivenOr[str] = NOT_GIVEN,
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> stt.RecognizeStream:
        return _Recognition(self, language, conn_options)


class _Recognition(stt.RecognizeStream):
    def __init__(
        self, hearing: SharedHearing, language: NotGivenOr[str], conn_options: APIConnectOptions
    ) -> None:
        super().__init__(stt=hearing, conn_options=conn_options)
        self._language = language

    async def _run(self) -> None:
        hearing = self._stt
        assert isinstance(hearing, SharedHearing)

        @asynccontextmanager
        async def recognition() -> AsyncIterator[stt.RecognizeStream]:
            options = _once(self._conn_options)
            async with hearing.shared.made.stream(
                language=self._language, conn_options=options
            ) as one:
                one.start_time_offset = self.start_time_offset
                yield one

        async with _request(hearing.shared, recognition()) as stream:
            giving = asyncio.create_task(self._give(hearing.shared, stream))
            try:
                async for event in hearing.shared.each(stream):
                    self._event_ch.send_nowait(event)
            finally:
                await utils.aio.cancel_and_wait(giving)

    async def _give(self, model: Loaded, stream: stt.RecognizeStream) -> None:
        async for frame in self._input_ch:
            if isinstance(frame, self._FlushSentinel):
                model.tell(stream.flush)
            else:
                model.tell(stream.push_frame, frame)
        model.tell(stream.end_input)


class SharedDetector(inference.VAD):
    """A detector whose streams share threads; `aclose` gives up their use."""

    def __init__(self, lease: Lease, model: Loaded) -> None:
        executor: Executor = model.made.executor
        super().__init__(executor=executor)
        self._lease = lease

    async def aclose(self) -> None:
        self._lease.release()
