"""Sound of many on one clock: all of it at the time at which it was heard."""

from __future__ import annotations

import numpy as np
import pytest

from src.agents.recording.mix import CHANNELS, RATE, SETTLED, Mix, Place, Samples

PIECE = RATE // 20
LEFT, RIGHT = 0, 1


def level(of: int, count: int = PIECE) -> Samples:
    return np.full(count, of, dtype=np.int16)


def taken(mix: Mix, until: int) -> Samples:
    return np.frombuffer(mix.take(until), dtype=np.int16).reshape(-1, CHANNELS)


def placed(*moments: int) -> list[int]:
    """Where pieces of one source go that come at these moments."""
    place = Place()
    return [place.of(PIECE, now) for now in moments]


def test_pieces_in_time_follow_each_other_without_a_gap() -> None:
    jitter = (0, 90, 30, 0, 200, 10)
    moments = [PIECE * (number + 1) + late for number, late in enumerate(jitter)]
    assert placed(*moments) == [PIECE * number for number in range(len(jitter))]


@pytest.mark.parametrize("busy_s", [1.0, 2.5, 5.0, 20.0])
def test_pieces_that_waited_for_a_busy_process_are_where_they_were_said(busy_s: float) -> None:
    ready, count = int(busy_s * RATE), int(busy_s / 0.05) + 100
    moments = [PIECE, 2 * PIECE, *(max(ready, PIECE * number) for number in range(3, count))]
    assert placed(*moments) == [PIECE * number for number in range(count - 1)]


def test_source_whose_first_pieces_waited_is_set_right_by_the_next_that_did_not() -> None:
    ready = RATE
    moments = [max(ready, PIECE * number) for number in range(1, 30)]
    off = [at - PIECE * number for number, at in enumerate(placed(*moments))]
    assert off[0] > RATE // 2
    assert max(off[-5:]) <= RATE // 20


def test_source_that_lost_a_stretch_goes_on_where_it_is_heard() -> None:
    before = [PIECE * number for number in range(1, 11)]
    after = [PIECE * number for number in range(31, 131)]
    assert placed(*before, *after)[-1] == PIECE * 129


def test_what_is_said_at_once_is_heard_at_once_each_on_its_channel() -> None:
    mix = Mix()
    mix.add(level(100), 0, LEFT)
    mix.add(level(20), 0, LEFT)
    mix.add(level(3), PIECE, RIGHT)
    sound = taken(mix, 3 * PIECE)
    assert [tuple(sound[at]) for at in (0, PIECE, 2 * PIECE)] == [(120, 0), (0, 3), (0, 0)]


def test_loud_voices_together_are_cut_and_not_turned_over() -> None:
    mix = Mix()
    for _ in range(3):
        mix.add(level(30_000), 0, LEFT)
        mix.add(level(-30_000), 0, RIGHT)
    assert tuple(taken(mix, 1)[0]) == (32_767, -32_768)


def test_silence_is_as_long_as_it_was() -> None:
    mix = Mix()
    assert len(taken(mix, 10 * RATE)) == 10 * RATE
    mix.add(level(7), 10 * RATE + 5, LEFT)
    assert list(taken(mix, 10 * RATE + 6)[:, LEFT]) == [0, 0, 0, 0, 0, 7]


def test_what_comes_too_late_is_left_out_and_the_rest_of_its_piece_is_not() -> None:
    mix = Mix()
    mix.take(100)
    mix.add(level(7, 200), 0, LEFT)
    mix.add(level(9, 50), 0, RIGHT)
    sound = taken(mix, 300)
    assert (int(sound[:, LEFT].sum()), int(sound[:, RIGHT].sum())) == (700, 0)


def test_what_is_held_is_bounded_however_far_ahead_it_is_said_to_be() -> None:
    mix = Mix()
    mix.add(level(7), 10**12, LEFT)
    for at in range(0, 40 * RATE, PIECE):
        mix.add(level(1), at, LEFT)
    sound = taken(mix, 40 * RATE)
    assert SETTLED < int(sound[:, LEFT].sum()) <= 30 * RATE
