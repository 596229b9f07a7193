"""What a refresh token is worth."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from src.state.records.sessions import GRACE, Finding, judge

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SOON, TICK = NOW + timedelta(days=1), timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("expires_at", "replaced_at", "finding"),
    [
        (SOON, None, "good"),
        (NOW, None, "expired"),
        (SOON, NOW, "good"),
        (SOON, NOW - GRACE + TICK, "good"),
        (SOON, NOW - GRACE, "reused"),
        (NOW, NOW - GRACE, "expired"),
    ],
)
def test_a_token_is_good_once_and_again_while_its_answer_may_be_lost(
    expires_at: datetime, replaced_at: datetime | None, finding: Finding
) -> None:
    assert judge(expires_at, replaced_at, NOW) == finding
