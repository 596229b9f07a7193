"""Which conversations held here depend on which bots and teams: the way back from a config."""

from __future__ import annotations

from collections.abc import Sequence

from src.swarm.configs.inheritance import team_of
from src.swarm.shapes.models import ConversationState

Name = tuple[str, str]
"""(kind, id) of a config."""


class Dependents:
    """A reverse index. It is as large as what it was told of and not told to forget.

    Settings are not in it: every conversation depends on them.
    """

    def __init__(self) -> None:
        self._names: dict[str, frozenset[Name]] = {}
        self._parts: dict[str, tuple[object, ...]] = {}
        self._ids: dict[Name, set[str]] = {}

    def __len__(self) -> int:
        return len(self._names)

    def note(self, state: ConversationState) -> None:
        """Note on what a conversation depends, instead of what it did before."""
        parts = (state.participants, state.team, state.config)
        before = self._parts.get(state.id)
        if before is not None and all(a is b for a, b in zip(before, parts, strict=True)):
            # Most events change none of these, and values are frozen.
            return
        self._parts[state.id] = parts
        names = _names(state)
        old = self._names.get(state.id, frozenset())
        self._names[state.id] = names
        for name in names - old:
            self._ids.setdefault(name, set()).add(state.id)
        self._drop(state.id, old - names)

    def forget(self, conversation_id: str) -> None:
        """Forget a conversation that is not held any more."""
        self._parts.pop(conversation_id, None)
        self._drop(conversation_id, self._names.pop(conversation_id, frozenset()))

    def of(self, kind: str, id: str) -> Sequence[str]:
        """Return the conversations that depend on a config."""
        return tuple(self._ids.get((kind, id), ()))

    def _drop(self, conversation_id: str, names: frozenset[Name]) -> None:
        for name in names:
            ids = self._ids[name]
            ids.discard(conversation_id)
            if not ids:
                del self._ids[name]


def _names(state: ConversationState) -> frozenset[Name]:
    names = {("bot", bot.id) for bot in state.bots}
    team = team_of(state)
    if team is not None:
        names.add(("team", team))
    return frozenset(names)
