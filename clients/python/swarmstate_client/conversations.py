"""Conversations: begin, read, speak, command, follow, branch, export, delete."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

from swarmstate_client.answers import (
    BranchBegun,
    Conversation,
    EffectiveConfig,
    Event,
    Json,
    Message,
    Posted,
    Saved,
    SessionKept,
    Summary,
    Written,
)
from swarmstate_client.asks import Answer, Ask, at, query, write
from swarmstate_client.decoding import parse, read
from swarmstate_client.errors import Conflict
from swarmstate_client.exports import export
from swarmstate_client.pages import pages
from swarmstate_client.sessions import Session
from swarmstate_client.streams import Frame, follow
from swarmstate_client.transport import Transport

T = TypeVar("T")
Durability = Literal["buffered", "logged"]


class Conversations:
    """What `Client.conversations` does; every answer is at least as new as what was seen before.

    Of the arguments of writes: `key` makes a write one that may be repeated, after a crash too;
    without it each call has one of its own. `if_match` is the version token that it was decided on.
    `durability` is how safe it has to be before it is answered.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(
        self,
        id: str | None = None,
        *,
        config: Json | None = None,
        participants: Sequence[Json] = (),
        team: Json | None = None,
        available_tools: Sequence[Json] = (),
        blackboard: Sequence[Json] = (),
        key: str | None = None,
    ) -> Written:
        """Begin a conversation; without an id the server makes one.

        Raises:
            Conflict: `exists`, there is one with this id.
        """
        given = {
            "id": id,
            "config": config,
            "participants": participants,
            "team": team,
            "available_tools": available_tools,
            "blackboard": blackboard,
        }
        body = {name: value for name, value in given.items() if value}
        ask = Ask(method="POST", path=at("/conversations"), body=body, headers=write(key=key))
        made = read(Written, (await self._transport.send(ask)).body)
        self._transport.versions.saw(_thing(made.id), made.version)
        return made

    async def get_or_create(self, id: str, *, participants: Sequence[Json] = ()) -> Conversation:
        """Return the conversation, begun with these participants if there was none."""
        try:
            await self.create(id, participants=participants)
        except Conflict as error:
            if error.code != "exists":
                raise
        return await self.get(id)

    def saw(self, id: str, version: str) -> None:
        """Let no later answer be older than this version, of which another process was told."""
        self._transport.versions.saw(_thing(id), version)

    async def get(self, id: str) -> Conversation:
        """Return the whole state."""
        return _state(await self._read(at("/conversations/{}", id), id))

    async def at(
        self, id: str, *, seq: int | None = None, time: datetime | None = None
    ) -> Conversation:
        """Return the state as it was after an event, or at a time; with both the earlier counts."""
        when = query(seq=seq, time=None if time is None else _moment(time))
        ask = Ask(
            method="GET",
            path=at("/conversations/{}/at", id),
            query=when,
            headers=self._seen(id),
        )
        return _state(await self._transport.send(ask))

    def list(self, *, member: str | None = None, page: int = 50) -> AsyncIterator[Summary]:
        """Give conversations, newest first; `member`: those of one creator or participant."""
        ask = Ask(method="GET", path=at("/conversations"), query=query(member=member, limit=page))
        return pages(self._transport, ask, "conversations", Summary)

    async def delete(self, id: str, *, erase: bool = False, if_match: str | None = None) -> None:
        """Delete for good; `erase` removes what was said from the log too."""
        ask = Ask(
            method="DELETE",
            path=at("/conversations/{}", id),
            query=query(erase="true" if erase else None),
            headers=write(if_match=if_match),
            of=_thing(id),
        )
        await self._transport.send(ask)

    async def patch_config(
        self, id: str, change: Json, *, if_match: str | None = None, key: str | None = None
    ) -> Written:
        """Apply a JSON merge patch to the config: null puts a field back to its default."""
        headers = write(key=key, if_match=if_match)
        path = at("/conversations/{}/config", id)
        return await self._write(Written, "PATCH", path, change, id, headers)

    async def effective_config(self, id: str) -> EffectiveConfig:
        """Return what holds, and where each value comes from."""
        path = at("/conversations/{}/effective-config", id)
        return read(EffectiveConfig, (await self._read(path, id)).body)

    async def say(
        self,
        id: str,
        text: str,
        /,
        *,
        author: Json | None = None,
        key: str | None = None,
        if_match: str | None = None,
        durability: Durability | None = None,
        **fields: Any,  # Of a message, as in the API: their values are any JSON.
    ) -> Posted:
        """Add a message; without `author` it is the token's bearer who says it.

        An `id` among the fields is the message's own.
        """
        who = {} if author is None else {"author": author}
        headers = write(key=key, if_match=if_match, durability=durability)
        path = at("/conversations/{}/messages", id)
        body = {"text": text, **who, **fields}
        return await self._write(Posted, "POST", path, body, id, headers)

    async def save_turn(
        self,
        id: str,
        user_message: str,
        assistant_message: str,
        *,
        user_id: str | None = None,
        bot_id: str | None = None,
        key: str | None = None,
        durability: Durability | None = None,
    ) -> Saved:
        """Add what a user said and what the assistant answered, both or neither."""
        body = {
            "conversation_id": id,
            "user_message": user_message,
            "assistant_message": assistant_message,
            "user_id": user_id,
            "bot_id": bot_id,
        }
        headers = write(key=key, durability=durability)
        path = at("/conversations/save-turn")
        return await self._write(Saved, "POST", path, body, id, headers)

    async def save_session(
        self,
        id: str,
        messages: Sequence[Json],
        *,
        participants: Mapping[str, Json] | None = None,
        duration_s: float = 0.0,
    ) -> SessionKept:
        """Add what the log lacks of a session; the same one again changes nothing."""
        body = {
            "conversation_id": id,
            "messages": messages,
            "participants": participants or {},
            "duration": duration_s,
        }
        return await self._write(SessionKept, "POST", at("/sessions/save"), body, id, write())

    async def command(
        self,
        id: str,
        type: str,
        /,
        *,
        key: str | None = None,
        if_match: str | None = None,
        durability: Durability | None = None,
        **fields: Any,  # Of any command, as in the API.
    ) -> Written:
        """Submit any command: `blackboard`, `pass_baton`, `add_participant`, `lifecycle`, ..."""
        headers = write(key=key, if_match=if_match, durability=durability)
        path = at("/conversations/{}/commands", id)
        body = {"type": type, **fields}
        return await self._write(Written, "POST", path, body, id, headers)

    async def branch(
        self,
        id: str,
        *,
        seq: int | None = None,
        time: datetime | None = None,
        new_id: str | None = None,
        key: str | None = None,
    ) -> BranchBegun:
        """Begin a conversation with the state that this one had; without a point, has."""
        given = {"seq": seq, "time": None if time is None else _moment(time), "id": new_id}
        body = {name: value for name, value in given.items() if value is not None}
        ask = Ask(
            method="POST",
            path=at("/conversations/{}/branch", id),
            body=body,
            headers=write(key=key) | self._seen(id),
        )
        begun = read(BranchBegun, (await self._transport.send(ask)).body)
        self._transport.versions.saw(_thing(begun.id), begun.version)
        return begun

    def messages(self, id: str, *, page: int = 50) -> AsyncIterator[Message]:
        """Give all messages, newest first."""
        path = at("/conversations/{}/messages", id)
        ask = Ask(method="GET", path=path, query=query(limit=page), of=_thing(id))
        return pages(self._transport, ask, "messages", Message)

    def sessions(self, id: str, *, page: int = 50) -> AsyncIterator[Session]:
        """Give what the sessions in the conversation's room were, newest first."""
        path = at("/conversations/{}/sessions", id)
        ask = Ask(method="GET", path=path, query=query(limit=page), of=_thing(id))
        return pages(self._transport, ask, "sessions", Session)

    def events(self, id: str, *, after: int = 0, page: int = 100) -> AsyncIterator[Event]:
        """Give what is logged now, in order, behind the sequence number `after`."""
        path = at("/conversations/{}/events", id)
        ask = Ask(method="GET", path=path, query=query(limit=page), of=_thing(id))
        how = {"next_in": "next_after", "sent_as": "after"}
        return pages(self._transport, ask, "events", Event, begin=after, **how)

    async def stream(self, id: str, *, after: int | None = None) -> AsyncGenerator[Event, None]:
        """Give events as they are logged, each once and in order, for as long as you listen.

        Goes on behind the last one seen when a server goes away. `after`: behind this sequence
        number; without it, from now on. Turns that are only pending are left out: they come when
        they are logged. Leave it with `aclose()` (`contextlib.aclosing`) to free the connection.

        Raises:
            ProblemError: the token has ended, or is no member's any more; NotFound after deletion.
        """
        if after is None:
            after = (await self.get(id)).version.seq
        ask = Ask(method="GET", path=at("/conversations/{}/stream", id))
        events = follow(self._transport, ask, str(after), _event)
        try:
            async for event in events:
                self._transport.versions.saw(_thing(id), event.version)
                yield event
        finally:
            await events.aclose()

    def export(self, id: str, *, after: int = 0) -> AsyncGenerator[Json, None]:
        """Give the lines of the export: the state (but not behind an event), then every event.

        Goes on behind the last line when it is cut, and ends when nothing is missing.
        """
        return export(self._transport, at("/conversations/{}/export", id), _thing(id), after)

    async def _read(self, path: str, id: str) -> Answer:
        return await self._transport.send(Ask(method="GET", path=path, of=_thing(id)))

    async def _write(
        self, kind: type[T], method: str, path: str, body: Json, id: str, headers: Json
    ) -> T:
        ask = Ask(method=method, path=path, body=body, headers=headers, of=_thing(id))
        return read(kind, (await self._transport.send(ask)).body)

    def _seen(self, id: str) -> dict[str, str]:
        """Return the version to branch from: the answer's is of the branch, not of this one."""
        version = self._transport.versions.last(_thing(id))
        return {} if version is None else {"X-Swarm-Version": version}


def _thing(id: str) -> str:
    return f"conversations/{id}"


def _state(answer: Answer) -> Conversation:
    headers = answer.headers
    more = {
        "tier": headers.get("X-Swarm-Tier", ""),
        "freshness": headers.get("X-Swarm-Freshness", ""),
        "pending": int(headers.get("X-Swarm-Pending", "0")),
    }
    body = answer.body
    return read(Conversation, {**body, **more} if isinstance(body, dict) else body)


def _event(frame: Frame) -> Event | None:
    # What has no id is only pending: it comes again when it is logged.
    return None if frame.id is None else read(Event, parse(frame.data, "event"), "event")


def _moment(time: datetime) -> str:
    """Write RFC 3339.

    Raises:
        ValueError: a time without a zone is many moments.
    """
    if time.tzinfo is None:
        raise ValueError("the time has no zone; give it tzinfo=UTC or another one")
    return time.isoformat()
