"""What rooms need of LiveKit, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal, Protocol

import msgspec

AGENT = "swarmstate"
"""The name under which workers offer to host a swarm."""
AGENT_PREFIX = "swarm-"
"""How the identity of each swarm's agent begins."""
BOT_PREFIX = "bot-"
"""How the identity of each bot in a room begins; nobody else gets such a one."""
RECORDING = "swarmstate.recording"
"""The agent's attribute by which people see that a room is recorded: `true`. Who telephones sees
none."""

PATIENCE = timedelta(seconds=15)
"""A swarm that no worker has taken on for so long is sent again: LiveKit offers it but once."""


def agent_of(server_id: str) -> str:
    """Return how the identity of an agent that a server hosts begins."""
    return f"{AGENT_PREFIX}{server_id}-"


class LiveRoom(msgspec.Struct, frozen=True, gc=False):
    """A room as it is on LiveKit now."""

    id: str
    sid: str
    """Another one in each life."""
    began: int
    """Milliseconds since 1970, by LiveKit's clock."""
    people: int
    """Who is in, agents included; a few seconds old."""


class Heard(msgspec.Struct, frozen=True, gc=False):
    """A message of LiveKit about a room, verified."""

    id: str
    what: Literal["began", "ended", "joined", "left"]
    room_id: str
    sid: str
    began: int
    identity: str = ""
    """Who joined or left."""
    is_agent: bool = False


class Media(Protocol):
    """LiveKit's rooms, by our ids. Every method raises `MediaUnavailable` without an answer."""

    async def open(self, room_id: str, conversation_id: str) -> LiveRoom:
        """Return the room's present life, begun now if it has none.

        Its metadata names the conversation, and holds nothing else.
        """

    async def close(self, room_id: str) -> None:
        """End its life, whoever is in; nothing happens when it has none."""

    async def recorded(self, room_id: str) -> bool:
        """Say whether a swarm's agent in the room shows that it records it now."""

    async def list(self) -> Sequence[LiveRoom]:
        """Return every room that lives, others' too."""

    async def dispatched(self, room_id: str, *, anew: bool) -> str | None:
        """Return the id of the way that `dispatch` would find; None: it would send one."""

    async def dispatch(
        self, room_id: str, conversation_id: str, *, anew: bool, lost: str = ""
    ) -> str:
        """Have one agent host the conversation's swarm in a room that lives; return the way's id.

        One that is on its way, or at work, is that one. One that has done its work counts too,
        unless `anew`; the agent `lost`, whose server died, does not.
        """
