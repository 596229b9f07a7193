"""Topics of events and the patterns that subscribe to them, as in MQTT.

Levels are parted by `/`; in a pattern `+` stands for exactly one level and `#`, last, for any
number of levels including none.
"""

from __future__ import annotations


def matches(pattern: str, topic: str) -> bool:
    """Say whether a topic is one that the pattern subscribes to."""
    wanted, found = pattern.split("/"), topic.split("/")
    for index, level in enumerate(wanted):
        if level == "#":
            return True
        if index >= len(found) or level not in ("+", found[index]):
            return False
    return len(wanted) == len(found)


def is_pattern(pattern: str) -> bool:
    """Say whether this is a pattern: no empty level, `+` alone in its level, `#` alone and last."""
    levels = pattern.split("/")
    return all(
        level
        and (level == "+" or "+" not in level)
        and ("#" not in level or (level == "#" and index == len(levels) - 1))
        for index, level in enumerate(levels)
    )
