"""Takes: one tape after the other, and what becomes of them when the disk or the room runs out."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable

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

    async def left(self) -> int:
        if not self._left:
            raise DurableTierUnavailable("PostgreSQL is away")
        return self._left.pop(0)

    def put(self, finished: Finished) -> None:
        finished.file.close()
        self.finished.append(finished)

    @property
    def speakers(self) -> list[tuple[str, ...]]:
        return [one.recording.speakers for one in self.finished]


async def moment() -> None:
    """Let the clock of sound move on."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(0.02, passed.set)
    await passed.wait()


async def test_tape_after_tape_is_kept_with_who_is_heard_on_it() -> None:
    kept = Kept(PLENTY, PLENTY)
    takes = Takes(SUBJECT, kept)
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
    takes = Takes(SUBJECT, kept)
    async with takes.open():
        await moment()
        await takes.write(settled=False)
        assert takes.seconds > 0
    assert kept.finished == []


def watched(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Give what is set when a tape is discarded."""
    discarded, discard = threading.Event(), Tape.discard

    def noted(tape: Tape) -> None:
        discard(tape)
        discarded.set()

    monkeypatch.setattr(Tape, "discard", noted)
    return discarded


async def test_conversation_that_may_have_no_more_bytes_is_not_recorded() -> None:
    kept = Kept(1000)
    with pytest.raises(RecordingFull, match="1000 more bytes"):
        await written(Takes(SUBJECT, kept))
    assert kept.finished == []


async def test_tape_ends_before_it_is_more_than_there_is_room_for_and_is_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = Kept(PLENTY, 0)
    takes = Takes(SUBJECT, kept)

    async def record() -> None:
        async with takes.open():
            takes.source("zoe", 0)(LOUD)
            await moment()
            await takes.write(settled=False)
            full = [takes.is_full]
            monkeypatch.setattr(module, "_MARGIN_BYTES", PLENTY)
            assert [*full, takes.is_full] == [False, True]
            await takes.turn()

    with pytest.raises(RecordingFull):
        await record()
    assert len(kept.finished) == 1


async def test_recording_goes_on_while_nobody_can_tell_how_much_room_there_is() -> None:
    kept = Kept(PLENTY)
    takes = Takes(SUBJECT, kept)
    async with takes.open():
        takes.source("zoe", 0)(LOUD)
        for _ in range(2):
            await moment()
            await takes.write(settled=False)
            await takes.turn()
        await moment()
    assert len(kept.finished) == 3


async def test_disk_that_is_full_ends_the_recording_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    discarded = watched(monkeypatch)

    def full(tape: Tape, pcm: bytes) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(Tape, "write", full)
    kept = Kept(PLENTY)
    with pytest.raises(OSError, match="no space left"):
        await written(Takes(SUBJECT, kept))
    assert kept.finished == []
    assert await asyncio.to_thread(discarded.wait, 30)


async def test_disk_that_hangs_is_given_up_and_has_its_tape_back_when_it_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers, discarded = threading.Event(), watched(monkeypatch)
    monkeypatch.setattr(Tape, "write", lambda *_: answers.wait(30))
    with pytest.raises(TimeoutError):
        await written(
            Takes(SUBJECT, Kept(PLENTY)), lambda: monkeypatch.setattr(module, "_DISK_S", 0.05)
        )
    assert not discarded.is_set()
    answers.set()
    assert await asyncio.to_thread(discarded.wait, 30)
