"""The client: what can be done, by noun, over one transport."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import Any, Self

from swarmstate_client.answers import Json
from swarmstate_client.asks import Ask, Query, query
from swarmstate_client.changes import Change, Reset, changes
from swarmstate_client.configs import Configs
from swarmstate_client.conversations import Conversations
from swarmstate_client.credentials import Token, credentials_of
from swarmstate_client.files import Files
from swarmstate_client.patience import Patience
from swarmstate_client.people import People
from swarmstate_client.rooms import Rooms
from swarmstate_client.transport import Transport
from swarmstate_client.webhooks import Webhooks


class Client:
    """Speaks with any of several servers; open it with `async with`.

    `urls` are tried in turn: the one that answered last is asked first. `token` is a token or an
    API key, an async function that gives one for each request, or a `Login`. `patience` bounds
    every wait; `connections` how many there are at a time, of which each stream holds one.
    """

    def __init__(
        self,
        urls: Sequence[str] | str,
        token: Token,
        *,
        patience: Patience = Patience(),
        connections: int = 256,
    ) -> None:
        self._urls = (urls,) if isinstance(urls, str) else tuple(urls)
        self.patience = patience
        self._transport = Transport(self._urls, credentials_of(token), patience, connections)
        self.conversations = Conversations(self._transport)
        self.bots = Configs(self._transport, "bots")
        self.teams = Configs(self._transport, "teams")
        self.routines = Configs(self._transport, "routines")
        self.subtopics = Configs(self._transport, "subtopics")
        self.settings = Configs(self._transport, "settings")
        self.files = Files(self._transport)
        self.people = People(self._transport)
        self.webhooks = Webhooks(self._transport)
        self.rooms = Rooms(self._transport)

    def __repr__(self) -> str:
        return f"Client({', '.join(self._urls)})"

    async def __aenter__(self) -> Self:
        await self._transport.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._transport.close()

    def changes(
        self, *, kinds: Sequence[str] = (), ids: Sequence[str] = (), after: int | None = None
    ) -> AsyncGenerator[Change | Reset, None]:
        """Give committed changes of configs, each once and in order, for as long as you listen.

        Goes on behind the last one when a server goes away. `after`: behind this position (0: all
        that is kept); without it, from now on. After a Reset read everything anew.
        """
        return changes(self._transport, kinds, ids, after)

    async def status(self) -> Json:
        """Return what one server is, sees and holds."""
        return await self._object("/status")

    async def hosted(self, *, limit: int = 100) -> Json:
        """Return the running conversations of one server, and what they obey.

        `rooms` are the first `limit` of them, each with the `applied_version` of its bots' and its
        team's configs.
        """
        return await self._object("/status/rooms", query(limit=limit))

    async def workers(self) -> Json:
        """Return which servers host rooms, how full they are, and who waits for a place."""
        return await self._object("/status/workers")

    async def models(self) -> Json:
        """Return which models the rooms of one server hear, speak and think with."""
        return await self._object("/status/models")

    async def ready(self) -> Json:
        """Return `status` and `tiers` of a server that takes requests.

        Raises:
            Unavailable: none does.
        """
        return await self._object("/health/ready")

    async def _object(self, path: str, query: Query = ()) -> dict[str, Any]:
        body = (await self._transport.send(Ask(method="GET", path=path, query=query))).body
        return body if isinstance(body, dict) else {}
