"""No server runs without a guard unless a test or a demonstration took it off."""

from dataclasses import fields

import pytest

from src.state.guards import ALL_ON, Guards


@pytest.mark.parametrize("name", [field.name for field in fields(Guards)])
def test_guard_is_on_where_nobody_switched_it_off(name: str) -> None:
    assert getattr(ALL_ON, name) is True
