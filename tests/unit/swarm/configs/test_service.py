"""What is known of the kinds of configs without asking a store."""

from typing import get_args

from src.swarm.configs.service import KINDS, KindName


def test_kinds_are_named_for_those_who_are_asked_for_one() -> None:
    assert get_args(KindName) == tuple(KINDS)
