"""What the act of rooms of sound makes of its rounds."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.prove.acts.voice import Round, measured, starts_of

MB = 1_000_000


def round_of(rooms: int, *, latency_s: float = 0.8, gaps: int = 0, resident: int = 0) -> Round:
    return Round(rooms, latency_s, gaps, 0, resident)


def test_a_further_room_is_counted_from_the_second_on() -> None:
    sizes = [300, 400, 410, 420]
    rounds = [round_of(n, resident=size * MB) for n, size in enumerate(sizes, 1)]
    result = measured([1.0] * 4, rounds, [0.1] * 4)
    assert result.figures["voice_room_bytes"] == [10 * MB]
    assert "10.0 MB (< 15 MB holds)" in result.notes[1]
    assert "100 ms were ours at p95 (< 200 ms holds)" in result.notes[1]
    assert result.violations == []


def test_of_two_rooms_it_cannot_be_said_what_a_further_one_takes() -> None:
    result = measured([1.0] * 2, [round_of(1), round_of(2)], [0.1] * 2)
    assert result.figures["voice_room_bytes"] == []
    assert "cannot be said" in result.notes[1]


def test_the_round_that_was_worse_than_the_bounds_is_named() -> None:
    rounds = [round_of(1), round_of(2), round_of(3, latency_s=2.0, gaps=1)]
    result = measured([1.0] * 3, rounds, [0.3] * 3)
    assert ": 2 rooms of sound" in result.notes[0]
    assert "with 3 an answer began after 2.00 s at p95, with 1 gaps" in result.notes[0]
    assert "300 ms were ours at p95 (< 200 ms DOES NOT HOLD)" in result.notes[1]


def test_a_server_that_answers_nobody_fails() -> None:
    assert measured([1.0], [round_of(1, gaps=3)], [0.1]).violations


def test_what_is_ours_of_a_start_is_all_but_the_entering_of_rooms(tmp_path: Path) -> None:
    log = tmp_path / "server.log"
    lines = [
        {"event": "room.hosted", "room": "a", "took_s": 0.5, "entering_s": 0.4},
        {"event": "room.left", "room": "a"},
        {"event": "room.ready", "room": "a", "took_s": 0.25, "entering_s": 0.2},
    ]
    log.write_bytes(b"\n".join([b"begins", *map(msgspec.json.encode, lines)]))
    assert [round(one, 3) for one in starts_of(log)] == [0.15]
