"""Exports under way: they end when the access does, and take no more than downloads may."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import cast

import pytest
from msgspec.structs import replace
from starlette.requests import ClientDisconnect
from starlette.types import Message

from src.api.auth.door import Door
from src.api.auth.principals import Principal
from src.api.auth.tokens import Tokens
from src.api.export import export
from src.api.lifespan import Drain
from src.api.transfers import download
from src.state.errors import NotFound, Overloaded
from src.state.models import Entry, Event, Read, Version, Where
from src.swarm.service import SwarmService
from src.swarm.shapes.codec import encode_state
from src.swarm.shapes.models import ConversationState
from src.swarm.transfers import Transfers
from tests.support.clock import virtual_time
from tests.unit.api.given import AT, Revoked, caller, conversation

LENGTH = 500
TEXT = b'{"text":"%s"}' % (b"x" * 1000)


class Conversation:
    """A service with one conversation of five hundred events."""

    def __init__(self) -> None:
        self.state = conversation(LENGTH)
        self.entry = Entry("c-1", self.state.version, self.state)
        self.deleted = False

    def body(self, entry: Entry[ConversationState]) -> bytes:
        return encode_state(entry.state)

    async def read(self, id: str) -> Read[ConversationState]:
        if self.deleted:
            raise NotFound("conversation", id)
        return Read(replace(self.entry, state=self.state), Where.L1)

    async def events(self, id: str, *, after: int, limit: int) -> Sequence[Event]:
        await self.read(id)
        return [
            Event(id, Version(1, seq), f"k-{seq}:0", "message_added", 1, TEXT, "zoe", AT)
            for seq in range(after + 1, after + limit + 1)
        ]


class Exporting:
    """What an export needs, and what may happen to it."""

    def __init__(self, who: Principal) -> None:
        self.conversation = Conversation()
        self.who = who
        self.revoked = Revoked()
        self.door = Door(Tokens("x" * 32))
        self.door.open(self.revoked)
        self.drain = Drain()
        self.downloads = Transfers("downloads", 1)

    def begin(self) -> AsyncGenerator[bytes, None]:
        service = cast("SwarmService", self.conversation)
        entry = self.conversation.entry
        return export(service, self.drain, self.door, self.who, self.downloads, entry, after=0)

    def log_out(self) -> None:
        self.revoked.tokens.add(self.who.session)

    def remove_member(self) -> None:
        self.conversation.state = replace(self.conversation.state, participants=())

    def delete(self) -> None:
        self.conversation.deleted = True

    def begin_to_drain(self) -> None:
        self.drain.announce()


async def lines(chunks: AsyncGenerator[bytes, None]) -> list[str]:
    text = b"".join([chunk async for chunk in chunks])
    return [json.loads(line)["line"] for line in text.splitlines()]


async def test_export_that_nothing_ends_is_whole() -> None:
    told = await lines(Exporting(caller("zoe")).begin())
    assert told == ["state", *["event"] * LENGTH, "end"]


@pytest.mark.parametrize("happening", ["log_out", "remove_member", "delete", "begin_to_drain"])
async def test_export_ends_with_the_access_and_has_no_last_line(happening: str) -> None:
    exporting = Exporting(caller("zoe"))
    async with aclosing(exporting.begin()) as chunks:
        first = await anext(chunks)
        getattr(exporting, happening)()
        rest = [chunk async for chunk in chunks]

    assert (first.count(b"\n") > 1, rest) == (True, [])
    assert exporting.downloads.buffers()["downloads"].size == 0


async def test_one_export_more_than_downloads_may_be_is_sent_away() -> None:
    exporting = Exporting(caller("zoe"))
    async with aclosing(exporting.begin()) as first:
        await anext(first)
        with pytest.raises(Overloaded, match="downloads"):
            await anext(exporting.begin())
    assert (await lines(exporting.begin()))[-1] == "end"


@virtual_time
async def test_client_that_takes_nothing_gives_its_place_back() -> None:
    exporting = Exporting(caller("zoe"))
    answer = await download(exporting.begin(), 200, {}, patience_s=30.0)
    taken: list[Message] = []

    async def send(message: Message) -> None:
        taken.append(message)
        if len(taken) == 3:
            await asyncio.Event().wait()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError("nobody goes away")

    with pytest.raises(ClientDisconnect):
        await answer({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send)

    assert len(taken) == 3
    assert exporting.downloads.buffers()["downloads"].size == 0
