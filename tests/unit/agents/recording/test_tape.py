"""A tape: what was written, read back by another decoder than ours."""

from __future__ import annotations

import errno
import io
from pathlib import Path
from typing import IO

import numpy as np
import pytest

from src.agents.providers.phrases import pitch
from src.agents.recording import tape as module
from src.agents.recording.mix import RATE
from src.agents.recording.tape import TAPE_ERRORS, Tape
from tests.support.sounding import decoded

SECOND = np.arange(RATE) / RATE


def sound(left_hz: float, right_hz: float) -> bytes:
    waves = [np.sin(2 * np.pi * hz * SECOND) * 9_000 for hz in (left_hz, right_hz)]
    return np.stack(waves, axis=1).astype(np.int16).tobytes()


def content(file: IO[bytes], size: int) -> bytes:
    with file:
        file.seek(0)
        read = file.read()
    assert len(read) == size
    return read


def test_tape_is_the_sound_that_was_written_in_order_each_channel_for_itself() -> None:
    tape = Tape("a room")
    for left_hz, right_hz in ((400, 700), (900, 1_200)):
        tape.write(sound(left_hz, right_hz))
    assert tape.seconds == 2.0

    played = decoded(content(*tape.end()))
    heard = [
        round(pitch(played.samples[channel][at : at + played.rate // 2], played.rate))
        for at in (played.rate // 4, played.rate + played.rate // 4)
        for channel in (0, 1)
    ]
    assert heard == pytest.approx([400, 700, 900, 1_200], abs=5)
    assert played.seconds == pytest.approx(2.0, abs=0.05)


def test_tape_says_how_much_of_the_disk_it_takes_before_it_ends() -> None:
    tape = Tape("a room")
    for _ in range(4):
        tape.write(sound(400, 700))
    before = tape.size
    whole = len(content(*tape.end()))
    assert 0 < whole // 2 < before <= whole


class Full(io.FileIO):
    """A file on a disk that takes so many bytes."""

    takes = 50_000

    def write(self, part: bytes) -> int:  # type: ignore[override]  # FFmpeg gives bytes alone
        if len(part) > self.takes:
            raise OSError(errno.ENOSPC, "no space left")
        self.takes -= len(part)
        return super().write(part)


def test_tape_on_a_full_disk_ends_with_what_that_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TemporaryFile", lambda **_: Full(tmp_path / "tape", "w+"))
    tape = Tape("a room")

    def write_on() -> None:
        while True:
            tape.write(sound(400, 700))

    with pytest.raises(TAPE_ERRORS):
        write_on()
    played = decoded(content(*tape.end()))
    assert tape.seconds - 2 < played.seconds <= tape.seconds
    assert round(pitch(played.samples[1], played.rate)) == pytest.approx(700, abs=5)
