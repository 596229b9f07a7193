"""Subtopics: content as data."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from src.state.errors import Refused
from src.swarm.configs.decoding import encode_config
from src.swarm.configs.subtopics import SubtopicConfig, decode_subtopic

HALVES: dict[str, Any] = {
    "topic": "fractions",
    "title": "Halves",
    "content": "A half is ...",
    "order": 2,
    "level": "beginner",
}


def test_a_subtopic_survives_its_own_json() -> None:
    subtopic = decode_subtopic(msgspec.json.encode(HALVES))

    expected = SubtopicConfig("fractions", "Halves", 1, "A half is ...", 2, "beginner")
    assert subtopic == expected
    assert decode_subtopic(encode_config(subtopic)) == subtopic


@pytest.mark.parametrize(
    ("change", "field"),
    [({"topic": ""}, "topic"), ({"order": -1}, "order"), ({"body": ""}, "body")],
)
def test_a_bad_subtopic_is_refused_at_its_place(change: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as refused:
        decode_subtopic(msgspec.json.encode(HALVES | change))

    assert refused.value.field == field
