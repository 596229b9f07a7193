"""What a person has heard, as intervals of sound."""

from __future__ import annotations

import pytest
from livekit import rtc

from src.agents.providers.tone import SAMPLE_RATE, tone
from src.demo.person import Heard

ADA = Heard([(1.0, 2.0), (5.0, 6.0)])


def test_voices_that_sound_at_once_overlap_for_as_long_as_both_do() -> None:
    assert ADA.overlap(Heard([(1.5, 1.75), (5.5, 9.0)])) == pytest.approx(0.5)
    assert Heard([(0.0, 10.0)]).overlap(ADA) == pytest.approx(1.0)


def test_voices_one_after_the_other_do_not_overlap() -> None:
    assert ADA.overlap(Heard([(2.0, 5.0)])) == 0.0
    assert ADA.overlap(Heard([(2.5, 4.0)])) < 0
    assert ADA.overlap(Heard()) == 0.0


def test_voice_is_silent_when_the_sound_of_a_moment_ends() -> None:
    assert ADA.silent_after(1.5) == 2.0
    assert ADA.silent_after(3.0) == 3.0


def test_first_sound_after_a_moment_is_none_that_had_begun() -> None:
    assert ADA.first_after(1.5) == 5.0


def frame(loud: bool) -> rtc.AudioFrame:
    """Ten milliseconds of a tone, or of silence."""
    data = tone(440, 0.01) if loud else bytes(480)
    return rtc.AudioFrame(data, SAMPLE_RATE, 1, 240)


def test_pieces_that_waited_for_the_process_are_timed_by_those_before_them() -> None:
    heard = Heard()
    heard.take(frame(False), 10.0)
    # The loop stood still for 300 ms; then all comes at once.
    for _ in range(30):
        heard.take(frame(True), 10.3)
    heard.take(frame(False), 10.31)
    [sound] = heard.sounds
    assert sound == pytest.approx((10.0, 10.3))


def test_sound_after_pieces_that_were_lost_is_timed_by_those_that_come() -> None:
    heard = Heard()
    heard.take(frame(False), 10.0)
    for number in range(31):
        heard.take(frame(False), 10.5 + number / 100)
    heard.take(frame(True), 10.81)
    [sound] = heard.sounds
    assert sound == pytest.approx((10.8, 10.81))


def test_sound_after_a_break_is_timed_by_the_clock() -> None:
    heard = Heard()
    heard.take(frame(True), 10.0)
    heard.take(frame(True), 15.0)
    first, second = heard.sounds
    assert first == pytest.approx((9.99, 10.0))
    assert second == pytest.approx((14.99, 15.0))
