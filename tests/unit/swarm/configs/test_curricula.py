"""The subtopics of a topic: in the order of teaching, asked anew, and bounded."""

from __future__ import annotations

from typing import cast

import pytest
import structlog

from src.state.configs import Record
from src.state.errors import DurableTierUnavailable, Undecodable
from src.swarm.configs.curricula import MOST, Curricula
from src.swarm.configs.service import ConfigService, Page
from src.swarm.configs.subtopics import SubtopicConfig
from tests.support.clock import BEGAN


class Shelf:
    """Subtopics in a database, and what a server reads of them."""

    def __init__(self, *orders: int) -> None:
        self.rows = [
            Record("subtopic", f"s{n:03}", 1, SubtopicConfig("t", "T", order=o), False, "a", BEGAN)
            for n, o in enumerate(orders)
        ]
        self.asked: list[tuple[str, str | None]] = []
        self.error: Exception | None = None
        self.away = False
        self.curricula = Curricula(cast("ConfigService", self), lambda: self.away)

    async def read(self, topic: str = "t") -> list[str]:
        return [row.id for row in await self.curricula.read(topic)]

    async def list(
        self, kind: str, cursor: str | None, limit: int, *, group: str | None = None
    ) -> Page:
        """What `ConfigService.list` gives."""
        self.asked.append((kind, group))
        if self.error is not None:
            raise self.error
        return Page(self.rows[:limit], None, 0)


async def test_they_come_in_order_and_equal_ones_by_id() -> None:
    shelf = Shelf(2, 1, 2, 0)
    assert await shelf.read() == ["s003", "s001", "s000", "s002"]
    assert shelf.asked == [("subtopic", "t")]


async def test_each_read_sees_what_was_edited_since() -> None:
    shelf = Shelf(1, 2)
    await shelf.read()
    shelf.rows.pop(0)
    assert await shelf.read() == ["s001"]


@pytest.mark.parametrize("error", [DurableTierUnavailable("away"), Undecodable("s", "newer")])
async def test_what_cannot_be_read_is_as_it_was_last_and_never_taken_for_absent(
    error: Exception,
) -> None:
    shelf = Shelf(1)
    await shelf.read()
    shelf.error = error
    assert await shelf.read() == ["s000"]
    with pytest.raises(type(error)):
        await shelf.read("another")


async def test_who_is_known_to_be_away_is_not_asked_for_what_was_read() -> None:
    shelf = Shelf(1)
    await shelf.read()
    shelf.away = True
    await shelf.read()
    assert len(shelf.asked) == 1


async def test_a_topic_that_is_too_long_is_cut_and_said_to_be() -> None:
    shelf = Shelf(*range(MOST + 1))
    with structlog.testing.capture_logs() as logs:
        assert len(await shelf.read()) == MOST
    assert [(one["event"], one["topic"]) for one in logs] == [("curriculum.too_long", "t")]


async def test_what_is_kept_is_bounded_by_its_text() -> None:
    shelf = Shelf(1)
    content = SubtopicConfig("t", "T", content="x" * 32_768)
    shelf.rows = [Record("subtopic", f"{n}", 1, content, False, "a", BEGAN) for n in range(MOST)]
    for number in range(4):
        await shelf.read(f"topic {number}")
    kept = shelf.curricula.buffers()["curricula"]
    assert 2 * MOST * 32_768 < kept.size <= kept.bound
    shelf.error = DurableTierUnavailable("away")
    assert len(await shelf.read("topic 3")) == MOST
    with pytest.raises(DurableTierUnavailable):
        await shelf.read("topic 0")
