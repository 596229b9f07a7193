"""Turns over HTTP: added, read page by page, saved once."""

from __future__ import annotations

import httpx

from src.api.auth.principals import Role
from tests.integration.api.begun import ROOM, begin
from tests.support.api import RunningServer


async def test_a_message_is_the_callers_own(server: RunningServer) -> None:
    async with server.as_("yan") as yan:
        await begin(yan)
        answer = await yan.post(f"{ROOM}/messages", json={"text": "hello"})
        message = (await yan.get(f"{ROOM}/messages")).json()["messages"][0]

    assert answer.status_code == 201
    assert message["author"] == {"kind": "person", "id": "p-2", "name": "Yan"}
    assert message["id"] == answer.json()["id"]
    assert message["seq"] == int(answer.json()["version"].partition(".")[2])


async def test_nobody_speaks_under_another_name_than_its_own(server: RunningServer) -> None:
    zoe = {"kind": "person", "id": "zoe", "name": "Yan"}
    carl = {"kind": "person", "id": "carl", "name": "Zoe"}
    ada = {"kind": "bot", "id": "ada", "name": "Zoe"}
    callers = {"zoe": (zoe, Role.MEMBER), "carl": (carl, Role.MEMBER), "w": (ada, Role.SERVICE)}
    refusals = {}
    async with server.as_("carl") as creator:
        await begin(creator)
        for name, (author, role) in callers.items():
            async with server.as_(name, role) as client:
                said = {"author": author, "text": "hello"}
                answer = await client.post(f"{ROOM}/messages", json=said)
                refusals[name] = (answer.status_code, answer.json()["code"])
        messages = (await creator.get(f"{ROOM}/messages")).json()["messages"]

    assert refusals == {
        "zoe": (409, "wrong_name"),
        "carl": (403, "forbidden"),
        "w": (409, "wrong_name"),
    }
    assert messages == []


async def test_a_service_speaks_for_a_bot(server: RunningServer) -> None:
    said = {"author": {"kind": "bot", "id": "ada"}, "text": "hello", "id": "m-1"}
    async with server.as_("worker", Role.SERVICE) as worker:
        await begin(worker)
        answer = await worker.post(f"{ROOM}/messages", json=said)
        state = (await worker.get(ROOM)).json()

    assert answer.json()["id"] == "m-1"
    assert state["messages"][0]["role"] == "assistant"


async def test_a_repeated_key_adds_nothing_on_any_server(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    one, two = pair
    async with one.as_("zoe") as here, two.as_("zoe") as there:
        await begin(here)
        key = {"Idempotency-Key": "k-1"}
        answers = [
            await client.post(f"{ROOM}/messages", json={"text": "once"}, headers=key)
            for client in (here, there, here)
        ]
        page = (await here.get(f"{ROOM}/messages")).json()["messages"]

    assert [one.status_code for one in answers] == [201, 201, 201]
    assert [one.json()["repeated"] for one in answers] == [False, True, True]
    assert len({one.json()["id"] for one in answers}) == 1
    assert len({one.json()["version"] for one in answers}) == 1
    assert len(page) == 1


async def test_the_same_key_of_another_member_is_another_key(server: RunningServer) -> None:
    key = {"Idempotency-Key": "turn-1"}
    save = {"conversation_id": "c-1", "user_message": "q", "assistant_message": "a"}
    path = "/api/v1/conversations/save-turn"
    async with server.as_("zoe") as zoe, server.as_("yan") as yan:
        await begin(zoe)
        said = [
            (await who.post(f"{ROOM}/messages", json={"text": f"of {name}"}, headers=key)).json()
            for name, who in (("zoe", zoe), ("yan", yan), ("yan again", yan))
        ]
        saved = [
            (await who.post(path, json=save | {"idempotency_key": "turn-2"})).json()
            for who in (zoe, yan, yan)
        ]
        page = (await zoe.get(f"{ROOM}/messages")).json()["messages"]
        reply = {"text": "agreed", "reply_to": said[1]["id"]}
        replied = await zoe.post(f"{ROOM}/messages", json=reply)

    assert [one["repeated"] for one in said] == [False, False, True]
    assert said[0]["id"] != said[1]["id"] == said[2]["id"]
    assert [one["repeated"] for one in saved] == [False, False, True]
    assert [one["text"] for one in page] == ["a", "q", "a", "q", "of yan", "of zoe"]
    assert replied.status_code == 201, "an id made of a key is an id"


async def test_pages_hold_every_message_once_newest_first(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        for number in range(7):
            await zoe.post(f"{ROOM}/messages", json={"text": f"turn {number}"})
        found: list[str] = []
        cursor = None
        while True:
            params = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
            page = (await zoe.get(f"{ROOM}/messages", params=params)).json()
            found += [one["text"] for one in page["messages"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break

    assert found == [f"turn {number}" for number in range(6, -1, -1)]
    assert page["conversation_id"] == "c-1"


async def test_save_turn_takes_the_body_that_others_send(server: RunningServer) -> None:
    turn = {
        "conversation_id": "c-1",
        "user_message": "Where were we?",
        "assistant_message": "At the venue.",
    }
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        saved = await zoe.post("/api/v1/conversations/save-turn", json=turn)
        keyed = [
            await zoe.post(
                "/api/v1/conversations/save-turn", json={**turn, "idempotency_key": "k-1"}
            )
            for _ in range(2)
        ]
        page = (await zoe.get(f"{ROOM}/messages")).json()["messages"]

    assert saved.status_code == 200
    assert saved.json()["status"] == "saved"
    assert [one.json()["repeated"] for one in keyed] == [False, True]
    assert [one["text"] for one in page] == ["At the venue.", "Where were we?"] * 2
    assert [one["author"]["id"] for one in page[:2]] == ["ada", "zoe"]


async def test_a_buffered_turn_has_no_number_of_its_own_until_it_is_logged(
    pair: tuple[RunningServer, RunningServer],
) -> None:
    turn = {"conversation_id": "c-1", "user_message": "q", "assistant_message": "a"}
    path = "/api/v1/conversations/save-turn"

    async def save(client: httpx.AsyncClient, durability: str) -> dict[str, object]:
        headers = {"Idempotency-Key": "k-1", "X-Swarm-Durability": durability}
        answer = await client.post(path, json=turn, headers=headers)
        assert answer.headers["x-swarm-version"] == answer.json()["version"]
        return {name: answer.json()[name] for name in ("version", "durability", "repeated")}

    one, two = pair
    async with one.as_("zoe") as here, two.as_("zoe") as there:
        begun = await begin(here)
        buffered = [await save(client, "buffered") for client in (there, here)]
        tip = await here.get(ROOM)
        logged = await save(there, "logged")
        seen = {"X-Swarm-Version": str(logged["version"])}
        state = (await there.get(ROOM, headers=seen)).json()

    epoch, _, seq = begun.partition(".")
    told = {"version": begun, "durability": "buffered"}
    assert buffered == [told | {"repeated": False}, told | {"repeated": True}]
    own = f"{epoch}.{int(seq) + 2}"
    assert (tip.headers["x-swarm-version"], tip.headers["etag"]) == (begun, f'"{begun}+{own}"')
    assert [one["text"] for one in tip.json()["messages"]] == ["q", "a"]
    assert logged == {"version": own, "durability": "logged", "repeated": True}
    assert [one["seq"] for one in state["messages"]] == [int(seq) + 1, int(seq) + 2]


async def test_a_write_may_be_decided_on_what_is_not_logged_yet(server: RunningServer) -> None:
    busy = {"type": "set_participant_state", "id": "ada", "state": "busy"}
    config = f"{ROOM}/config"
    async with server.as_("zoe") as zoe:
        begun = await begin(zoe)
        await zoe.post(f"{ROOM}/commands", json=busy)
        shown = await zoe.get(ROOM)
        before = await zoe.patch(config, json={"goal": "a"}, headers={"If-Match": f'"{begun}"'})
        seen = {"If-Match": shown.headers["etag"]}
        decided = [await zoe.patch(config, json={"goal": goal}, headers=seen) for goal in "bc"]

    assert before.status_code == 412
    assert [one.status_code for one in decided] == [200, 412]


async def test_events_are_read_in_order_from_any_point(server: RunningServer) -> None:
    async with server.as_("zoe") as zoe:
        await begin(zoe)
        for number in range(4):
            await zoe.post(f"{ROOM}/messages", json={"text": f"turn {number}"})
        first = (await zoe.get(f"{ROOM}/events", params={"limit": 2})).json()
        rest = (await zoe.get(f"{ROOM}/events", params={"after": first["next_after"]})).json()

    events = first["events"] + rest["events"]
    assert [one["seq"] for one in events] == [1, 2, 3, 4, 5]
    assert [one["type"] for one in events] == ["created"] + ["message_added"] * 4
    assert events[-1]["data"]["message"]["text"] == "turn 3"
    assert rest["next_after"] is None
