"""Topic patterns match as in MQTT."""

from __future__ import annotations

import pytest

from src.swarm.shapes.topics import is_pattern, matches


@pytest.mark.parametrize(
    ("pattern", "topic"),
    [
        ("swarm/user", "swarm/user"),
        ("swarm/+", "swarm/user"),
        ("+/user", "swarm/user"),
        ("swarm/+/done", "swarm/run/done"),
        ("swarm/#", "swarm/user"),
        ("swarm/#", "swarm/ext/mail/new"),
        ("swarm/#", "swarm"),
        ("#", "swarm/user"),
    ],
)
def test_these_match(pattern: str, topic: str) -> None:
    assert matches(pattern, topic)


@pytest.mark.parametrize(
    ("pattern", "topic"),
    [
        ("swarm/user", "swarm/users"),
        ("swarm/user", "swarm/user/new"),
        ("swarm/user", "swarm"),
        ("swarm/+", "swarm"),
        ("swarm/+", "swarm/ext/mail"),
        ("swarm/ext/#", "swarm/user"),
    ],
)
def test_these_do_not_match(pattern: str, topic: str) -> None:
    assert not matches(pattern, topic)


@pytest.mark.parametrize("pattern", ["a", "a/b", "+", "#", "a/+/b", "a/#"])
def test_these_are_patterns(pattern: str) -> None:
    assert is_pattern(pattern)


@pytest.mark.parametrize("pattern", ["", "/a", "a/", "a//b", "a+", "a/b#", "#/a", "a/#/b", "##"])
def test_these_are_no_patterns(pattern: str) -> None:
    assert not is_pattern(pattern)
