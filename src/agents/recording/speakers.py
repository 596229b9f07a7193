"""Who is heard in which part of a recording. Pure; moments are in samples."""

from __future__ import annotations


class Speakers:
    """Of each who is heard the first moment, in the part that is not told yet, and the last."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[int, int]] = {}

    def heard(self, id: str, at: int) -> None:
        """Note that somebody is heard at a moment."""
        first, last = self._heard.get(id, (at, at))
        self._heard[id] = (first, max(last, at))

    def until(self, end: int) -> tuple[str, ...]:
        """Return who was heard before that moment, in order; what is told is forgotten."""
        begun = sorted((first, id) for id, (first, _) in self._heard.items() if first < end)
        told = tuple(id for _, id in begun)
        self._heard = {
            id: (max(first, end), last) for id, (first, last) in self._heard.items() if last >= end
        }
        return told
