"""Streams that break in every place, and go on behind the last thing that came whole."""

from __future__ import annotations

import json
from contextlib import aclosing

import pytest
from swarmstate_client import Change, Client, NotAnswered, NotUnderstood, Reset, Unauthorized
from swarmstate_client import streams as module

from tests.support.standing_in import (
    Answer,
    Hasty,
    StandIn,
    breaks,
    refuses,
    says,
    sends,
    standing_in,
    told_until,
)
from tests.unit.clients.test_transport import STATE

HELLO = b": keep-alive\n\n"
ENDED = refuses(401, "unauthorized")


def event(seq: int, **data: object) -> bytes:
    body = {
        "conversation_id": "c-1",
        "seq": seq,
        "version": f"1.{seq}",
        "id": f"k:{seq}",
        "type": "message_added",
        "schema": 1,
        "actor": "ada",
        "at": "2026-01-02T03:04:05Z",
        "data": data,
    }
    return b"id: %d\nevent: message_added\ndata: %s\n\n" % (seq, json.dumps(body).encode())


def stream(*parts: bytes, cut: bool = True) -> Answer:
    return sends(b"".join(parts), cut=cut, Content_Type="text/event-stream")


def client(server: StandIn) -> Client:
    return Client(server.url, "token-1", patience=Hasty())


async def seqs(swarm: Client, after: int | None = 0) -> list[int]:
    """Listen until the token has ended."""
    told = swarm.conversations.stream("c-1", after=after)
    return [event.seq for event in await told_until(Unauthorized, told)]


def places(server: StandIn) -> list[str | None]:
    return [asked.headers.get("Last-Event-ID") for asked in server.asked]


async def test_a_stream_goes_on_behind_the_last_event_that_came_whole() -> None:
    torn = event(3)[:-10]
    answers = (
        stream(HELLO, event(1), event(2), torn),
        breaks,
        stream(HELLO, event(3), cut=False),
        ENDED,
    )
    async with standing_in(*answers) as server, client(server) as swarm:
        assert await seqs(swarm) == [1, 2, 3]
    # The library underneath repeats a GET that was not answered once by itself.
    assert set(places(server)) == {"0", "2", "3"}


async def test_without_a_place_it_begins_at_the_state_of_now() -> None:
    async with standing_in(says(STATE), ENDED) as server, client(server) as swarm:
        assert await seqs(swarm, None) == []
    assert places(server) == [None, "7"]


async def test_what_is_only_pending_is_left_out_and_moves_no_place() -> None:
    pending = b'event: pending\ndata: {"id": "k:9", "type": "message_added"}\n\n'
    async with (
        standing_in(stream(HELLO, event(1), pending), ENDED) as server,
        client(server) as swarm,
    ):
        assert await seqs(swarm) == [1]
    assert places(server) == ["0", "1"]


async def test_a_stream_that_never_says_anything_is_given_up() -> None:
    async with standing_in(*[stream(HELLO)] * 3) as server, client(server) as swarm:
        with pytest.raises(NotAnswered):
            await anext(swarm.conversations.stream("c-1", after=0))
    assert len(server.asked) == 3


async def test_what_comes_between_failures_lets_it_try_on() -> None:
    quiet = stream(HELLO, HELLO)
    async with standing_in(*[quiet] * 8, ENDED) as server, client(server) as swarm:
        assert await seqs(swarm) == []
    assert len(server.asked) == 9


async def test_an_event_may_be_longer_than_any_buffer_of_the_library() -> None:
    text = "x" * 300_000
    async with (
        standing_in(stream(event(1, text=text))) as server,
        client(server) as swarm,
        aclosing(swarm.conversations.stream("c-1", after=0)) as events,
    ):
        assert (await anext(events)).data == {"text": text}


async def test_a_line_without_an_end_is_not_gathered_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_LONGEST_LINE_BYTES", 1000)
    async with standing_in(stream(b"data: " + b"x" * 5000)) as server, client(server) as swarm:
        with pytest.raises(NotUnderstood, match="longer than 1000 bytes"):
            await anext(swarm.conversations.stream("c-1", after=0))


async def test_the_standard_s_other_spellings_are_read() -> None:
    spelled = event(1).replace(b"\n", b"\r\n").replace(b"id: ", b"id:")
    lines = spelled.replace(b', "seq"', b',\r\ndata: "seq"')
    async with (
        standing_in(stream(b"retry: 100\r\n\r\n", lines), ENDED) as server,
        client(server) as swarm,
    ):
        assert await seqs(swarm) == [1]


async def test_reads_after_an_event_are_not_older_than_it() -> None:
    answers = (stream(event(8)), says(STATE))
    async with standing_in(*answers) as server, client(server) as swarm:
        async with aclosing(swarm.conversations.stream("c-1", after=0)) as events:
            await anext(events)
        await swarm.conversations.get("c-1")
    assert server.asked[-1].headers["X-Swarm-Version"] == "1.8"


async def test_changes_keep_the_place_that_comments_tell() -> None:
    named = {"position": 8, "kind": "bot", "id": "ada", "version": 3}
    change = json.dumps({**named, "at": "2026-01-02T03:04:05Z"}).encode()
    answers = (
        stream(b": keep-alive\nid: 1.4\n\n", b"id: 1.8\nevent: change\ndata: %s\n\n" % change),
        stream(b": keep-alive\nid: 1.9\n\n", b": keep-alive\nid: 1.12\n\n"),
        stream(b'id: 2.20\nevent: reset\ndata: {"position": 20}\n\n'),
        ENDED,
    )
    async with standing_in(*answers) as server, client(server) as swarm:
        found = await told_until(Unauthorized, swarm.changes(kinds=["bot"], after=3))
    assert [type(one) for one in found] == [Change, Reset]
    assert [one.position for one in found] == [8, 20]
    assert places(server) == [None, "1.8", "1.12", "2.20"]
    assert server.asked[0].query == {"kind": "bot", "after": "3"}
