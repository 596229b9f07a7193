"""Bots, teams, routines, subtopics and settings: versions that are never lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from swarmstate_client.answers import Json
from swarmstate_client.asks import Ask, at, conditional, query, write
from swarmstate_client.decoding import read
from swarmstate_client.pages import pages
from swarmstate_client.transport import Transport

_LABELS = ("id", "version", "updated_at", "updated_by", "deleted")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """One version of a config; `body` is what the kind's own fields say."""

    id: str
    version: int
    updated_at: datetime
    updated_by: str
    deleted: bool = False
    body: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One place that differs, such as `steps[2].then[0].tool`; None too where a side lacks it."""

    path: str
    before: Any = None
    after: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """What differs between two versions."""

    id: str
    since: int = field(metadata={"name": "from"})
    to: int
    changes: tuple[Difference, ...]


class Configs:
    """What `Client.bots` does, and `teams`, `routines`, `subtopics`, `settings`.

    `if_match` is the version that a change was decided on: when it is not the present one any more
    the change is refused as PreconditionFailed. Without it the later of two changes counts.
    """

    def __init__(self, transport: Transport, kind: str) -> None:
        self._transport = transport
        self._kind = kind

    async def create(self, body: Json, *, id: str | None = None, key: str | None = None) -> Config:
        """Create version 1; without an id the server makes one. Settings have known ids.

        Raises:
            Conflict: `exists`, there is or was one with this id.
        """
        named = body if id is None else {"id": id, **body}
        ask = Ask(method="POST", path=at(f"/{self._kind}"), body=named, headers=write(key=key))
        made = _config((await self._transport.send(ask)).body)
        self._transport.versions.saw(self._thing(made.id), f"0.{made.version}")
        return made

    async def get(self, id: str) -> Config:
        """Return the present version."""
        return await self._one("GET", id)

    def list(self, *, topic: str | None = None, page: int = 50) -> AsyncIterator[Config]:
        """Give all, in order of id; `topic`: subtopics of that one."""
        ask = Ask(method="GET", path=at(f"/{self._kind}"), query=query(topic=topic, limit=page))
        return pages(self._transport, ask, self._kind, _config)

    async def replace(self, id: str, body: Json, *, if_match: int | None = None) -> Config:
        """Make the next version, with nothing of the present one."""
        return await self._one("PUT", id, body, conditional(if_match))

    async def patch(self, id: str, change: Json, *, if_match: int | None = None) -> Config:
        """Make the next version by a JSON merge patch: null puts a field back to its default."""
        return await self._one("PATCH", id, change, conditional(if_match))

    async def delete(self, id: str, *, if_match: int | None = None) -> None:
        """Delete it; a rollback to one of its versions brings it back."""
        path = at(f"/{self._kind}/{{}}", id)
        headers = conditional(if_match)
        await self._transport.send(
            Ask(method="DELETE", path=path, headers=headers, of=self._thing(id))
        )

    def history(self, id: str, *, page: int = 50) -> AsyncIterator[Config]:
        """Give all versions, newest first, deleted ones included."""
        ask = Ask(method="GET", path=at(f"/{self._kind}/{{}}/history", id), query=query(limit=page))
        how = {"next_in": "next_before", "sent_as": "before"}
        return pages(self._transport, ask, "versions", _config, **how)

    async def diff(self, id: str, since: int, to: int | None = None) -> Diff:
        """Compare a version with another one, without `to` with the present one."""
        path = at(f"/{self._kind}/{{}}/diff", id)
        ask = Ask(method="GET", path=path, query=query(**{"from": since, "to": to}))
        return read(Diff, (await self._transport.send(ask)).body)

    async def rollback(
        self, id: str, version: int, *, if_match: int | None = None, key: str | None = None
    ) -> Config:
        """Make a next version that says what an old one said."""
        headers = write(key=key, if_match=if_match)
        return await self._one("POST", id, {"version": version}, headers, below="/rollback")

    async def _one(
        self,
        method: str,
        id: str,
        body: Json | None = None,
        headers: Json | None = None,
        *,
        below: str = "",
    ) -> Config:
        ask = Ask(
            method=method,
            path=at(f"/{self._kind}/{{}}{below}", id),
            body=body,
            headers=headers or {},
            of=self._thing(id),
        )
        return _config((await self._transport.send(ask)).body)

    def _thing(self, id: str) -> str:
        return f"{self._kind}/{id}"


def _config(body: object, at: str = "config") -> Config:
    labels = read(Config, body, at)
    assert isinstance(body, dict)
    rest = {name: value for name, value in body.items() if name not in _LABELS}
    return Config(
        id=labels.id,
        version=labels.version,
        updated_at=labels.updated_at,
        updated_by=labels.updated_by,
        deleted=labels.deleted,
        body=rest,
    )
