"""What can go wrong in the swarm room, beside what `src.state.errors` names.

StateError
├── Refused
│   └── InvalidCommand    bytes from outside that are no command; `field` is the place in them
└── DurableTierUnavailable
    └── RulesUnknown      what a conversation inherits cannot be read now; nothing was changed
SwarmError
├── UploadTooSlow         a file that came too slowly, or not on at all
├── UnknownProvider       a bot's config names a provider that is not installed
├── MediaUnavailable      LiveKit did not answer, or not as it should
└── NotAServer            an internal call without a server's token
"""

from __future__ import annotations

from collections.abc import Sequence

from src.state.errors import DurableTierUnavailable, Refused


class InvalidCommand(Refused):
    """The bytes are no command: not JSON, an unknown type or field, a wrong type, out of bounds."""

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__("invalid", detail, field=field)


class RulesUnknown(DurableTierUnavailable):
    """A config that rules a conversation is not at hand; nothing was changed.

    Raised where a command is decided, it says what to read first; raised to a caller, what cannot
    be read now. `wanted` has (kind, id) of each.
    """

    def __init__(self, conversation_id: str, wanted: Sequence[tuple[str, str]]) -> None:
        names = ", ".join(f"{kind} {id!r}" for kind, id in wanted)
        super().__init__(
            f"{names} cannot be read now, and conversation {conversation_id} inherits from it; "
            "nothing was changed, try again"
        )
        self.conversation_id, self.wanted = conversation_id, tuple(wanted)


class SwarmError(Exception):
    """Base of what this room raises on purpose and the state room does not know."""


class UploadTooSlow(SwarmError):
    """A file came too slowly; nothing of it was kept."""


class UnknownProvider(SwarmError):
    """No provider goes by this name here."""

    def __init__(self, name: str, known: tuple[str, ...], hint: str) -> None:
        names = ", ".join(known) or "none"
        super().__init__(f"there is no provider {name!r} (installed: {names}); {hint}")
        self.name = name


class MediaUnavailable(SwarmError):
    """LiveKit does not answer, or does not let us in; what was asked may be asked again."""


class NotAServer(SwarmError):
    """An internal call that no server of this cluster signed."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"not signed by a server of this cluster ({why}); SWARMSTATE_INTERNAL_SECRET must be "
            "the same on all servers"
        )
