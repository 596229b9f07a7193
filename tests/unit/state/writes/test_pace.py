"""The size of a flush transaction: larger under pressure, smaller when one fails."""

import pytest

from src.state.writes.pace import Pace


def most(pace: Pace) -> int:
    """Rows that one transaction takes."""
    return max(rows for rows in range(1, 3000) if pace.has_room(rows, 0))


def test_usual_transaction_is_of_the_usual_size() -> None:
    pace = Pace(64)
    pace.went_well(64, 0.1, pressed=False)
    assert most(pace) == 64


def test_pressure_doubles_it_up_to_a_bound_and_its_end_ends_that() -> None:
    pace, sizes = Pace(64), []
    for _ in range(6):
        pace.went_well(64, 0.1, pressed=True)
        sizes.append(most(pace))
    assert sizes == [128, 256, 512, 1024, 1024, 1024]
    pace.went_well(64, 0.1, pressed=False)
    assert most(pace) == 64


def test_failure_halves_it_down_to_one_row_and_success_leads_back() -> None:
    pace = Pace(64)
    pace.failed(64)
    assert most(pace) == 32
    for _ in range(10):
        pace.failed(most(pace))
    assert most(pace) == 1
    for _ in range(10):
        pace.went_well(1, 0.1, pressed=False)
    assert most(pace) == 64


def test_bytes_bound_it_too_but_one_row_always_fits() -> None:
    pace = Pace(64)
    assert pace.has_room(16, 4 << 20)
    assert not pace.has_room(16, (4 << 20) + 1)
    assert pace.has_room(1, 1 << 30)


def test_larger_batches_than_the_bound_may_be_usual() -> None:
    pace = Pace(5000)
    pace.went_well(5000, 0.1, pressed=True)
    assert pace.has_room(5000, 0)


def test_what_is_ahead_is_counted_in_rows_as_they_were_timed() -> None:
    pace = Pace(64)
    assert pace.ahead_s(64) == 0
    for _ in range(40):
        pace.went_well(64, 64 * 0.01, pressed=False)
    assert round(pace.ahead_s(1000), 2) == 10.0


def test_before_the_first_batch_a_row_is_taken_to_cost_what_it_does_on_a_busy_core() -> None:
    assert Pace(64).ahead_s(640) == pytest.approx(1.0)
