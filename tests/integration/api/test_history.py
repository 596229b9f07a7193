"""The past over HTTP: read on any server, and branched from any point."""

from __future__ import annotations

import pytest

from src.api.auth.principals import Role
from tests.integration.api.begun import ROOM, begin
from tests.support.api import RunningServer


async def test_past_states_are_read_on_the_other_server(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    async with one.as_("zoe") as here, two.as_("zoe") as there:
        await begin(here)
        seen = [(await here.get(ROOM)).json()]
        for number in range(3):
            await here.post(f"{ROOM}/messages", json={"text": f"turn {number}"})
            seen.append((await here.get(ROOM)).json())

        for seq, state in enumerate(seen, 1):
            past = await there.get(f"{ROOM}/at", params={"seq": seq})
            assert past.json() == state
            assert past.headers["x-swarm-version"] == past.headers["etag"].strip('"')
            assert past.headers["x-swarm-version"].endswith(f".{seq}")
        then = seen[1]["updated_at"]
        at = await there.get(f"{ROOM}/at", params={"time": then})

    assert at.json() == seen[1]


@pytest.mark.parametrize(
    ("params", "status", "field"),
    [
        ({"seq": "99"}, 404, None),
        ({"time": "2001-01-01T00:00:00Z"}, 404, None),
        ({"seq": "0"}, 422, "seq"),
        ({"time": "1700000000"}, 422, "time"),
        ({"time": "2026-01-01T00:00:00"}, 422, "time"),
        ({"time": "2026-13-01T00:00:00Z"}, 422, "time"),
    ],
)
async def test_points_that_are_none_are_named(
    server: RunningServer, params: dict[str, str], status: int, field: str | None
) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        answer = await zoe.get(f"{ROOM}/at", params=params)

    assert answer.status_code == status
    assert [one["field"] for one in answer.json().get("errors", ())] == ([field] if field else [])


async def test_branch_goes_its_own_way_from_a_point(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    async with one.as_("zoe") as here, two.as_("yan") as there:
        await begin(here)
        for text in ("left", "right"):
            await here.post(f"{ROOM}/messages", json={"text": text})
        before = (await here.get(ROOM)).json()

        made = await there.post(f"{ROOM}/branch", json={"seq": 2, "id": "c-2"})
        where = made.headers["location"]
        await there.post(f"{where}/messages", json={"text": "straight on"})
        branch = (await there.get(where)).json()
        page = (await there.get(f"{where}/messages")).json()

        assert (await here.get(ROOM)).json() == before

    assert (made.status_code, made.json()["id"], where) == (201, "c-2", "/api/v1/conversations/c-2")
    assert made.json()["parent"] == branch["config"]["parent"] == {"id": "c-1", "seq": 2}
    assert [turn["text"] for turn in branch["messages"]] == ["left", "straight on"]
    assert [turn["text"] for turn in page["messages"]] == ["straight on", "left"]
    assert branch["created_by"] == "yan"


async def test_branch_is_made_once_per_key(pair: tuple[RunningServer, RunningServer]) -> None:
    one, two = pair
    key = {"Idempotency-Key": "k-1"}
    async with one.as_("zoe") as here, two.as_("zoe") as there:
        await begin(here)
        first = await here.post(f"{ROOM}/branch", json={}, headers=key)
        await here.post(f"{ROOM}/messages", json={"text": "later"})
        again = await there.post(f"{ROOM}/branch", json={}, headers=key)
        other = await there.post(f"{ROOM}/branch", json={})
        taken = await there.post(f"{ROOM}/branch", json={"id": "c-1"})

    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 201)
    assert again.json() == first.json() | {"repeated": True}
    assert other.json()["id"] != first.json()["id"]
    assert other.json()["parent"] == {"id": "c-1", "seq": 2}
    assert (taken.status_code, taken.json()["code"]) == (409, "exists")


async def test_the_past_is_for_those_who_may_read_the_present(server: RunningServer) -> None:
    async with (
        server.as_("zoe") as zoe,
        server.as_("eve") as eve,
        server.as_("vic", Role.VIEWER) as viewer,
    ):
        await begin(zoe)
        assert (await eve.get(f"{ROOM}/at")).status_code == 403
        assert (await eve.post(f"{ROOM}/branch", json={})).status_code == 403
        assert (await viewer.get(f"{ROOM}/at")).status_code == 200
        assert (await viewer.post(f"{ROOM}/branch", json={})).status_code == 403
        assert (await zoe.get("/api/v1/conversations/none/at")).status_code == 404
        unknown = await zoe.post(f"{ROOM}/branch", json={"from": 1})
        assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "from")


async def test_a_branch_is_begun_by_no_command(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        state = (await zoe.get(ROOM)).json()
        body = {"type": "branch", "id": "c-9", "parent": {"id": "c-1", "seq": 1}, "state": state}
        answer = await zoe.post(f"{ROOM}/commands", json=body)

    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "type")


async def test_page_of_events_ends_early_when_it_is_large_enough(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        for _ in range(20):
            said = await zoe.post(f"{ROOM}/messages", json={"text": "ö" * 32_768})
            assert said.status_code == 201
        pages: list[list[int]] = []
        after: int | None = 0
        while after is not None:
            answer = await zoe.get(f"{ROOM}/events", params={"after": after, "limit": 1000})
            assert len(answer.content) < 1.2 * 2**20
            pages.append([event["seq"] for event in answer.json()["events"]])
            after = answer.json()["next_after"]

    assert [seq for page in pages for seq in page] == list(range(1, 22))
    assert len(pages) == 2
