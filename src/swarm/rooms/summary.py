"""What a session was: counted from its turns, and told by their first and last words. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from src.state.records.finalised import Counted, Ended
from src.swarm.rules.turns import heard
from src.swarm.shapes import bounds, free_json
from src.swarm.shapes.models import Message
from src.swarm.shapes.sessions import SessionSummary, Talk

APART = timedelta(seconds=5)
"""How far the clocks of LiveKit, PostgreSQL and the servers may be apart."""
_QUOTED = 2
"""Turns quoted of the beginning, and of the end."""
_QUOTE_CHARS = 300


def began_at(ended: Ended) -> datetime:
    """Return when the room's life began."""
    return datetime.fromtimestamp(ended.began / 1000, UTC)


def belongs(ended: Ended, turn: Message) -> bool:
    """Say whether a turn was said while the room lived."""
    return began_at(ended) - APART <= turn.started_at <= ended.ended_at + APART


def precedes(ended: Ended, turn: Message) -> bool:
    """Say whether a turn was said before the room lived."""
    return turn.started_at < began_at(ended) - APART


def summary_of(
    ended: Ended, turns: Sequence[Message], models: Mapping[str, str], text: str, model: bool
) -> SessionSummary:
    """Return what a session was; `turns` are in order, `models` each bot's language model.

    `text` is what a model made of it; else it is made of the first and last words.
    """
    began, over = began_at(ended), ended.ended_at
    duration_s = max(0.0, (over - began).total_seconds())
    talks = _talks(turns)
    spoke = {models[talk.id] for talk in talks if talk.kind == "bot" and talk.id in models}
    return SessionSummary(
        id=id_of(ended),
        room_id=ended.room_id,
        began_at=began,
        ended_at=max(began, over),
        duration_s=duration_s,
        turns=len(turns),
        words=sum(talk.words for talk in talks),
        interruptions=sum(talk.interruptions for talk in talks),
        talk_s=sum(talk.talk_s for talk in talks),
        speakers=tuple(talks[: bounds.PARTICIPANTS]),
        text=text if model else extract(turns, duration_s),
        by="model" if model else "extract",
        models=tuple(sorted(spoke))[: bounds.PARTICIPANTS],
        tokens=_tokens(turns),
    )


def id_of(ended: Ended) -> str:
    """Return the session's name: the same for whoever summarises it."""
    return f"{ended.room_id}.{ended.began}"[-128:]


def counted(session: SessionSummary) -> Counted:
    """Return the numbers of a summary."""
    return Counted(
        session.turns, session.words, session.interruptions, session.duration_s, session.talk_s
    )


def extract(turns: Sequence[Message], duration_s: float) -> str:
    """Tell of a session by who took part, and by its first and last words."""
    names = list(dict.fromkeys(turn.author.name or turn.author.id for turn in turns))
    minutes, seconds = divmod(round(duration_s), 60)
    told = f"{len(turns)} turns by {', '.join(names[:10])} in {minutes} min {seconds} s."
    quoted = list(turns) if len(turns) <= 2 * _QUOTED else [*turns[:_QUOTED], *turns[-_QUOTED:]]
    lines = [f"{turn.author.name or turn.author.id}: {_quote(turn)}" for turn in quoted]
    if len(turns) > 2 * _QUOTED:
        lines.insert(_QUOTED, "[...]")
    return "\n".join([told, *lines])[: bounds.NOTE_CHARS]


def _quote(turn: Message) -> str:
    text = " ".join(heard(turn).split())
    return text if len(text) <= _QUOTE_CHARS else f"{text[:_QUOTE_CHARS]}..."


def _talks(turns: Sequence[Message]) -> list[Talk]:
    """Count by speaker, the one with the most turns first."""
    talks: dict[str, Talk] = {}
    for turn in turns:
        who = turn.author
        known = talks.get(who.id) or Talk(who.id, who.kind, who.name or who.id, 0, 0, 0.0, 0)
        talks[who.id] = Talk(
            who.id,
            who.kind,
            known.name,
            known.turns + 1,
            known.words + len(heard(turn).split()),
            known.talk_s + max(0.0, (turn.ended_at - turn.started_at).total_seconds()),
            known.interruptions + turn.interrupted,
        )
    return sorted(talks.values(), key=lambda talk: -talk.turns)


def _tokens(turns: Sequence[Message]) -> int | None:
    said = [free_json.read(turn.metrics).get("total_tokens") for turn in turns]
    known = [one for one in said if isinstance(one, int) and 0 <= one < 2**31]
    return sum(known) if known else None
