"""Layers of settings, one over the other."""

from __future__ import annotations

from src.swarm.configs.inheritance import EffectivePolicy, EffectiveScheduling
from src.swarm.shapes import layers
from src.swarm.shapes.config import Policy, Scheduling
from tests.unit.swarm.given import raw


def test_the_nearest_layer_that_sets_a_field_counts() -> None:
    above = Scheduling(default_delay_ms=10, requires_approval="all")
    below = Scheduling(default_delay_ms=0)

    assert layers.overlay(above, below) == Scheduling(default_delay_ms=0, requires_approval="all")


def test_an_empty_list_is_set_and_nothing_is_not() -> None:
    assert layers.overlay(Policy(acl=("ada",)), Policy(acl=())).acl == ()
    assert layers.overlay(Policy(acl=("ada",)), Policy()).acl == ("ada",)


def test_maps_are_inherited_key_by_key() -> None:
    above = Scheduling(tool_delays=raw({"pay": 1, "look": 2}))
    below = Scheduling(tool_delays=raw({"pay": 3}))

    assert layers.overlay(above, below).tool_delays == raw({"pay": 3, "look": 2})


def test_what_nobody_sets_has_the_default() -> None:
    assert layers.filled(EffectiveScheduling, Scheduling()) == EffectiveScheduling()
    assert layers.filled(EffectivePolicy, Policy("private")) == EffectivePolicy("private")
