"""Durations as people write them: 500ms, 2s, 15m, 12h, 7d."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator

_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)")


def parse_duration(text: str) -> timedelta:
    """Return the duration.

    Raises:
        ValueError: not a number with a unit, or no time at all.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or float(found[1]) == 0:
        raise ValueError(f"{text!r} is no duration; write 500ms, 90s, 30m, 12h or 7d")
    return timedelta(seconds=float(found[1]) * _SECONDS[found[2]])


def _parsed(value: object) -> object:
    if not isinstance(value, str) or value.startswith("P") or ":" in value:
        # ISO 8601 and HH:MM:SS are pydantic's to read.
        return value
    return parse_duration(value)


Duration = Annotated[timedelta, BeforeValidator(_parsed)]
"""A timedelta that a setting gives as text."""
