"""Sound may come at the pace of speech, and a little ahead of it."""

from __future__ import annotations

from src.api.pace import Pace


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(pace: Pace, seconds: float) -> int:
    """Offer so much in pieces of an eighth of a second; return how many were taken."""
    return sum(pace.takes(0.125) for _ in range(round(seconds * 8)))


def test_sound_at_the_pace_of_speech_is_taken_for_ever() -> None:
    clock = Clock()
    pace = Pace(clock)
    for _ in range(10_000):
        assert pace.takes(0.02)
        clock.now += 0.02


def test_a_burst_is_taken_up_to_five_seconds_and_more_of_it_only_as_time_goes_by() -> None:
    clock = Clock()
    pace = Pace(clock)

    assert taken(pace, 20.0) == 40
    clock.now += 1.0
    assert taken(pace, 20.0) == 8


def test_silence_saves_nothing_up() -> None:
    clock = Clock()
    pace = Pace(clock)
    clock.now += 1000.0

    assert taken(pace, 20.0) == 40
