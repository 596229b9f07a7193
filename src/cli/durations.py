"""Durations as people write them: 90s, 30m, 12h, 7d."""

from __future__ import annotations

import re
from datetime import timedelta

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"(\d{1,6})([smhd])")


def parse_duration(text: str) -> timedelta:
    """Return the duration.

    Raises:
        ValueError: not a number of seconds, minutes, hours or days, or no time at all.
    """
    found = _DURATION.fullmatch(text.strip())
    if found is None or int(found[1]) == 0:
        raise ValueError(f"{text!r} is no duration; write 90s, 30m, 12h or 7d")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
