"""Phrases occur in texts as people hear them."""

from __future__ import annotations

import pytest

from src.swarm.shapes.words import spoken


@pytest.mark.parametrize(
    ("phrase", "text"),
    [("rain", "Will it RAIN?"), ("not true", "That's not\n true."), ("élan", "Such Élan!")],
)
def test_these_occur(phrase: str, text: str) -> None:
    assert spoken(phrase) in spoken(text)


@pytest.mark.parametrize(
    ("phrase", "text"), [("rain", "The train."), ("not true", "True, not?"), ("...", "Well...")]
)
def test_these_do_not_occur(phrase: str, text: str) -> None:
    assert spoken(phrase) not in spoken(text)
