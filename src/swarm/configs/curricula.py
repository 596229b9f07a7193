"""What there is to teach: the subtopics of each topic, in order, as this server has read them.

Asked anew for each reply of a lesson, which takes seconds anyway: so no edit is missed. What was
read last is kept for the time when PostgreSQL is away.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog
from cachetools import LRUCache

from src.state.buffers import Buffer
from src.state.errors import TierUnavailable, Undecodable
from src.swarm.configs.service import ConfigService
from src.swarm.configs.subtopics import Curriculum

log = structlog.get_logger(__name__)

MOST = 200
"""Subtopics of a topic that are taught: the first by id."""
_KEPT_CHARS = 1 << 24
"""How much text is kept in all; one topic can have 200 contents of 32 768."""
_ROW_CHARS = 1_000


class Curricula:
    """The topics that were taught here last."""

    def __init__(self, configs: ConfigService, is_away: Callable[[], bool]) -> None:
        self._configs, self._is_away = configs, is_away
        self._last: LRUCache[str, Curriculum] = LRUCache(_KEPT_CHARS, getsizeof=_chars)

    def buffers(self) -> dict[str, Buffer]:
        """Return what is bounded here, in characters: what is forgotten is read again."""
        return {"curricula": Buffer(int(self._last.currsize), _KEPT_CHARS)}

    async def read(self, topic: str) -> Curriculum:
        """Return the subtopics of a topic; those that cannot be read now as they were last.

        Raises:
            TierUnavailable: PostgreSQL does not answer, and they were never read here.
            Undecodable: the same, since a newer release has written one.
        """
        known = self._last.get(topic)
        if known is not None and self._is_away():
            return known
        try:
            page = await self._configs.list("subtopic", None, MOST + 1, group=topic)
        except (TierUnavailable, Undecodable) as error:
            if known is None:
                raise
            log.warning("curriculum.unreadable", topic=topic, error=str(error))
            return known
        if len(page.records) > MOST:
            log.warning("curriculum.too_long", topic=topic, most=MOST)
        taught = page.records[:MOST]
        rows = tuple(sorted(taught, key=lambda row: (row.body.order, row.id)))
        self._last[topic] = rows
        return rows


def _chars(rows: Curriculum) -> int:
    return sum(_ROW_CHARS + len(row.body.content) for row in rows) + _ROW_CHARS
