"""People and keys: oneself, and for administrators everybody."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from swarmstate_client.answers import Json
from swarmstate_client.asks import Ask, at, conditional, query
from swarmstate_client.credentials import Login
from swarmstate_client.decoding import read
from swarmstate_client.pages import pages
from swarmstate_client.transport import Transport


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A user as administrators see it."""

    id: str
    email: str | None
    name: str
    roles: tuple[str, ...]
    status: str
    version: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A user as it sees itself. Version 0: nothing was kept about it so far."""

    id: str
    email: str | None
    name: str
    roles: tuple[str, ...]
    version: int
    preferences: Json = field(default_factory=dict)
    learning_progress: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyInfo:
    """An API key as it is listed."""

    id: str
    name: str
    roles: tuple[str, ...]
    masked: str
    created_by: str
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMade:
    """A new API key, shown this once: give it to a client as its token."""

    info: KeyInfo
    key: str = field(repr=False)


class People:
    """What `Client.people` does. A user or a key is not made twice: see NotAnswered."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def register(self, email: str, password: str, name: str = "") -> Person:
        """Make an account for oneself, where registration is open; needs no token."""
        body = {"email": email, "password": password, "name": name}
        return read(Person, await self._make("/auth/register", body, public=True))

    async def profile(self) -> Profile:
        """Return what is kept about the token's bearer."""
        answer = await self._transport.send(Ask(method="GET", path=at("/profile")))
        return read(Profile, answer.body)

    async def edit_profile(self, change: Json, *, if_match: int | None = None) -> Profile:
        """Apply a JSON merge patch to `name`, `preferences` and `learning_progress`."""
        return read(Profile, await self._patch(at("/profile"), change, if_match))

    async def logout(self, *, everywhere: bool = False) -> None:
        """End the login that the token came from, or all of this user's, on every server."""
        ask = Ask(method="POST", path=at("/auth/logout"), body={"everywhere": everywhere})
        await self._transport.send(ask)
        if isinstance(self._transport.credentials, Login):
            self._transport.credentials.forget()

    async def create(
        self,
        email: str,
        *,
        password: str | None = None,
        name: str = "",
        roles: Sequence[str] = ("member",),
    ) -> Person:
        """Make a user; without a password nobody can log in as that one."""
        body = {"email": email, "password": password, "name": name, "roles": roles}
        return read(Person, await self._make("/users", body))

    def list(self, *, email: str | None = None, page: int = 50) -> AsyncIterator[Person]:
        """Give users, in order of id."""
        ask = Ask(method="GET", path=at("/users"), query=query(email=email, limit=page))
        return pages(self._transport, ask, "users", Person)

    async def get(self, id: str) -> Person:
        """Return a user."""
        answer = await self._transport.send(Ask(method="GET", path=at("/users/{}", id)))
        return read(Person, answer.body)

    async def edit(self, id: str, change: Json, *, if_match: int | None = None) -> Person:
        """Change name, roles or status; other roles or another status end the user's logins."""
        return read(Person, await self._patch(at("/users/{}", id), change, if_match))

    async def delete(self, id: str, *, if_match: int | None = None) -> None:
        """Forget a user, and log it out everywhere."""
        headers = conditional(if_match)
        await self._transport.send(Ask(method="DELETE", path=at("/users/{}", id), headers=headers))

    async def create_api_key(
        self,
        name: str,
        *,
        roles: Sequence[str] = ("service",),
        expires_at: datetime | None = None,
    ) -> KeyMade:
        """Make an API key for a service."""
        until = {} if expires_at is None else {"expires_at": expires_at.isoformat()}
        return read(KeyMade, await self._make("/api-keys", {"name": name, "roles": roles, **until}))

    def api_keys(self, *, page: int = 50) -> AsyncIterator[KeyInfo]:
        """Give API keys, in order of id, expired ones too."""
        ask = Ask(method="GET", path=at("/api-keys"), query=query(limit=page))
        return pages(self._transport, ask, "keys", KeyInfo)

    async def delete_api_key(self, id: str) -> None:
        """End a key, on every server within 2 s."""
        await self._transport.send(Ask(method="DELETE", path=at("/api-keys/{}", id)))

    async def _make(self, path: str, body: Json, *, public: bool = False) -> object:
        # These have no idempotency keys, since their answers hold secrets.
        ask = Ask(method="POST", path=at(path), body=body, repeatable=False, public=public)
        return (await self._transport.send(ask)).body

    async def _patch(self, path: str, change: Json, if_match: int | None) -> object:
        headers = conditional(if_match)
        ask = Ask(method="PATCH", path=path, body=change, headers=headers)
        return (await self._transport.send(ask)).body
