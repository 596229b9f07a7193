"""Takes: one tape after the other, and what becomes of them when the disk or the room runs out."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Event

import numpy as np
import pytest

from src.agents.errors import RecordingFull
from src.agents.recording import takes as module
from src.agents.recording.mix import RATE
from src.agents.recording.shelf import Finished
from src.agents.recording.takes import Subject, Takes
from src.agents.recording.tape import Tape
from src.state.errors import DurableTierUnavailable

SUBJECT = Subject("lesson", "RM_1", "c", "ada")
PLENTY = 1 << 30
LOUD = np.full(RATE // 20, 9_000, dtype=np.int16)


class Kept:
    """`Keeping` that says how much room there is, and holds what it gets."""

    def __init__(self, *left: int) -> None:
        self._left = list(left)
        self.finished: list[Finished] = []
        self.losses: list[str] = []

    async def left(self) -> int:
        if not self._left:
            raise DurableTierUnavailable("PostgreSQL is away")
        return self._left.pop(0)

    def put(self, finished: Finished) -> None:
        finished.file.close()
        self.finished.append(finished)

    def lost(self, room_id: str, seconds: float, why: str) -> None:
        assert seconds > 0
        self.losses.append(why)

    @property
    def speakers(self) -> list[tuple[str, ...]]:
        return [one.recording.speakers for one in self.finished]


def takes_of(kept: Kept) -> Takes:
    return Takes(SUBJECT, kept, ThreadPoolExecutor(1))


async def moment() -> None:
    """Let the clock of sound move on."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, passed.set)
    await passed.wait()


async def test_tape_after_tape_is_kept_with_who_is_heard_on_it() -> None:
    kept = Kept(PLENTY, PLENTY)
    takes = takes_of(kept)
    async with takes.open():
        await moment()
        takes.source("zoe", 0)(LOUD)
        await takes.write(settled=False)
        assert takes.seconds > 0
        await takes.turn()
        assert takes.seconds == 0
        await moment()
        takes.source("scout", 1)(LOUD)
        await moment()
    assert [one.recording.room_id for one in kept.finished] == ["lesson", "lesson"]
    assert kept.speakers[0] == ("zoe",)
    assert kept.speakers[1][-1] == "scout"
    first, second = (one.recording for one in kept.finished)
    gap_s = (second.began_at - first.began_at).total_seconds() - first.duration_s
    assert gap_s == pytest.approx(0, abs=0.001)


async def written(takes: Takes, then: Callable[[], object] = lambda: None) -> None:
    """Have something on tape."""
    async with takes.open():
        then()
        takes.source("zoe", 0)(LOUD)
        await moment()
        await takes.write(settled=False)


async def test_room_in_which_there_was_nobody_leaves_no_file() -> None:
    kept = Kept(PLENTY)
    takes = takes_of(kept)
    async with takes.open():
        await moment()
        await takes.write(settled=False)
        assert takes.seconds > 0
    assert kept.finished == []


def watched(monkeypatch: pytest.MonkeyPatch) -> Event:
    """Give what is set when a tape is discarded."""
    discarded, discard = Event(), Tape.discard

    def noted(tape: Tape) -> None:
        discard(tape)
        discarded.set()

    monkeypatch.setattr(Tape, "discard", noted)
    return discarded


async def test_conversation_that_may_have_no_more_bytes_is_not_recorded() -> None:
    kept = Kept(1000)
    with pytest.raises(RecordingFull, match="1000 more bytes"):
        await written(takes_of(kept))
    assert kept.finished == []


async def test_tape_ends_before_it_is_more_than_there_is_room_for_and_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_LEAST_BYTES", 0)
    left = module._MARGIN_BYTES + (8 << 10)
    kept = Kept(left, 0)
    takes = takes_of(kept)
    monkeypatch.setattr(takes, "_now", count(RATE, RATE).__next__)

    async def record() -> None:
        async with takes.open():
            takes.source("zoe", 0)(LOUD)
            while not takes.is_full:
                await takes.write(settled=False)
            monkeypatch.setattr(module, "_LEAST_BYTES", 1)
            await takes.turn()

    with pytest.raises(RecordingFull):
        await record()
    [one] = kept.finished
    assert left // 16 < one.size <= left


async def test_recording_goes_on_while_nobody_can_tell_how_much_room_there_is() -> None:
    kept = Kept(PLENTY)
    takes = takes_of(kept)
    async with takes.open():
        takes.source("zoe", 0)(LOUD)
        for _ in range(2):
            await moment()
            await takes.write(settled=False)
            await takes.turn()
        await moment()
    assert len(kept.finished) == 3


async def test_disk_that_is_full_ends_the_recording_and_what_it_took_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, kept = Tape.write, Kept(PLENTY)

    def full(tape: Tape, pcm: bytes) -> None:
        if tape.seconds:
            raise OSError(errno.ENOSPC, "no space left")
        write(tape, pcm)

    monkeypatch.setattr(Tape, "write", full)
    with pytest.raises(OSError, match="no space left"):
        await written(takes_of(kept))
    assert [one.size > 0 for one in kept.finished] == [True]
    assert kept.losses == []


async def test_disk_that_takes_nothing_ends_the_recording_which_is_counted_as_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    discarded, kept = watched(monkeypatch), Kept(PLENTY)
    monkeypatch.setattr(Tape, "end", lambda tape: (tape._file, 0))
    await written(takes_of(kept))
    assert (kept.finished, kept.losses) == ([], ["the disk took none of it"])
    assert await asyncio.to_thread(discarded.wait, 30)


async def test_disk_that_hangs_is_given_up_and_has_its_tape_back_when_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, answers, discarded, kept = Tape.write, Event(), watched(monkeypatch), Kept(PLENTY)

    def hang(tape: Tape, pcm: bytes) -> None:
        if tape.seconds:
            answers.wait(30)
        write(tape, pcm)

    monkeypatch.setattr(Tape, "write", hang)
    with pytest.raises(TimeoutError):
        await written(takes_of(kept), lambda: monkeypatch.setattr(module, "_END_S", 0.05))
    assert not discarded.is_set()
    assert [why[:8] for why in kept.losses] == ["the disk"]
    answers.set()
    assert await asyncio.to_thread(discarded.wait, 30)


async def test_disk_that_hangs_has_one_thread_however_often_it_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers, disk = Event(), ThreadPoolExecutor(1, thread_name_prefix="the one disk")
    monkeypatch.setattr(Tape, "__init__", lambda *_: answers.wait(30) and None)
    monkeypatch.setattr(module, "_DISK_S", 0.01)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await written(Takes(SUBJECT, Kept(PLENTY), disk))
    threads = [one.name for one in threading.enumerate() if one.name.startswith("the one disk")]
    answers.set()
    disk.shutdown()
    assert len(threads) == 1


async def test_tape_of_a_room_without_anybody_is_given_back_when_another_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    discarded, kept = watched(monkeypatch), Kept(PLENTY, PLENTY)
    takes = takes_of(kept)
    async with takes.open():
        await moment()
        await takes.write(settled=False)
        await takes.turn()
        assert await asyncio.to_thread(discarded.wait, 30)
    assert (kept.finished, kept.losses) == ([], [])


async def test_sound_that_waited_for_a_busy_process_is_on_tape_however_long_it_did(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, heard = Tape.write, []

    def noted(tape: Tape, pcm: bytes) -> None:
        heard.append(int(np.count_nonzero(np.frombuffer(pcm, dtype=np.int16))))
        write(tape, pcm)

    monkeypatch.setattr(Tape, "write", noted)
    takes, pieces = takes_of(Kept(PLENTY)), 200
    async with takes.open():
        zoe = takes.source("zoe", 0)
        monkeypatch.setattr(takes, "_now", lambda: len(LOUD))
        zoe(LOUD)
        await takes.write()
        monkeypatch.setattr(takes, "_now", lambda: pieces * len(LOUD))
        await takes.write()
        for _ in range(pieces - 1):
            zoe(LOUD)
    assert sum(heard) == pieces * len(LOUD)


async def test_what_waits_for_the_disk_is_bounded_however_long_everything_stood_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, parts = Tape.write, []

    def noted(tape: Tape, pcm: bytes) -> None:
        parts.append(len(pcm))
        write(tape, pcm)

    monkeypatch.setattr(Tape, "write", noted)
    takes = takes_of(Kept(PLENTY))
    async with takes.open():
        takes.source("zoe", 0)(LOUD)
        monkeypatch.setattr(takes, "_now", lambda: 40 * RATE)
        await takes.write(settled=False)
        assert takes.seconds == 40
    assert max(parts) <= 10 * RATE * 4
