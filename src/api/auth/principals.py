"""Roles, what each may do, and the caller that a token names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from types import MappingProxyType

import msgspec


class Role(StrEnum):
    """What a token says its bearer is."""

    ADMIN = "admin"
    EDITOR = "editor"
    MEMBER = "member"
    SERVICE = "service"
    VIEWER = "viewer"


class Right(StrEnum):
    """One thing that may be done."""

    TALK = "talk"
    """Create conversations; read and write those one created or takes part in."""
    READ_CONVERSATIONS = "read_conversations"
    """Read every conversation."""
    WRITE_CONVERSATIONS = "write_conversations"
    """Write to every conversation, in anybody's name."""
    READ_CONFIGS = "read_configs"
    WRITE_CONFIGS = "write_configs"
    READ_OPERATIONS = "read_operations"
    """Status and metrics of a server."""
    UNMETERED = "unmetered"
    """Ask as often as it takes: bots and workers write many turns a second."""
    MANAGE_PEOPLE = "manage_people"
    """Users, their roles, and the keys of services."""


_ALL = frozenset(Right)
RIGHTS: Mapping[Role, frozenset[Right]] = MappingProxyType(
    {
        Role.ADMIN: _ALL,
        # Whoever has a service's key must not be able to make another.
        Role.SERVICE: _ALL - {Right.MANAGE_PEOPLE},
        Role.EDITOR: frozenset((Right.READ_CONFIGS, Right.WRITE_CONFIGS)),
        Role.MEMBER: frozenset((Right.TALK,)),
        Role.VIEWER: frozenset(
            (Right.READ_CONVERSATIONS, Right.READ_CONFIGS, Right.READ_OPERATIONS)
        ),
    }
)


class Principal(msgspec.Struct, frozen=True, gc=False):
    """A caller. `expires_at` and `issued_at` in seconds since 1970, as the token has them.

    `session` is what logging out ends: the login that the token came from, else the token's own id.
    """

    id: str
    roles: tuple[Role, ...]
    rights: frozenset[Right]
    expires_at: float
    reads_all: bool
    session: str = ""
    issued_at: float = 0.0

    def may(self, right: Right) -> bool:
        return right in self.rights


def principal(
    id: str,
    roles: Iterable[Role],
    expires_at: float,
    *,
    session: str = "",
    issued_at: float = 0.0,
) -> Principal:
    """Make a caller of what a token says."""
    roles = tuple(roles)
    rights = frozenset[Right]().union(*(RIGHTS[role] for role in roles))
    reads_all = Right.READ_CONVERSATIONS in rights
    return Principal(id, roles, rights, expires_at, reads_all, session, issued_at)
