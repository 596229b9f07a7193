"""Conversations to start a test from."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from msgspec import Raw

from src.state.models import Context, Meta, Version, event_id
from src.swarm.configs.inheritance import Inherited
from src.swarm.rules.transitions import decide, fold
from src.swarm.shapes.commands import Command, Create, NewParticipant, PostMessage, Speaker
from src.swarm.shapes.config import Config
from src.swarm.shapes.events import ConversationEvent
from src.swarm.shapes.models import ConversationState, Message

START = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)

ADA = NewParticipant("ada", "person", "Ada")
BEN = NewParticipant("ben", "person", "Ben")
SCOUT = NewParticipant("scout", "bot", "Scout")
TUTOR = NewParticipant("tutor", "bot", "Tutor")
CRITIC = NewParticipant("critic", "bot", "Critic")
MEMBERS = (ADA, BEN, SCOUT, TUTOR, CRITIC)


def raw(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))


class Story:
    """A conversation that commands are told to, one second after the other."""

    def __init__(
        self,
        config: Config = Config(),
        members: tuple[NewParticipant, ...] = MEMBERS,
        create: Command | None = None,
    ) -> None:
        self.log: list[tuple[ConversationEvent, Meta]] = []
        self.told = 0
        self.now: ConversationState | None = None
        self.tell(create or Create("c-1", config=config, participants=members))

    @property
    def state(self) -> ConversationState:
        assert self.now is not None
        return self.now

    @property
    def at(self) -> datetime:
        """The time of the last command."""
        return START + timedelta(seconds=self.told - 1)

    def tell(
        self, command: Command, actor: str = "somebody", inherited: Inherited = ()
    ) -> tuple[ConversationEvent, ...]:
        """Decide and fold; nothing of a refused command stays."""
        at = START + timedelta(seconds=self.told)
        context = Context(f"key-{self.told}", actor, at)
        events = decide(self.now, command, context, inherited)
        self.told += 1
        for index, event in enumerate(events):
            version = Version(1, len(self.log) + 1)
            meta = Meta(version, event_id(context.key, index), actor, at)
            self.now = fold(self.now, event, meta)
            self.log.append((event, meta))
        return events

    def says(self, who: str, text: str = "Something.") -> Message:
        """Let a member say something."""
        member = self.state.participant(who)
        kind = "person" if member is None else member.kind
        self.tell(PostMessage(Speaker(kind, who), text))
        return self.state.messages[-1]


def rebuilt(log: list[tuple[ConversationEvent, Meta]]) -> ConversationState:
    """Fold a log from its beginning."""
    state = None
    for event, meta in log:
        state = fold(state, event, meta)
    assert state is not None
    return state
