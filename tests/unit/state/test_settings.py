"""A setting out of its bounds, or out of order with another, is refused at start by its name."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from tests.support.cluster_settings import settings

SMALLEST: dict[str, int | timedelta] = {
    "l1_entries": 1,
    "l1_bytes": 1 << 20,
    "flush_max_events": 1,
    "flush_max_bytes": 1024,
    "flush_batch": 1,
    "idempotency_keep": timedelta(minutes=5),
    "outbox_keep": timedelta(hours=1),
    "amber_late": timedelta(microseconds=1),
    "amber_bytes": 1024,
    "max_loads": 1,
    "max_waiting_loads": 0,
    "pool_size": 2,
    "file_quota_bytes": 1,
    "uploads": 1,
    "downloads": 1,
    "upload_timeout": timedelta(microseconds=1),
}


@pytest.mark.parametrize("name", SMALLEST)
def test_smallest_value_is_taken_and_less_is_refused(name: str) -> None:
    least = SMALLEST[name]
    given: dict[str, Any] = {name: least}
    assert getattr(settings(**given), name) == least
    less = least - 1 if isinstance(least, int) else least - timedelta(microseconds=1)
    given = {name: less}
    with pytest.raises(ValidationError, match=name):
        settings(**given)


def test_red_has_the_bound_of_amber() -> None:
    assert settings(amber_bytes=1024, red_bytes=1025).red_bytes == 1025
    with pytest.raises(ValidationError, match="greater than or equal to 1024"):
        settings(red_bytes=1023)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"beat_interval": 5}, "SWARMSTATE_BEAT_INTERVAL < SWARMSTATE_OWNER_DEADLINE"),
        ({"owner_deadline": 6}, "SWARMSTATE_OWNER_DEADLINE < SWARMSTATE_DEAD_AFTER"),
        ({"flush_debounce": 6}, "SWARMSTATE_FLUSH_DEBOUNCE must not exceed"),
        ({"upload_timeout": 86_400}, "SWARMSTATE_UPLOAD_TIMEOUT must be less"),
        ({"amber_late": 25}, "SWARMSTATE_AMBER_LATE must be less"),
        ({"amber_bytes": 128 << 20}, "SWARMSTATE_AMBER_BYTES must be less"),
    ],
)
def test_settings_out_of_order_are_refused_by_name(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        settings(**changes)


def test_a_change_may_be_flushed_as_late_after_the_last_as_after_the_first() -> None:
    assert settings(flush_debounce=5).flush_debounce == settings().flush_max_wait
