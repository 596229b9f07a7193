"""What the agents room asks of a conversation: read, write, follow, and a stage for its bots.

Voice code does not know where that is: here the server's own loop, from a job's thread.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from src.state.models import Event
from src.swarm.configs.bots import ProviderNames
from src.swarm.dialogue.stage import Stage
from src.swarm.pending import PendingEvent
from src.swarm.shapes.commands import Command
from src.swarm.shapes.models import ConversationState


class Floor(Protocol):
    """What people do that the bots of a conversation must know at once."""

    def person_starts(self, person_id: str) -> None:
        """Let a person speak; the bot that thinks or speaks is stopped."""
        ...

    def person_stops(self, person_id: str) -> None:
        """Note that a person has stopped, or is gone."""
        ...


class Conversation(Protocol):
    """One conversation. Every call waits at most as long as the server's own time-outs."""

    async def state(self) -> ConversationState:
        """Return the state.

        Raises:
            NotFound, StateError: there is none, or no tier can tell.
        """
        ...

    async def providers(self) -> ProviderNames:
        """Return what is inherited of providers: the conversation's, its team's, the setting's."""
        ...

    async def recording(self) -> bool:
        """Say whether its rooms are to be recorded.

        Raises:
            NotFound, StateError: there is no such conversation, or nobody can tell.
        """
        ...

    async def submit(self, command: Command, *, key: str, actor: str) -> None:
        """Have a command taken, once for its key.

        Raises:
            StateError: it was refused, or could not be taken in time.
        """
        ...

    def changes(self) -> AsyncGenerator[Event | PendingEvent, None]:
        """Give events as they are logged, and pending ones as they are said, from now on.

        They end with the conversation. After a failover of PostgreSQL they go on from then on.
        """
        ...

    def staged(self, stage: Stage) -> AbstractAsyncContextManager[Floor]:
        """Host the conversation, with its bots heard on a stage, for the length of the block.

        The server becomes its owner, again and again if it has to.
        """
        ...
