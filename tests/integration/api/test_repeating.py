"""POSTs outside conversations, repeated with their key: done once, on whichever server."""

from __future__ import annotations

import asyncio

from src.api.auth.principals import Role
from tests.support.api import RunningServer

BOTS = "/api/v1/bots"
KEY = {"Idempotency-Key": "k-1"}
ADA = {"name": "Ada"}


async def test_the_first_answer_is_given_again_on_either_server(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    async with one.as_("ed", Role.EDITOR) as here, two.as_("ed", Role.EDITOR) as there:
        first = await here.post(BOTS, json=ADA, headers=KEY)
        again = await there.post(BOTS, json=ADA, headers=KEY)
        unkeyed = await there.post(BOTS, json=ADA)
        listed = (await here.get(BOTS)).json()["bots"]

    assert (first.status_code, again.status_code, unkeyed.status_code) == (201, 201, 201)
    assert again.content == first.content
    for name in ("location", "etag", "content-type"):
        assert again.headers[name] == first.headers[name]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert len(listed) == 2


async def test_the_key_of_another_request_is_refused(server: RunningServer) -> None:
    async with server.as_("ed", Role.EDITOR) as ed:
        await ed.post(BOTS, json=ADA, headers=KEY)
        body = await ed.post(BOTS, json={"name": "Bea"}, headers=KEY)
        path = await ed.post("/api/v1/teams", json=ADA, headers=KEY)

    assert [(one.status_code, one.json()["code"]) for one in (body, path)] == [
        (409, "key_reused"),
        (409, "key_reused"),
    ]


async def test_the_key_of_another_caller_is_another_key(server: RunningServer) -> None:
    async with server.as_("ed", Role.EDITOR) as ed, server.as_("flo", Role.EDITOR) as flo:
        of_ed = await ed.post(BOTS, json=ADA, headers=KEY)
        of_flo = await flo.post(BOTS, json=ADA, headers=KEY)

    assert (of_ed.status_code, of_flo.status_code) == (201, 201)
    assert of_ed.json()["id"] != of_flo.json()["id"]
    assert of_flo.json()["updated_by"] == "flo"


async def test_a_rollback_that_is_repeated_makes_one_version(server: RunningServer) -> None:
    async with server.as_("ed", Role.EDITOR) as ed:
        await ed.post(BOTS, json={"id": "ada", **ADA})
        await ed.patch(f"{BOTS}/ada", json={"role": "lead"})
        back = [
            await ed.post(f"{BOTS}/ada/rollback", json={"version": 1}, headers=KEY)
            for _ in range(2)
        ]
        history = (await ed.get(f"{BOTS}/ada/history")).json()["versions"]

    assert [(one.status_code, one.json()["version"]) for one in back] == [(200, 3), (200, 3)]
    assert len(history) == 3


async def test_a_refusal_may_be_tried_again(server: RunningServer) -> None:
    async with server.as_("ed", Role.EDITOR) as ed, server.as_("zoe") as zoe:
        await ed.post(BOTS, json={"id": "ada", "name": "Ada"})
        wanted = {"id": "ada", "name": "Ada the second"}
        refused = [await ed.post(BOTS, json=wanted, headers=KEY) for _ in range(2)]
        forbidden = await zoe.post(BOTS, json=ADA, headers=KEY)

    assert [one.json()["code"] for one in refused] == ["exists", "exists"]
    assert forbidden.status_code == 403


async def test_many_repeats_at_once_make_one_bot(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    async with one.as_("ed", Role.EDITOR) as here, two.as_("ed", Role.EDITOR) as there:
        answers = await asyncio.gather(
            *(client.post(BOTS, json=ADA, headers=KEY) for client in (here, there) * 10)
        )
        listed = (await here.get(BOTS)).json()["bots"]

    assert {one.status_code for one in answers} <= {201, 409}
    assert {one.json()["code"] for one in answers if one.status_code == 409} <= {"key_in_use"}
    assert len(listed) == 1
