"""A tape: what was written, read back by another decoder than ours."""

from __future__ import annotations

import numpy as np
import pytest

from src.agents.providers.phrases import pitch
from src.agents.recording.mix import RATE
from src.agents.recording.tape import Tape
from tests.support.sounding import decoded

SECOND = np.arange(RATE) / RATE


def sound(left_hz: float, right_hz: float) -> bytes:
    waves = [np.sin(2 * np.pi * hz * SECOND) * 9_000 for hz in (left_hz, right_hz)]
    return np.stack(waves, axis=1).astype(np.int16).tobytes()


def test_tape_is_the_sound_that_was_written_in_order_each_channel_for_itself() -> None:
    tape = Tape("a room")
    for left_hz, right_hz in ((400, 700), (900, 1_200)):
        tape.write(sound(left_hz, right_hz))
    assert tape.seconds == 2.0

    with tape.end() as file:
        played = decoded(file.read())
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
    with tape.end() as file:
        whole = len(file.read())
    assert 0 < whole // 2 < before <= whole
