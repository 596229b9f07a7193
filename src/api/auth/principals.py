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


_ALL = frozenset(Right)
RIGHTS: Mapping[Role, frozenset[Right]] = MappingProxyType(
    {
        Role.ADMIN: _ALL,
        Role.SERVICE: _ALL,
        Role.EDITOR: frozenset((Right.READ_CONFIGS, Right.WRITE_CONFIGS)),
        Role.MEMBER: frozenset((Right.TALK,)),
        Role.VIEWER: frozenset(
            (Right.READ_CONVERSATIONS, Right.READ_CONFIGS, Right.READ_OPERATIONS)
        ),
    }
)


class Principal(msgspec.Struct, frozen=True, gc=False):
    """A caller. `expires_at` in seconds since 1970, as the token has it."""

    id: str
    roles: tuple[Role, ...]
    rights: frozenset[Right]
    expires_at: float
    reads_all: bool

    def may(self, right: Right) -> bool:
        return right in self.rights


def principal(id: str, roles: Iterable[Role], expires_at: float) -> Principal:
    """Make a caller of what a token says."""
    roles = tuple(roles)
    rights = frozenset[Right]().union(*(RIGHTS[role] for role in roles))
    return Principal(id, roles, rights, expires_at, Right.READ_CONVERSATIONS in rights)
