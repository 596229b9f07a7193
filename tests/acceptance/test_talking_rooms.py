"""The short form of the load: rooms of text that talk at once, each turn answered once."""

from pathlib import Path

from tests.prove.act import Place
from tests.prove.acts.load import talking_rooms


async def test_every_turn_of_many_rooms_is_answered_once(tmp_path: Path) -> None:
    result = await talking_rooms(Place(tmp_path, lambda _: None), for_s=12.0, rooms=30)
    assert result.violations == []
    assert result.counts["acked_turns"] == len(result.figures["answer_ours_s"]) >= 30
