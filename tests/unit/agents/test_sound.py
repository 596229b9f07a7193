"""The two ends of a call's sound: what is heard is sent at the pace of speech, and can be cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from livekit import rtc
from livekit.agents.voice.io import PlaybackFinishedEvent

from src.agents.sound import Echoes, Microphone, Playback
from tests.support.clock import advance, settle, virtual_time

RATE = 24_000
AHEAD_S = 0.2


class Wire:
    """Keeps what is sent; its other end says nothing by itself."""

    sample_rate = RATE

    def __init__(self, *, echoes: bool = False) -> None:
        self.echoes = echoes
        self.pieces: list[bytes] = []
        self.cleared = 0
        self.marks: list[str] = []

    def sound(self, pcm: bytes) -> None:
        self.pieces.append(pcm)

    def clear(self) -> None:
        self.cleared += 1

    def mark(self, name: str) -> None:
        self.marks.append(name)

    @property
    def seconds(self) -> float:
        """How much sound was sent."""
        return sum(map(len, self.pieces)) / 2 / RATE


class Speech:
    """One bot's way to the wire, and what became of its segments."""

    def __init__(self, *, echoes: bool = False) -> None:
        self.wire, self.echoes = Wire(echoes=echoes), Echoes()
        self.playback = Playback(self.wire, self.echoes)
        self.over: list[PlaybackFinishedEvent] = []
        self.playback.on("playback_finished", self.over.append)

    async def give(self, seconds: float) -> None:
        await self.playback.capture_frame(frame(seconds))


def frame(seconds: float, rate: int = RATE) -> rtc.AudioFrame:
    count = round(seconds * rate)
    return rtc.AudioFrame(bytes(2 * count), rate, 1, count)


@virtual_time
async def test_sound_is_sent_a_moment_ahead_and_at_the_pace_of_speech() -> None:
    speech = Speech()
    giving = asyncio.create_task(speech.give(3.0))
    await settle()
    ahead = speech.wire.seconds
    await advance(1.0)
    later = speech.wire.seconds
    await giving
    speech.playback.flush()
    await advance(1.0)

    # A piece of 20 ms is sent when no more than the moment is ahead.
    assert ahead == pytest.approx(AHEAD_S, abs=0.021)
    assert later == pytest.approx(1.0 + AHEAD_S, abs=0.021)
    [over] = speech.over
    assert (round(over.playback_position, 6), over.interrupted) == (3.0, False)


@virtual_time
async def test_speech_is_over_when_it_is_heard_and_not_when_it_is_sent() -> None:
    speech = Speech()
    await speech.give(0.2)
    speech.playback.flush()
    await advance(0.19)
    early = list(speech.over)
    await advance(0.02)

    assert early == []
    assert len(speech.over) == 1


@virtual_time
@pytest.mark.parametrize("flushed", [True, False])
async def test_who_is_cut_off_is_cleared_and_said_to_be_heard_so_far(flushed: bool) -> None:
    speech = Speech()
    giving = asyncio.create_task(speech.give(3.0))
    await advance(1.0)
    if flushed:
        giving.cancel()
        await settle()
        speech.playback.flush()
        speech.playback.clear_buffer()
    else:
        speech.playback.clear_buffer()
        await giving
        speech.playback.flush()
    sent = speech.wire.seconds
    await advance(5.0)

    [over] = speech.over
    assert speech.wire.cleared == 1
    assert over.interrupted
    assert over.playback_position == pytest.approx(1.0, abs=0.25)
    assert speech.wire.seconds == sent


@virtual_time
async def test_nothing_is_cleared_when_nothing_is_said() -> None:
    speech = Speech()
    speech.playback.clear_buffer()
    await speech.give(0.1)
    speech.playback.flush()
    await advance(0.2)
    speech.playback.clear_buffer()

    assert speech.wire.cleared == 0


@virtual_time
async def test_a_segment_without_sound_is_over_at_once() -> None:
    speech = Speech()
    await speech.give(0.0)
    speech.playback.flush()

    assert [one.playback_position for one in speech.over] == [0.0]


@virtual_time
@pytest.mark.parametrize(
    ("echo", "over_after_s"),
    [(lambda s: s.echoes.played(s.wire.marks[-1]), 0.0), (lambda s: s.echoes.played("x"), 1.0)],
)
async def test_where_the_other_end_echoes_it_says_when_all_was_played_and_is_not_waited_for_long(
    echo: Callable[[Speech], None], over_after_s: float
) -> None:
    speech = Speech(echoes=True)
    await speech.give(0.1)
    speech.playback.flush()
    await advance(0.1)
    waiting = list(speech.over)
    echo(speech)
    await settle()
    at_once = list(speech.over)
    await advance(1.0)

    assert waiting == []
    assert len(speech.wire.marks) == 1
    assert len(at_once) == (0 if over_after_s else 1)
    assert len(speech.over) == 1


@virtual_time
async def test_a_microphone_nobody_listens_to_keeps_the_last_seconds() -> None:
    microphone = Microphone(RATE, asyncio.get_running_loop())
    for number in range(100):
        microphone.push(bytes([number]) * (RATE // 5))
    first = await anext(microphone)

    # A hundred pieces of a tenth of a second came; five seconds of them are kept.
    assert bytes(first.data)[0] == 50


@virtual_time
async def test_what_is_heard_has_one_rate_whatever_the_call_has() -> None:
    microphone = Microphone(8_000, asyncio.get_running_loop())
    for _ in range(50):
        microphone.push(bytes(2 * 160))
    heard = [await anext(microphone) for _ in range(10)]

    assert {one.sample_rate for one in heard} == {RATE}


@virtual_time
async def test_all_that_was_said_is_taken_before_the_call_is_over() -> None:
    microphone = Microphone(RATE, asyncio.get_running_loop())
    microphone.push(bytes(480))
    draining = asyncio.create_task(microphone.drained(60.0))
    await settle()
    before = draining.done()
    await anext(microphone)
    listening = asyncio.ensure_future(anext(microphone))
    await settle()
    listening.cancel()

    assert (before, draining.done()) == (False, True)


@virtual_time
async def test_an_ear_that_hears_nothing_is_not_waited_for_long() -> None:
    microphone = Microphone(RATE, asyncio.get_running_loop())
    microphone.push(bytes(480))
    await microphone.drained(5.0)

    assert asyncio.get_running_loop().time() == 1005.0
