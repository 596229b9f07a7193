"""An export that is cut goes on where it was, to its end."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from swarmstate_client import Client, NotAnswered

from tests.support.standing_in import Answer, Hasty, StandIn, sends, standing_in

STATE = {"line": "state", "id": "c-1", "version": "1.3"}
END = {"line": "end", "seq": 3}


def line(seq: int) -> dict[str, object]:
    return {"line": "event", "seq": seq}


def export(*told: Mapping[str, object], torn: bytes = b"") -> Answer:
    body = b"".join(json.dumps(one).encode() + b"\n" for one in told) + torn
    return sends(body, cut=END not in told)


def client(server: StandIn) -> Client:
    return Client(server.url, "token-1", patience=Hasty())


async def test_every_line_comes_once_however_often_it_is_cut() -> None:
    answers = (
        export(STATE),
        export(STATE, line(1), torn=b'{"line": "event", "se'),
        export(line(2), line(3), END),
    )
    async with standing_in(*answers) as server, client(server) as swarm:
        found = [one async for one in swarm.conversations.export("c-1")]
    assert found == [STATE, line(1), line(2), line(3)]
    assert [asked.query.get("after") for asked in server.asked] == [None, None, "1"]


async def test_one_that_is_always_cut_in_the_same_place_is_given_up() -> None:
    async with standing_in(*[export(STATE)] * 3) as server, client(server) as swarm:
        with pytest.raises(NotAnswered, match=r"ClientPayloadError|cut behind event 0"):
            [one async for one in swarm.conversations.export("c-1")]
    assert len(server.asked) == 3
