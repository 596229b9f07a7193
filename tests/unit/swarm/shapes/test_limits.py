"""Defaults, inheritance and hard caps."""

from __future__ import annotations

import pytest

from src.swarm.shapes.limits import CAPS, DEFAULTS, Limits, effective


def test_without_settings_the_defaults_hold() -> None:
    assert effective() == effective(Limits(), Limits()) == DEFAULTS


def test_the_more_particular_layer_wins_where_it_sets_something() -> None:
    everywhere = Limits(credits=3_000_000, tool_calls=20)
    here = Limits(credits=1_000_000)

    limits = effective(everywhere, here)

    assert (limits.credits, limits.tool_calls) == (1_000_000, 20)


def test_zero_is_a_limit_and_not_a_missing_one() -> None:
    assert effective(Limits(tool_calls=5), Limits(tool_calls=0)).tool_calls == 0


@pytest.mark.parametrize("name", Limits.__struct_fields__)
def test_no_setting_reaches_beyond_its_cap(name: str) -> None:
    cap = getattr(CAPS, name)

    assert getattr(effective(Limits(**{name: cap + 1})), name) == cap
    assert getattr(DEFAULTS, name) <= cap
