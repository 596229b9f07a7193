"""What people send about themselves and get back: bodies of /auth, /profile and /users."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from src.api.auth.principals import Role
from src.swarm.shapes import free_json
from src.swarm.shapes.bounds import Id, Label, Moment

Email = Annotated[
    str,
    Meta(
        max_length=254,
        pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*"
        r"(?![\s\S])",
    ),
]
"""As HTML's input of type email takes it; compared without regard to case."""
Password = Annotated[str, Meta(max_length=256)]
NewPassword = Annotated[str, Meta(min_length=12, max_length=256)]
Roles = Annotated[tuple[Role, ...], Meta(min_length=1, max_length=len(Role))]
RefreshToken = Annotated[str, Meta(max_length=256)]


class Registration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who wants to be known here."""

    email: Email
    password: NewPassword
    name: Label = ""


class NewUser(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A user whom an administrator makes; without a password nobody can log in as that one."""

    email: Email
    password: NewPassword | None = None
    name: Label = ""
    roles: Roles = (Role.MEMBER,)


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody who is known here."""

    email: Email
    password: Password


class Refresh(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The refresh token of the last answer; it is good once."""

    refresh_token: RefreshToken


class Logout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How much to end."""

    everywhere: bool = False
    """Not only this login but all of this user's, and every token issued so far."""


class UserEdit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an administrator may change; other roles or another status end the user's sessions."""

    name: Label
    roles: Roles
    status: Literal["active", "disabled"]


class ProfileEdit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a user may change."""

    name: Label = ""
    preferences: Raw = free_json.EMPTY
    """A JSON object of up to 16 KiB, kept as it is."""
    learning_progress: Raw = free_json.EMPTY
    """The same, for instance subtopic -> how far this user has come."""


class Person(msgspec.Struct, frozen=True):
    """A user as administrators see it."""

    id: str
    email: str | None
    name: str
    roles: tuple[str, ...]
    status: Literal["active", "disabled"]
    version: int
    created_at: datetime
    updated_at: datetime


class PersonList(msgspec.Struct, frozen=True):
    """Users in order of id."""

    users: tuple[Person, ...]
    next_cursor: str | None


class Profile(msgspec.Struct, frozen=True):
    """A user as it sees itself. Version 0: nothing was kept about it so far."""

    id: str
    email: str | None
    name: str
    roles: tuple[str, ...]
    version: int
    preferences: Raw = free_json.EMPTY
    learning_progress: Raw = free_json.EMPTY


class LoggedIn(msgspec.Struct, frozen=True):
    """Tokens: one to send with each request, one to get the next pair with."""

    access_token: str
    token_type: Literal["Bearer"]
    expires_in: int
    """Seconds."""
    refresh_token: str
    """Good once, within the session's time; keep it as carefully as the password."""
    user: Profile


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key for a service."""

    name: Id
    """Who its bearer is, as a token's subject is."""
    roles: Roles = (Role.SERVICE,)
    expires_at: Moment | None = None


class KeyInfo(msgspec.Struct, frozen=True):
    """A key as it is listed."""

    id: str
    name: str
    roles: tuple[str, ...]
    masked: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None


class KeyMade(msgspec.Struct, frozen=True):
    """A new key, shown this once."""

    key: str
    info: KeyInfo


class KeyList(msgspec.Struct, frozen=True):
    """Keys in order of id."""

    keys: tuple[KeyInfo, ...]
    next_cursor: str | None
