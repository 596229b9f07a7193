"""Calls: one person's sound over a connection of the API's own, without LiveKit.

The API brings the connection and the agents room hosts the conversation on it; this is all that
they know of each other. Every method is called in the server's loop and none but `host` waits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec


class Caller(msgspec.Struct, frozen=True, gc=False):
    """Whose call it is."""

    id: str
    """As a participant of the conversation."""
    name: str
    user_id: str | None = None


class Wire(Protocol):
    """The way to a person's loudspeaker. Sound is mono PCM of 16 bits, little-endian."""

    @property
    def sample_rate(self) -> int:
        """Samples a second, both ways."""
        ...

    @property
    def echoes(self) -> bool:
        """Whether the other end says of each mark when it has played what came before."""
        ...

    def sound(self, pcm: bytes) -> None:
        """Send this; it comes hardly faster than it is to be heard."""
        ...

    def clear(self) -> None:
        """Have dropped what was sent and not heard yet: a person speaks."""
        ...

    def mark(self, name: str) -> None:
        """Ask to be told, by `Line.played`, when all that was sent is heard."""
        ...


class Line(Protocol):
    """What the other end of a call does."""

    def hear(self, pcm: bytes) -> None:
        """Take what the person says. What nobody listened to for seconds makes room for it."""
        ...

    def played(self, mark: str) -> None:
        """Note that all that was sent before this mark was heard."""
        ...

    def hang_up(self) -> None:
        """End the call; what was said last is still understood and logged."""
        ...


class Calls(Protocol):
    """Hosts conversations on calls, each on the server where the call arrives."""

    async def host(
        self, conversation_id: str, caller: Caller, wire: Wire, begun: Callable[[Line], None]
    ) -> None:
        """Host until the call is over and all that was said in it is logged; `begun` comes first.

        Who cancels this hangs up.

        Raises:
            Refused: nothing is set to hear or to speak with (`no_voice`), or the conversation's
                bots are heard elsewhere.
            NotFound: there is no such conversation.
            Overloaded: this server has no place for another call.
        """
        ...
