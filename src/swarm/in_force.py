"""What configs hold in a conversation on this server, read through the tiers at every use.

So an edit is obeyed by the very next reply and the very next command, wherever it was made.
"""

from __future__ import annotations

from typing import Any

import structlog
from cachetools import LRUCache
from msgspec.structs import replace

from src.state.configs import Record
from src.state.errors import NotFound, TierUnavailable
from src.swarm.configs import inheritance
from src.swarm.configs.bots import BotConfig
from src.swarm.configs.inheritance import RULED, Asked, Inherited, Layer, Origin, Ruled
from src.swarm.configs.service import ConfigService
from src.swarm.configs.settings import VALUES, value_of
from src.swarm.configs.teams import TeamConfig
from src.swarm.outage import Outage
from src.swarm.shapes.commands import Command, Create
from src.swarm.shapes.models import ConversationState

log = structlog.get_logger(__name__)

_KNOWN = 4096


class InForce:
    """The configs of bots, teams and settings, as they apply to conversations here."""

    def __init__(self, configs: ConfigService, outage: Outage) -> None:
        self._configs = configs
        self._outage = outage
        self._known: LRUCache[tuple[str, str], Record[Any] | None] = LRUCache(_KNOWN)
        """Configs as they were last seen, for outages; None: there was none."""

    async def bots(self, state: ConversationState) -> dict[str, Record[BotConfig] | None]:
        """Return the configs of the bots.

        A bot without one is left out; None: what it is cannot be read now.
        """
        records: dict[str, Record[BotConfig] | None] = {}
        for bot in state.bots:
            try:
                record = await self._record("bot", bot.id)
            except TierUnavailable as error:
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
        return None if team is None else await self._record("team", team)

    async def begun(self, create: Create) -> Create:
        """Return the command with what its team has for the blackboard of a new conversation.

        Raises:
            DurableTierUnavailable: the team cannot be read now.
        """
        team = create.config.team_id or (create.team.id if create.team is not None else None)
        record = None if team is None else await self._record("team", team)
        if record is None:
            return create
        given = {value.id for value in create.blackboard}
        more = tuple(value for value in record.body.defaults.blackboard if value.id not in given)
        return replace(create, blackboard=(*create.blackboard, *more))

    async def inherited(self, state: ConversationState, *, exact: bool = False) -> Inherited:
        """Return what stands above a conversation.

        What cannot be read now counts as it was last seen here, and as not set if it never was.

        Raises:
            DurableTierUnavailable: `exact`, and something cannot be read now.
        """
        layers = []
        for key in VALUES:
            setting = await self._last("setting", key, exact=exact)
            if setting is not None:
                origin = Origin("global", key, setting.version)
                layers.append(Layer(origin, **{key: value_of(key, setting.body)}))
        team = inheritance.team_of(state)
        record = None if team is None else await self._last("team", team, exact=exact)
        if record is not None:
            given = record.body.defaults
            layers.append(
                Layer(
                    Origin("team", record.id, record.version),
                    given.limits,
                    given.scheduling,
                    given.policy,
                    given.responder,
                    given.providers,
                )
            )
        return tuple(layers)

    async def ruled(self, conversation_id: str, command: Command) -> Asked:
        """Return the command, with what is inherited if deciding it looks at that."""
        if not isinstance(command, RULED):
            return command
        state = await self._outage.read(conversation_id)
        if state is None or not inheritance.is_ruled(command, state):
            return command
        inherited = await self.inherited(state)
        return Ruled(command, inherited) if inherited else command

    async def _last(self, kind: str, id: str, *, exact: bool) -> Record[Any] | None:
        try:
            return await self._record(kind, id)
        except TierUnavailable as error:
            if exact:
                raise
            log.warning("config.unreadable", kind=kind, id=id, error=str(error))
            # Kept, so that an outage asks for it once.
            known: Record[Any] | None = self._known.setdefault((kind, id), None)
            return known

    async def _record(self, kind: str, id: str) -> Record[Any] | None:
        if self._outage.is_on and (kind, id) in self._known:
            # As it was last: to ask who cannot answer would take long, for each turn again.
            return self._known[kind, id]
        try:
            record: Record[Any] | None = await self._configs.get(kind, id)
        except NotFound:
            record = None
        self._known[kind, id] = record
        return record
