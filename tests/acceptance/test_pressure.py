"""A PostgreSQL that takes less than is written: nothing is lost, and nothing grows for ever."""

from __future__ import annotations

from pathlib import Path

from tests.support.pressing import press
from tests.support.stage import Tell

RED_BYTES = 32 << 20


async def test_thousand_dirty_at_once_on_a_slow_database_are_amber_then_red_then_green(
    database_url: str, redis_url: str, tmp_path: Path, tell: Tell
) -> None:
    pressed = await press(
        database_url,
        redis_url,
        tmp_path,
        conversations=1000,
        writers=30,
        slow_s=1.0,
        settings={
            "SWARMSTATE_FLUSH_BATCH": "16",
            "SWARMSTATE_FLUSH_DEBOUNCE": "10s",
            "SWARMSTATE_FLUSH_MAX_WAIT": "10s",
            "SWARMSTATE_AMBER_LATE": "1s",
            "SWARMSTATE_RED_LATE": "3s",
            "SWARMSTATE_RED_BYTES": str(RED_BYTES),
            "SWARMSTATE_AMBER_BYTES": str(RED_BYTES - 1),
        },
    )
    tell(str(pressed))
    assert pressed.violations == []
    assert pressed.colours[:3] == ["green", "amber", "red"]
    assert pressed.colours[-1] == "green"
    assert pressed.peak.dirty >= 900
    assert pressed.peak.held_bytes <= RED_BYTES
    assert pressed.overloaded > 0
    assert all(wait_s >= 1 for wait_s in pressed.retry_after_s)
