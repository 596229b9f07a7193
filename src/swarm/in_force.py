"""What configs hold in a conversation on this server, looked at wherever they are obeyed.

So an edit is obeyed by the very next reply and the very next command, wherever it was made. What
cannot be read is never taken for absent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import structlog
from msgspec.structs import replace

from src.state.configs import Record
from src.state.models import Context
from src.swarm.configs import inheritance
from src.swarm.configs.bots import BotConfig, ProviderNames
from src.swarm.configs.inheritance import Inherited, Layer, Origin
from src.swarm.configs.seen import UNREADABLE, Name, SeenConfigs
from src.swarm.configs.settings import VALUES, value_of
from src.swarm.configs.teams import TeamConfig
from src.swarm.errors import RulesUnknown
from src.swarm.rules import lessons, lifecycle, transitions
from src.swarm.rules.lessons import Taught
from src.swarm.shapes.commands import Command, Create
from src.swarm.shapes.events import ConversationEvent
from src.swarm.shapes.models import ConversationState

log = structlog.get_logger(__name__)

AtHand = Callable[[str, str], tuple[bool, Record[Any] | None]]
"""(kind, id) -> whether it is known, and the living config; no waiting."""


class InForce:
    """The configs of bots, teams and settings, as they apply to conversations here."""

    def __init__(self, seen: SeenConfigs) -> None:
        self._seen = seen

    # -- deciding --------------------------------------------------------------------------------

    def decide(
        self, state: ConversationState | None, command: Command, context: Context
    ) -> tuple[ConversationEvent, ...]:
        """Decide a command, for the log, under what its conversation inherits in this moment.

        Raises:
            RulesUnknown: it looks at configs that are not certain now; `look` at them first.
            and what `transitions.decide` raises.
        """
        return _decide(state, command, context, self._seen.certain)

    def decide_pending(
        self, state: ConversationState | None, command: Command, context: Context
    ) -> tuple[ConversationEvent, ...]:
        """Decide a command that waits for PostgreSQL, under what was last seen.

        Raises:
            RulesUnknown: it looks at configs that were never read here.
            and what `transitions.decide` raises.
        """
        return _decide(state, command, context, self._seen.last)

    async def look(self, unknown: RulesUnknown) -> None:
        """Read what a decision lacked.

        Raises:
            RulesUnknown: something cannot be read now; it is named.
        """
        for kind, id in unknown.wanted:
            try:
                await self._seen.read(kind, id)
            except UNREADABLE as error:
                raise RulesUnknown(unknown.conversation_id, [(kind, id)]) from error

    # -- reading ---------------------------------------------------------------------------------

    async def bots(self, state: ConversationState) -> dict[str, Record[BotConfig] | None]:
        """Return the configs of the bots.

        A bot without one is left out; None: what it is cannot be read now.
        """
        records: dict[str, Record[BotConfig] | None] = {}
        for bot in state.bots:
            try:
                record = await self._seen.read("bot", bot.id)
            except UNREADABLE as error:
                log.warning("config.unreadable", kind="bot", id=bot.id, error=str(error))
                records[bot.id] = None
            else:
                if record is not None:
                    records[bot.id] = record
        return records

    async def team(self, state: ConversationState) -> Record[TeamConfig] | None:
        """Return the config of the team that a conversation inherits from; None: there is none.

        Raises:
            DurableTierUnavailable: it cannot be read now.
        """
        team = inheritance.team_of(state)
        return None if team is None else await self._seen.read("team", team)

    async def taught(self, state: ConversationState, pupil: str | None = None) -> Taught | None:
        """Return the lesson that a conversation is, with what there is to teach; None: it is none.

        Raises:
            RulesUnknown: that cannot be read now and never was.
        """
        lesson = lessons.lesson_of(state)
        if lesson is None:
            return None
        try:
            rows = await self._seen.curricula.read(lesson.topic)
        except UNREADABLE as error:
            raise RulesUnknown(state.id, [("topic", lesson.topic)]) from error
        return Taught(lesson, rows, pupil)

    async def begun(self, create: Create) -> Create:
        """Return the command with what its team has for the blackboard of a new conversation.

        Raises:
            RulesUnknown: the team cannot be read now.
        """
        team = create.config.team_id or (create.team.id if create.team is not None else None)
        if team is None:
            return create
        try:
            record = await self._seen.read("team", team)
        except UNREADABLE as error:
            raise RulesUnknown(create.id, [("team", team)]) from error
        if record is None:
            return create
        given = {value.id for value in create.blackboard}
        more = tuple(value for value in record.body.defaults.blackboard if value.id not in given)
        return replace(create, blackboard=(*create.blackboard, *more))

    async def inherited(self, state: ConversationState, *, exact: bool = False) -> Inherited:
        """Return what stands above a conversation; what cannot be read now, as it was last seen.

        Raises:
            RulesUnknown: something cannot be read now and never was; with `exact`, cannot be read.
        """
        read = self._seen.read if exact else self._seen.read_or_last
        layers = []
        for kind, id in _above(state):
            try:
                record = await read(kind, id)
            except UNREADABLE as error:
                raise RulesUnknown(state.id, [(kind, id)]) from error
            if record is not None:
                layers.append(_layer(record))
        return tuple(layers)

    async def providers(self, state: ConversationState) -> ProviderNames:
        """Return what a conversation's bots inherit of providers.

        Raises:
            RulesUnknown: something cannot be read now and never was.
        """
        return inheritance.effective(state.config, await self.inherited(state)).providers

    async def recording(self, state: ConversationState) -> bool:
        """Say whether a conversation's rooms are to be recorded; raises what `providers` raises."""
        if lifecycle.is_over(state):
            # Its config takes no more edits: nobody could have that stopped.
            return False
        return inheritance.effective(state.config, await self.inherited(state)).policy.recording


def _decide(
    state: ConversationState | None, command: Command, context: Context, at_hand: AtHand
) -> tuple[ConversationEvent, ...]:
    """Judge on the state that the command is decided on which configs it looks at, if at any."""
    if state is None or not inheritance.is_ruled(command, state):
        return transitions.decide(state, command, context)
    layers: list[Layer] = []
    wanted: list[Name] = []
    for kind, id in _above(state):
        known, record = at_hand(kind, id)
        if not known:
            wanted.append((kind, id))
        elif record is not None:
            layers.append(_layer(record))
    if wanted:
        raise RulesUnknown(state.id, wanted)
    return transitions.decide(state, command, context, tuple(layers))


def _above(state: ConversationState) -> Iterator[Name]:
    """Name what a conversation inherits from, the most general first."""
    for key in VALUES:
        yield "setting", key
    team = inheritance.team_of(state)
    if team is not None:
        yield "team", team


def _layer(record: Record[Any]) -> Layer:
    """Return what one setting or one team sets."""
    if record.kind == "setting":
        value = value_of(record.id, record.body)
        return Layer(Origin("global", record.id, record.version), **{record.id: value})
    given = record.body.defaults
    return Layer(
        Origin("team", record.id, record.version),
        given.limits,
        given.scheduling,
        given.policy,
        given.responder,
        given.providers,
    )
