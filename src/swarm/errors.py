"""What can go wrong in the swarm room, beside what `src.state.errors` names.

StateError
└── Refused
    └── InvalidCommand    bytes from outside that are no command; `field` is the place in them
SwarmError
├── UploadTooSlow         a file that came too slowly, or not on at all
├── UnknownProvider       a bot's config names a provider that is not installed
└── NotAServer            an internal call without a server's token
"""

from __future__ import annotations

from src.state.errors import Refused


class InvalidCommand(Refused):
    """The bytes are no command: not JSON, an unknown type or field, a wrong type, out of bounds."""

    def __init__(self, detail: str, *, field: str | None = None) -> None:
        super().__init__("invalid", detail, field=field)


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


class NotAServer(SwarmError):
    """An internal call that no server of this cluster signed."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"not signed by a server of this cluster ({why}); SWARMSTATE_INTERNAL_SECRET must be "
            "the same on all servers"
        )
