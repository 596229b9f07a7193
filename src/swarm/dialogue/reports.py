"""What a conversation says of the configs that it obeys: the versions of its bots and its team."""

from __future__ import annotations

from hashlib import sha256

from src.state.configs import Record
from src.swarm.configs.bots import BotConfig
from src.swarm.in_force import InForce
from src.swarm.outage import Submit
from src.swarm.shapes.commands import ReportConfigVersion, SetTeam
from src.swarm.shapes.models import ConversationState, Participant, TeamRef


class ConfigReports:
    """Logs each version once, when it is first obeyed."""

    def __init__(self, in_force: InForce, submit: Submit) -> None:
        self._in_force, self._submit = in_force, submit

    async def all(self, state: ConversationState) -> None:
        """Report what the next reply of any bot will obey.

        Raises:
            StateError, SwarmError: a config cannot be read, or the report not be logged.
        """
        for bot_id, record in (await self._in_force.bots(state)).items():
            member = state.participant(bot_id)
            if member is not None:
                await self.bot(state, member, record)
        await self._team(state)

    async def bot(
        self, state: ConversationState, member: Participant, record: Record[BotConfig] | None
    ) -> None:
        """Report the config that a bot is about to obey; None: it has none."""
        if record is not None and member.config_version != record.version:
            report = ReportConfigVersion(member.id, record.version)
            key = command_key(f"applied-{record.version}", state.version.token, member.id)
            await self._submit(state.id, report, key, member.id)

    async def _team(self, state: ConversationState) -> None:
        known, record = state.team, await self._in_force.team(state)
        if known is None or record is None or known.id != record.id:
            return
        applied = TeamRef(record.id, record.body.name, record.version)
        if known != applied:
            key = command_key(f"applied-{record.version}", state.version.token, record.id)
            await self._submit(state.id, SetTeam(applied), key, record.id)


def command_key(what: str, about: str, by: str) -> str:
    """Name a command so that whoever attempts it again, here or elsewhere, attempts the same."""
    return f"{what}-{sha256(f'{about} {by}'.encode()).hexdigest()[:24]}"
