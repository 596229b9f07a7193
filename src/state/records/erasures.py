"""Telling every server what was erased, on both ways that there are.

A server may be deaf to Redis and another to PostgreSQL: the outbox reaches the first within a pull,
the bus the second. What has heard of it shows no copy from before, whatever goes away later.
"""

from __future__ import annotations

from src.state.records.edits import Edits

ERASED = "erased"
"""The kind of such an announcement; no config has this name, and nobody outside hears of it."""


class Erasures:
    """Announces them."""

    def __init__(self, edits: Edits) -> None:
        self._edits = edits

    async def tell(self, id: str) -> None:
        """Announce that a conversation is erased; each server hears of it within a pull.

        Raises:
            Overloaded: too many edits wait; nothing was announced.
            DurableTierUnavailable: PostgreSQL did not answer; it may be announced.
        """
        async with self._edits.transaction() as edit:
            await edit.announce(ERASED, id, 0)
